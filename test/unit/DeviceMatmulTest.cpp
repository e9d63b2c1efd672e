//===- DeviceMatmulTest.cpp - matmul.cuh and gemv.cuh ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// One product kernel: a0 [M, K], a1 and a2 [N, K], a3 [M, N] f32.
struct Variant {
  std::string name, type, config;
  int weights;
  /// Computes A in a functor: twice the element of a0.
  bool functor;
  bool gemv;
};

const std::vector<Variant> variants = {
    {"mma_64x64x32", "bf16", "MatmulConfig<64, 64, 32, 3, 2, 2>", 1, false, false},
    {"mma_128x64x64", "bf16", "MatmulConfig<128, 64, 64, 2, 4, 2>", 1, false, false},
    {"mma_128x128", "bf16", "MatmulConfig<128, 128, 32, 4, 2, 2>", 1, false, false},
    {"mma_32x128", "bf16", "MatmulConfig<32, 128, 64, 4, 1, 4>", 1, false, false},
    {"mma_wide_pair", "bf16", "MatmulConfig<128, 64, 32, 3, 4, 2>", 2, false, false},
    {"mma_half_256x64", "f16", "MatmulConfig<256, 64, 32, 3, 4, 1>", 1, false, false},
    {"mma_half", "f16", "MatmulConfig<32, 32, 32, 4, 1, 2>", 1, false, false},
    {"mma_pair", "bf16", "MatmulConfig<64, 32, 32, 3, 2, 1>", 2, false, false},
    {"mma_functor", "bf16", "MatmulConfig<32, 64, 32, 2, 1, 2>", 1, true, false},
    {"simt_64x64", "f32", "MatmulConfig<64, 64, 16, 2, 2, 2>", 1, false, false},
    {"simt_pair", "f32", "MatmulConfig<32, 32, 32, 3, 2, 1>", 2, false, false},
    {"simt_functor", "f32", "MatmulConfig<32, 32, 16, 2, 1, 2>", 1, true, false},
    {"gemv_1", "bf16", "GemvConfig<1, 16, 4, 256>", 1, false, true},
    {"gemv_4", "bf16", "GemvConfig<4, 8, 2, 512>", 1, false, true},
    {"gemv_16", "f16", "GemvConfig<16, 16, 8, 256>", 1, false, true},
    {"gemv_f32", "f32", "GemvConfig<4, 16, 4, 256>", 1, false, true},
    {"gemv_pair", "bf16", "GemvConfig<2, 16, 4, 256>", 2, false, true},
    {"gemv_functor", "f32", "GemvConfig<2, 16, 4, 512>", 1, true, true},
};

/// The emitter's form of a product: with one weight, a row's neighbour is added (an
/// epilogue that reads another column); with two, silu(first) * second.
std::string textOf(const Variant &variant) {
  std::string matrix = variant.functor ? "[&](int m, int k) { return 2.0f * convert<f32>(a0[(i64)m * K + k]); }"
                                       : fmt::format("Rows<{}>{{a0, K}}", variant.type);
  std::string value = variant.weights == 2
                          ? "float x = tile.at(0, m, n); x = x / (1.0f + exp(-x)) * tile.at(1, m, n);"
                          : "float x = tile.at(m, n) + 0.5f * tile.at(m, (n ^ 1) < cols ? n ^ 1 : n);";
  std::string epilogue = fmt::format("[&](auto tile, int row0, int col0, int rows, int cols) {{\n"
                                     "    for_tile<1>(rows, cols, [&](int m, int n) {{\n      {}\n"
                                     "      a3[(i64)(row0 + m) * N + col0 + n] = x;\n    }});\n  }}",
                                     value);
  std::string weightList = variant.weights == 2 ? "weights(a1, a2, K)" : "weights(a1, K)";
  std::string call =
      variant.gemv ? fmt::format("gemv<Config, {}>({}, {}, M, N, K, block_x() * Config::BN, {});", variant.type, matrix,
                                 weightList, epilogue)
                   : fmt::format("matmul<Config, {}>({}, {}, M, N, K, block_y() * Config::BM, block_x() * Config::BN, "
                                 "{});",
                                 variant.type, matrix, weightList, epilogue);
  return fmt::format("#include \"mlsys/gemv.cuh\"\ntypedef {} Config;\n"
                     "extern \"C\" __global__ void __launch_bounds__(Config::threads) {}(const {} *a0, const {} *a1, "
                     "const {} *a2, f32 *a3, long long M, long long N, long long K) {{\n  {}\n}}\n",
                     variant.config, variant.name, variant.type, variant.type, variant.type, call);
}

/// A kernel that stores the block size and the shared memory of the variant.
std::string factsTextOf(const Variant &variant) {
  return fmt::format("#include \"mlsys/gemv.cuh\"\ntypedef {} Config;\n"
                     "extern \"C\" __global__ void {}_facts(i32 *a0) {{\n"
                     "  a0[0] = Config::threads;\n  a0[1] = Config::sharedBytes<{}>();\n}}\n",
                     variant.config, variant.name,
                     variant.gemv ? std::to_string(variant.weights)
                                  : fmt::format("{}, {}", variant.type, variant.weights));
}

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    std::vector<HostCudaDevice::Source> sources;
    for (const Variant &variant : variants) {
      sources.push_back({variant.name, textOf(variant)});
      sources.push_back({variant.name + "_facts", factsTextOf(variant)});
    }
    auto loaded = std::make_unique<HostCudaDevice>(2, schedule);
    loaded->loadSources(sources);
    device = std::move(loaded);
  }
  return *device;
}

uint16_t floatToHalf(float value) {
  _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

/// The bytes of `values` as the variant's type.
std::vector<char> encode(const std::vector<float> &values, const std::string &type) {
  std::vector<char> bytes(values.size() * (type == "f32" ? 4 : 2));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = type == "bf16" ? floatToBf16(values[i]) : floatToHalf(values[i]);
    if (type == "f32")
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    else
      std::memcpy(bytes.data() + 2 * i, &half, 2);
  }
  return bytes;
}

class DeviceMatmulTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {};

int between(const std::string &config, int index) {
  size_t at = config.find('<');
  for (int i = 0; i < index; ++i)
    at = config.find(',', at + 1);
  return std::stoi(config.substr(at + 1));
}

void check(HostCudaDevice &device, size_t index, int m, int n, int k) {
  const Variant &variant = variants[index];
  SCOPED_TRACE(fmt::format("{} {}x{}x{}", variant.name, m, n, k));
  std::vector<float> a = randomValues(m * k, 1), w0 = randomValues(n * k, 2), w1 = randomValues(n * k, 3);
  DeviceBuffer<char> a0(device, encode(a, variant.type)), a1(device, encode(w0, variant.type)),
      a2(device, encode(w1, variant.type));
  DeviceBuffer<float> a3(device, m * n);
  DeviceBuffer<int32_t> facts(device, 2);
  launchKernel(device, 2 * index + 1, {facts.data}, {}, {1}, 32);
  int threads = facts.read()[0], shared = facts.read()[1];
  int bm = between(variant.config, 0), bn = between(variant.config, 1);
  launchKernel(device, 2 * index, {a0.data, a1.data, a2.data, a3.data}, {m, n, k},
               {(n + bn - 1) / bn, variant.gemv ? 1 : (m + bm - 1) / bm}, threads, shared);
  std::vector<float> result = a3.read();
  auto product = [&](const std::vector<float> &w, int row, int column) {
    double sum = 0;
    for (int i = 0; i < k; ++i)
      sum += double(a[row * k + i]) * w[column * k + i] * (variant.functor ? 2 : 1);
    return sum;
  };
  double tolerance = 1e-6 * k + 1e-5;
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n; ++column) {
      double x = product(w0, row, column), expected;
      if (variant.weights == 2) {
        expected = x / (1 + std::exp(-x)) * product(w1, row, column);
      } else {
        int first = column / bn * bn, cols = std::min(bn, n - first), other = (column - first) ^ 1;
        expected = x + 0.5 * product(w0, row, first + (other < cols ? other : column - first));
      }
      ASSERT_NEAR(result[row * n + column], expected, tolerance * (1 + std::abs(expected)))
          << "row " << row << " column " << column;
    }
}

} // namespace

TEST_P(DeviceMatmulTest, matchesReference) {
  auto [index, schedule] = GetParam();
  HostCudaDevice &device = deviceOf(schedule);
  const Variant &variant = variants[index];
  if (variant.gemv) {
    int rows = between(variant.config, 0);
    check(device, index, 1, 40, 576);
    check(device, index, rows, 16, 8);
    check(device, index, rows, 33, 264);
    check(device, index, std::max(1, rows - 1), 7, 1027);
    return;
  }
  check(device, index, 64, 64, 64);
  check(device, index, 1, 3, 8);
  check(device, index, 70, 90, 72);
  check(device, index, 33, 65, 45);
  check(device, index, 17, 130, 200);
}

TEST(DeviceGemvTest, sumsDoNotDependOnTheBatch) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  const int n = 16, k = 1032, batch = 4;
  std::vector<float> a = randomValues(batch * k, 1), w = randomValues(n * k, 2);
  std::vector<char> rows = encode(a, "bf16");
  DeviceBuffer<char> all(device, rows), weights(device, encode(w, "bf16"));
  auto compute = [&](const std::string &name, void *input, int m) {
    size_t index = 0;
    while (variants[index].name != name)
      ++index;
    DeviceBuffer<int32_t> facts(device, 2);
    launchKernel(device, 2 * index + 1, {facts.data}, {}, {1}, 32);
    DeviceBuffer<float> result(device, m * n);
    int bn = between(variants[index].config, 1);
    launchKernel(device, 2 * index, {input, weights.data, weights.data, result.data}, {m, n, k}, {n / bn},
                 facts.read()[0], facts.read()[1]);
    return result.read();
  };
  // gemv_1 and gemv_4 differ in rows, columns a block, warps and chunk.
  std::vector<float> together = compute("gemv_4", all.data, batch);
  for (int row = 0; row < batch; ++row) {
    DeviceBuffer<char> one(device, std::vector<char>(rows.begin() + row * k * 2, rows.begin() + (row + 1) * k * 2));
    std::vector<float> alone = compute("gemv_1", one.data, 1);
    for (int column = 0; column < n; ++column)
      ASSERT_EQ(alone[column], together[row * n + column]) << row << " " << column;
  }
}

TEST(DeviceMmaTest, sumsDoNotDependOnTheTileOrTheBatch) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  const int rows = 70, n = 64, k = 328;
  std::vector<char> a = encode(randomValues(rows * k, 1), "bf16");
  DeviceBuffer<char> weights(device, encode(randomValues(n * k, 2), "bf16"));
  auto compute = [&](const std::string &name, int first, int m) {
    size_t index = 0;
    while (variants[index].name != name)
      ++index;
    DeviceBuffer<int32_t> facts(device, 2);
    launchKernel(device, 2 * index + 1, {facts.data}, {}, {1}, 32);
    DeviceBuffer<char> input(device, std::vector<char>(a.begin() + first * k * 2, a.begin() + (first + m) * k * 2));
    DeviceBuffer<float> result(device, m * n);
    int bm = between(variants[index].config, 0), bn = between(variants[index].config, 1);
    launchKernel(device, 2 * index, {input.data, weights.data, weights.data, result.data}, {m, n, k},
                 {(n + bn - 1) / bn, (m + bm - 1) / bm}, facts.read()[0], facts.read()[1]);
    return result.read();
  };
  std::vector<float> expected = compute("mma_64x64x32", 0, rows);
  for (const char *name : {"mma_128x64x64", "mma_128x128", "mma_32x128"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(compute(name, 0, rows), expected);
    for (int row : {0, 33, 69})
      EXPECT_EQ(compute(name, row, 1), std::vector<float>(expected.begin() + row * n, expected.begin() + (row + 1) * n));
  }
}

static std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  return variants[std::get<0>(info.param)].name + "_" + names[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceMatmulTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);
