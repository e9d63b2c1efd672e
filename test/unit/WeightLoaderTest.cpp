//===- WeightLoaderTest.cpp - Conversions and layouts of constants --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"
#include "runtime/WeightLoader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;
using program::Layout;
using mlsys::test::TempFolder;

/// Runs tasks one by one, last first: no task may depend on another.
static void backwards(int64_t count, const std::function<void(int64_t, int64_t)> &body) {
  for (int64_t i = count; i-- > 0;)
    body(i, i + 1);
}

namespace {
/// A program with one file and one constant, packed and loaded again.
struct Loading {
  program::ConstantT constant;
  std::string file;
  std::string folder;
  uint64_t fileSize = 0;
  std::vector<std::byte> appended;

  Loading() {
    constant.name = "w";
    constant.sources.push_back(std::make_unique<program::WeightSourceT>());
    constant.sources[0]->name = "w.stored";
    constant.sources[0]->file = -1;
  }

  /// Sets shape and type of both sides.
  Loading &matrix(std::vector<int64_t> shape, DType from, DType to) {
    constant.shape = constant.sources[0]->shape = shape;
    constant.sources[0]->dtype = from;
    constant.dtype = to;
    constant.sources[0]->bytes = tensorBytes(from, shape);
    constant.bytes = tensorBytes(to, shape);
    return *this;
  }
  Loading &panels(int64_t block, int64_t pair) {
    constant.layout = Layout::Panels;
    constant.block = block;
    constant.pair = pair;
    size_t rank = constant.shape.size();
    int64_t matrices = rank == 3 ? constant.shape[0] : 1;
    int64_t rows = (constant.shape[rank - 2] + block - 1) / block * block;
    int64_t columns = (constant.shape[rank - 1] + pair - 1) / pair * pair;
    constant.bytes = tensorBytes(constant.dtype, std::vector<int64_t>{matrices, rows, columns});
    return *this;
  }
  /// Makes `bytes` the appended data and the source.
  template <typename T> Loading &from(const std::vector<T> &values) {
    appended.resize(values.size() * sizeof(T));
    std::memcpy(appended.data(), values.data(), appended.size());
    return *this;
  }

  std::vector<std::byte> load() {
    program::ProgramT root;
    if (!file.empty()) {
      auto entry = std::make_unique<program::WeightFileT>();
      entry->path = file;
      entry->size = fileSize;
      root.weight_files.push_back(std::move(entry));
    }
    flatbuffers::FlatBufferBuilder programs, constants;
    programs.Finish(program::Program::Pack(programs, &root));
    constants.Finish(program::Constant::Pack(constants, &constant));
    const auto *program = flatbuffers::GetRoot<program::Program>(programs.GetBufferPointer());
    const auto *packed = flatbuffers::GetRoot<program::Constant>(constants.GetBufferPointer());
    WeightFiles files(*program, folder, appended);
    std::vector<std::byte> out(constant.bytes, std::byte(0xee));
    loadConstant(*packed, files, out, backwards);
    EXPECT_EQ(constantBytes(*packed), out.size());
    return out;
  }

  template <typename T> std::vector<T> loadAs() {
    std::vector<std::byte> bytes = load();
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
};
} // namespace

static std::vector<float> ramp(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>(i) + 0.1f;
  return values;
}

TEST(WeightLoader, CopiesRowMajor) {
  std::vector<float> values = ramp(3 * 40000);
  EXPECT_EQ(Loading().matrix({3, 40000}, DType::F32, DType::F32).from(values).loadAs<float>(),
            values);
  std::vector<int64_t> integers = {1, -2, 3};
  EXPECT_EQ(Loading().matrix({3}, DType::I64, DType::I64).from(integers).loadAs<int64_t>(),
            integers);
  EXPECT_EQ(Loading().matrix({}, DType::F32, DType::F32).from(ramp(1)).loadAs<float>(), ramp(1));
  EXPECT_TRUE(Loading().matrix({0, 4}, DType::F32, DType::F32).load().empty());
}

TEST(WeightLoader, ConvertsRowMajor) {
  std::vector<float> values = ramp(33333);
  std::vector<uint16_t> expected;
  for (float value : values)
    expected.push_back(f32ToBf16(value));
  EXPECT_EQ(Loading().matrix({33333}, DType::F32, DType::BF16).from(values).loadAs<uint16_t>(),
            expected);
  std::vector<float> back = Loading()
                                .matrix({3, 11111}, DType::BF16, DType::F32)
                                .from(expected)
                                .loadAs<float>();
  for (size_t i = 0; i < back.size(); ++i)
    ASSERT_EQ(back[i], bf16ToF32(expected[i]));
}

/// What the schema says: [ceil(N/block)][ceil(K/pair)][block][pair].
static float panelElement(const std::vector<float> &matrix, int64_t rows, int64_t columns,
                          int64_t block, int64_t pair, int64_t index) {
  int64_t groups = (columns + pair - 1) / pair;
  int64_t inPair = index % pair, inBlock = index / pair % block;
  int64_t row = index / (pair * block * groups) * block + inBlock;
  int64_t column = index / (pair * block) % groups * pair + inPair;
  return row < rows && column < columns ? matrix[static_cast<size_t>(row * columns + column)] : 0;
}

TEST(WeightLoader, Panels) {
  struct Case {
    int64_t rows, columns, block, pair;
  };
  for (Case c : {Case{16, 64, 16, 1}, Case{16, 64, 16, 2}, Case{19, 33, 16, 2},
                 Case{5, 1500, 8, 4}, Case{70, 999, 32, 1}, Case{3, 7, 1, 1}, Case{9, 700, 4, 3},
                 Case{40, 2100, 48, 2}}) {
    std::vector<float> values = ramp(c.rows * c.columns);
    std::vector<float> f32 = Loading()
                                 .matrix({c.rows, c.columns}, DType::F32, DType::F32)
                                 .panels(c.block, c.pair)
                                 .from(values)
                                 .loadAs<float>();
    std::vector<uint16_t> bf16 = Loading()
                                     .matrix({c.rows, c.columns}, DType::F32, DType::BF16)
                                     .panels(c.block, c.pair)
                                     .from(values)
                                     .loadAs<uint16_t>();
    ASSERT_EQ(f32.size(), bf16.size());
    for (size_t i = 0; i < f32.size(); ++i) {
      float expected = panelElement(values, c.rows, c.columns, c.block, c.pair,
                                    static_cast<int64_t>(i));
      ASSERT_EQ(f32[i], expected) << i;
      ASSERT_EQ(bf16[i], f32ToBf16(expected)) << i;
    }
  }
}

/// The matrices of experts lie one after another, each padded by itself.
TEST(WeightLoader, PanelsOfExperts) {
  std::vector<float> values = ramp(3 * 37 * 50), together;
  for (int64_t expert = 0; expert < 3; ++expert) {
    std::vector<float> part(values.begin() + expert * 37 * 50, values.begin() + (expert + 1) * 37 * 50);
    std::vector<float> alone =
        Loading().matrix({37, 50}, DType::F32, DType::F32).panels(32, 2).from(part).loadAs<float>();
    EXPECT_EQ(alone.size(), 64u * 50);
    together.insert(together.end(), alone.begin(), alone.end());
  }
  EXPECT_EQ(
      Loading().matrix({3, 37, 50}, DType::F32, DType::F32).panels(32, 2).from(values).loadAs<float>(),
      together);
}

TEST(WeightLoader, QuantizedFile) {
  Gguf file = readGguf(MLSYS_TEST_DATA "/gguf/types.gguf");
  for (const StoredTensor &tensor : file.tensors) {
    NpyArray expected = readNpy(MLSYS_TEST_DATA "/gguf/" + tensor.name + ".npy");
    std::vector<float> values(expected.data.size() / 4);
    std::memcpy(values.data(), expected.data.data(), expected.data.size());
    Loading loading;
    loading.folder = MLSYS_TEST_DATA;
    loading.file = "gguf/types.gguf";
    loading.fileSize = file.size;
    loading.matrix(tensor.shape, tensor.dtype, DType::F32);
    loading.constant.sources[0]->file = 0;
    loading.constant.sources[0]->offset = tensor.offset;
    // Quantized elements are rounded to bf16.
    std::vector<float> loaded = values;
    for (float &value : loaded)
      if (tensor.name[0] == 'q')
        value = bf16ToF32(f32ToBf16(value));
    EXPECT_EQ(loading.loadAs<float>(), loaded) << tensor.name;
    loading.matrix(tensor.shape, tensor.dtype, DType::F32).panels(4, 1);
    std::vector<float> wide = loading.loadAs<float>();
    for (size_t i = 0; i < wide.size(); ++i)
      ASSERT_EQ(wide[i], panelElement(loaded, 6, 96, 4, 1, static_cast<int64_t>(i)));
    loading.matrix(tensor.shape, tensor.dtype, DType::BF16).panels(4, 2);
    std::vector<uint16_t> panels = loading.loadAs<uint16_t>();
    for (size_t i = 0; i < panels.size(); ++i)
      ASSERT_EQ(panels[i],
                f32ToBf16(panelElement(values, 6, 96, 4, 2, static_cast<int64_t>(i))))
          << tensor.name;
  }
}

TEST(WeightLoader, Unpermutes) {
  // Two heads of four rows, stored as rows 0 2 1 3 of each.
  std::vector<float> stored = {0, 2, 1, 3, 4, 6, 5, 7}, expected = {0, 1, 2, 3, 4, 5, 6, 7};
  Loading vector;
  vector.matrix({8}, DType::F32, DType::F32).from(stored);
  vector.constant.sources[0]->unpermute_rows = 4;
  EXPECT_EQ(vector.loadAs<float>(), expected);
  // One head of four rows with 600 columns each.
  std::vector<float> matrix = ramp(4 * 600);
  for (Layout layout : {Layout::RowMajor, Layout::Panels}) {
    Loading loading;
    loading.matrix({4, 600}, DType::F32, DType::F32).from(matrix);
    loading.constant.sources[0]->unpermute_rows = 4;
    if (layout == Layout::Panels)
      loading.panels(1, 1);
    std::vector<float> rows = loading.loadAs<float>();
    const size_t order[] = {0, 2, 1, 3};
    for (size_t r = 0; r < 4; ++r)
      for (size_t c = 0; c < 600; ++c)
        ASSERT_EQ(rows[r * 600 + c], matrix[order[r] * 600 + c]);
  }
}

TEST(WeightLoader, TakesRows) {
  // A fused matrix of two heads, each two rows of q, one of k and one of v.
  Loading q = Loading().matrix({8, 3}, DType::F32, DType::F32).from(ramp(24));
  q.constant.shape = {4, 3};
  q.constant.bytes = 48;
  auto &source = *q.constant.sources[0];
  source.row_group = 2;
  source.row_stride = 4;
  source.row_groups = 2;
  std::vector<float> all = ramp(24), expected(all.begin(), all.begin() + 6);
  expected.insert(expected.end(), all.begin() + 12, all.begin() + 18);
  EXPECT_EQ(q.loadAs<float>(), expected);
  source.row_first = 3;
  source.row_group = 1;
  q.constant.shape = {2, 3};
  q.constant.bytes = 24;
  expected = {all[9], all[10], all[11], all[21], all[22], all[23]};
  EXPECT_EQ(q.loadAs<float>(), expected);
  source.row_first = 4;
  EXPECT_ERROR(q.load(), "has 8 rows, but 2 groups of 1 rows are taken from row 4, 4 rows apart");
}

TEST(WeightLoader, ReadsTransposed) {
  Loading w = Loading().matrix({3, 4}, DType::F32, DType::F16).from(ramp(12));
  w.constant.shape = {4, 3};
  w.constant.sources[0]->transposed = true;
  std::vector<float> expected;
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 3; ++column)
      expected.push_back(ramp(12)[column * 4 + row]);
  std::vector<std::byte> halves(24);
  convertFromF32(DType::F16, expected.data(), halves.data(), 12);
  EXPECT_EQ(w.load(), halves);
  w.constant.sources[0]->row_first = 1;
  w.constant.sources[0]->row_group = w.constant.sources[0]->row_stride = 2;
  w.constant.sources[0]->row_groups = 1;
  w.constant.shape = {2, 3};
  w.constant.bytes = 12;
  EXPECT_EQ(w.load(), std::vector<std::byte>(halves.begin() + 6, halves.begin() + 18));
}

TEST(WeightLoader, StacksSources) {
  Loading w = Loading().matrix({2, 3}, DType::F32, DType::F32).from(ramp(18));
  for (uint64_t i = 1; i < 3; ++i) {
    w.constant.sources.push_back(
        std::make_unique<program::WeightSourceT>(*w.constant.sources[0]));
    w.constant.sources[i]->offset = 24 * i;
  }
  w.constant.shape = {3, 2, 3};
  w.constant.bytes = 72;
  EXPECT_EQ(w.loadAs<float>(), ramp(18));
  w.constant.shape = {6, 3};
  EXPECT_EQ(w.panels(2, 1).loadAs<float>().size(), 18u);
  w.constant.layout = Layout::RowMajor;
  w.constant.shape = {4, 2, 3};
  w.constant.bytes = 96;
  EXPECT_ERROR(w.load(), "its 3 sources have 6 rows of 3");
}

TEST(WeightLoader, ReordersAPartOfEachHead) {
  Loading w = Loading().matrix({12, 1}, DType::F32, DType::F32).from(ramp(12));
  w.constant.sources[0]->unpermute_rows = 4;
  w.constant.sources[0]->head_rows = 6;
  std::vector<float> all = ramp(12);
  EXPECT_EQ(w.loadAs<float>(), (std::vector<float>{all[0], all[2], all[1], all[3], all[4], all[5],
                                                   all[6], all[8], all[7], all[9], all[10], all[11]}));
}

TEST(WeightLoader, InlineData) {
  Loading loading;
  loading.matrix({2, 3}, DType::F32, DType::F32);
  loading.constant.sources.clear();
  std::vector<float> values = ramp(6);
  loading.constant.data.resize(24);
  std::memcpy(loading.constant.data.data(), values.data(), 24);
  EXPECT_EQ(loading.loadAs<float>(), values);
  loading.panels(2, 1);
  EXPECT_EQ(loading.loadAs<float>(),
            (std::vector<float>{values[0], values[3], values[1], values[4], values[2], values[5]}));
  loading.constant.data.resize(23);
  EXPECT_ERROR(loading.load(), "constant w holds 23 bytes, but shape [2, 3] of f32 needs 24");
  loading.constant.data.clear();
  EXPECT_ERROR(loading.load(), "constant w holds 0 bytes");
}

TEST(WeightLoader, RandomNumbers) {
  Loading loading;
  loading.matrix({64, 1000}, DType::F32, DType::F32);
  loading.constant.sources[0]->file = -2;
  loading.constant.sources[0]->random_seed = 5;
  loading.constant.sources[0]->random_mean = 1;
  loading.constant.sources[0]->random_spread = 0.5;
  std::vector<float> values = loading.loadAs<float>();
  double sum = 0, squares = 0;
  for (float value : values) {
    ASSERT_TRUE(value >= 0.5f && value <= 1.5f);
    sum += value;
    squares += (value - 1.0) * (value - 1.0);
  }
  EXPECT_NEAR(sum / 64000, 1.0, 0.01);
  EXPECT_NEAR(squares / 64000, 0.25 / 3, 0.005);
  // The layout and the order of work do not change an element.
  loading.panels(16, 2);
  std::vector<float> panels = loading.loadAs<float>();
  for (size_t i = 0; i < panels.size(); ++i)
    ASSERT_EQ(panels[i], panelElement(values, 64, 1000, 16, 2, static_cast<int64_t>(i)));
  loading.constant.sources[0]->random_seed = 6;
  EXPECT_NE(loading.loadAs<float>(), panels);
  loading.matrix({2, 2}, DType::I32, DType::I32);
  loading.constant.layout = Layout::RowMajor;
  EXPECT_ERROR(loading.load(), "random numbers are floating-point or i8");
  // Of i8 all values but the least, evenly; in panels four elements of a row lie together.
  loading.matrix({64, 1001}, DType::I8, DType::I8);
  loading.constant.layout = Layout::RowMajor;
  std::vector<int8_t> bytes = loading.loadAs<int8_t>();
  double total = 0;
  for (int8_t value : bytes)
    total += value;
  EXPECT_NEAR(total / 64064, 0.0, 1.5);
  EXPECT_EQ(*std::max_element(bytes.begin(), bytes.end()), 127);
  EXPECT_EQ(*std::min_element(bytes.begin(), bytes.end()), -127);
  std::vector<float> elements(bytes.begin(), bytes.end());
  loading.panels(32, 4);
  std::vector<int8_t> packed = loading.loadAs<int8_t>();
  for (size_t i = 0; i < packed.size(); ++i)
    ASSERT_EQ(packed[i], panelElement(elements, 64, 1001, 32, 4, static_cast<int64_t>(i)));
}

TEST(WeightLoader, BadFiles) {
  TempFolder folder;
  Loading loading;
  loading.folder = folder.path();
  loading.matrix({4}, DType::F32, DType::F32);
  loading.file = "w.bin";
  loading.constant.sources[0]->file = 0;
  loading.fileSize = 16;
  EXPECT_ERROR(loading.load(), "cannot open " + folder.path("w.bin"));
  folder.write("w.bin", "123456789012345");
  EXPECT_ERROR(loading.load(), folder.path("w.bin") +
                                   " has 15 bytes, but had 16 when the program was compiled");
  loading.fileSize = 15;
  EXPECT_ERROR(loading.load(),
               "w.bin: tensor w.stored has 16 bytes at offset 0, beyond the end (15 bytes)");
  loading.constant.sources[0]->offset = UINT64_MAX;
  EXPECT_ERROR(loading.load(), "at offset 18446744073709551615, beyond the end");
  loading.constant.sources[0]->file = 1;
  EXPECT_ERROR(loading.load(), "is in weight file 1, but the program lists 1 files");
  loading.constant.sources[0]->file = -1;
  loading.constant.sources[0]->offset = 1;
  EXPECT_ERROR(loading.load(), "the appended data: tensor w.stored has 16 bytes at offset 1");
  folder.write("absolute.bin", std::string(16, '\0'));
  loading.constant.sources[0]->file = 0;
  loading.constant.sources[0]->offset = 0;
  loading.folder = "nowhere";
  loading.file = folder.path("absolute.bin");
  loading.fileSize = 16;
  EXPECT_EQ(loading.loadAs<float>(), std::vector<float>(4));
}

TEST(WeightLoader, BadConstants) {
  auto good = [] {
    Loading loading;
    loading.matrix({4, 64}, DType::F32, DType::F32).from(ramp(256));
    return loading;
  };
  auto refused = [&](auto change, const std::string &message) {
    Loading loading = good();
    change(loading.constant);
    EXPECT_ERROR(loading.load(), message);
  };
  using Constant = program::ConstantT;
  refused([](Constant &c) { c.shape = {4, 63}; }, "needs 1008");
  refused([](Constant &c) { c.shape = {64, 4, 1, 1};
            c.sources[0]->shape = {4, 63};
            c.sources[0]->bytes = 1008; },
          "tensor w.stored has shape [4, 63], but constant w has [64, 4, 1, 1]");
  refused([](Constant &c) { c.shape = {-4, -64}; }, "which is negative or too large");
  refused([](Constant &c) { c.shape = {0, INT64_MAX, INT64_MAX}; }, "needs 0");
  refused([](Constant &c) { c.bytes = 1000; }, "is said to have 1000 bytes");
  refused([](Constant &c) { c.dtype = DType::I32; },
          "tensor w.stored is f32, but constant w is i32, and there is no conversion");
  refused([](Constant &c) { c.dtype = DType::Q8_0; }, "constant w has type q8_0");
  refused([](Constant &c) { c.dtype = static_cast<DType>(50); }, "element type 50");
  refused([](Constant &c) { c.layout = static_cast<Layout>(9); }, "constant w has layout 9");
  refused([](Constant &c) { c.layout = Layout::Panels; }, "panels need a matrix or matrices, a block");
  auto asPanels = [](int64_t block, int64_t pair, std::vector<int64_t> shape) {
    return [=](Constant &c) {
      c.layout = Layout::Panels;
      c.block = block;
      c.pair = pair;
      c.shape = shape;
    };
  };
  refused(asPanels(16, 0, {4, 64}), "panels need a matrix or matrices");
  refused(asPanels(1 << 20, 1, {4, 64}), "panels need a matrix or matrices");
  refused(asPanels(16, 100, {4, 64}), "panels need a matrix or matrices");
  refused(asPanels(16, 2, {256}), "panels need a matrix or matrices");
  refused(asPanels(16, 2, {INT64_MAX, 1}), "too large");
  refused([](Constant &c) { c.sources[0]->bytes = 1020; },
          "tensor w.stored has 1020 bytes, but shape [4, 64] of f32 needs 1024");
  refused([](Constant &c) { c.sources[0]->dtype = DType::Q4_0; }, "of q4_0 needs 144");
  refused([](Constant &c) { c.sources[0]->unpermute_rows = 3; },
          "has 4 rows, which cannot be reordered in blocks of 3");
  refused([](Constant &c) { c.sources[0]->unpermute_rows = 8; }, "in blocks of 8");
  refused([](Constant &c) { c.sources[0]->unpermute_rows = -2; }, "in blocks of -2");
  refused([](Constant &c) { c.sources[0]->file = -3; }, "is in weight file -3");

  Loading vector;
  vector.matrix({64}, DType::Q8_0, DType::F32).from(std::vector<uint8_t>(68));
  vector.constant.sources[0]->unpermute_rows = 4;
  EXPECT_ERROR(vector.load(), "has rows of 1 elements, but blocks of q8_0 have 32");
}

/// Bytes of mapped files that are in this process's memory now.
static int64_t mappedBytesInMemory() {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    int64_t kibibytes = 0;
    if (name == "RssFile:" && status >> kibibytes)
      return kibibytes << 10;
  }
  return 0;
}

// A file that is read whole must not stay in memory beside the constants.
TEST(WeightLoader, GivesTheFilesBack) {
  constexpr int64_t rows = 4096, columns = 2048, slack = 4 << 20, released = 8 << 20;
  TempFolder folder;
  folder.write("weights", std::string(size_t(rows * columns * 4), 'a'));
  for (int64_t pair : {0, 1}) {
    Loading loading;
    loading.matrix({rows, columns}, DType::F32, DType::F32);
    if (pair)
      loading.panels(32, pair);
    loading.constant.sources[0]->file = 0;
    program::ProgramT root;
    root.weight_files.push_back(std::make_unique<program::WeightFileT>());
    root.weight_files[0]->path = "weights";
    root.weight_files[0]->size = uint64_t(rows * columns * 4);
    flatbuffers::FlatBufferBuilder programs, constants;
    programs.Finish(program::Program::Pack(programs, &root));
    constants.Finish(program::Constant::Pack(constants, &loading.constant));
    WeightFiles files(*flatbuffers::GetRoot<program::Program>(programs.GetBufferPointer()),
                      folder.path(), {});
    std::vector<std::byte> out(loading.constant.bytes);
    int64_t before = mappedBytesInMemory(), most = 0;
    ASSERT_GT(before, 0);
    auto inPieces = [&](int64_t count, const std::function<void(int64_t, int64_t)> &body) {
      for (int64_t begin = 0; begin < count; begin += 16) {
        body(begin, std::min(begin + 16, count));
        most = std::max(most, mappedBytesInMemory());
      }
    };
    loadConstant(*flatbuffers::GetRoot<program::Constant>(constants.GetBufferPointer()), files,
                 out, inPieces);
    EXPECT_EQ(out.back(), std::byte('a'));
    EXPECT_LT(most - before, released + slack) << "while it is loaded, pair " << pair;
    EXPECT_LT(mappedBytesInMemory() - before, slack) << "afterwards, pair " << pair;
  }
}
