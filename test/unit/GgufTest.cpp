//===- GgufTest.cpp - GGUF headers, good and bad --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"
#include "runtime/MappedFile.h"

#include <cmath>
#include <cstring>

using namespace mlsys::rt;
using mlsys::program::DType;
using test::TempFolder;

namespace {
/// Builds a GGUF file piece by piece.
struct Builder {
  std::string bytes;
  template <typename T> Builder &add(T value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(T));
    return *this;
  }
  Builder &text(const std::string &value) {
    add<uint64_t>(value.size());
    bytes += value;
    return *this;
  }
  Builder &type(GgufType type) { return add(static_cast<uint32_t>(type)); }
  Builder &tensor(const std::string &name, std::initializer_list<uint64_t> extents,
                  uint32_t ggmlType, uint64_t offset) {
    text(name).add<uint32_t>(static_cast<uint32_t>(extents.size()));
    for (uint64_t extent : extents)
      add(extent);
    return add(ggmlType).add(offset);
  }
  /// Pads to the data and adds `count` zeros.
  Builder &data(size_t count, size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment + count);
    return *this;
  }
};
} // namespace

static Builder header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  Builder builder;
  builder.bytes = "GGUF";
  builder.add(version).add(tensors).add(pairs);
  return builder;
}

TEST(Gguf, EveryValueType) {
  Gguf file = readGguf(MLSYS_TEST_DATA "/gguf/types.gguf");
  EXPECT_EQ(file.version, 3u);
  EXPECT_EQ(file.getString("general.architecture"), "llama");
  EXPECT_EQ(file.getUnsigned("t.u8"), 200u);
  EXPECT_EQ(file.getUnsigned("t.u16"), 60000u);
  EXPECT_EQ(file.getUnsigned("t.u32"), 4000000000u);
  EXPECT_EQ(file.getUnsigned("t.u64"), (1ull << 63) + 5);
  EXPECT_EQ(file.getDouble("t.i8"), -100);
  EXPECT_EQ(file.getDouble("t.i16"), -30000);
  EXPECT_EQ(file.getDouble("t.i32"), -2000000000);
  EXPECT_EQ(file.getDouble("t.i64"), -std::ldexp(1, 62));
  EXPECT_EQ(file.getDouble("t.f32"), 0.25);
  EXPECT_EQ(file.getDouble("t.f64"), 1e300);
  EXPECT_EQ(file.getDouble("t.u8"), 200);
  EXPECT_EQ(file.getBool("t.bool"), true);
  EXPECT_EQ(file.getString("t.string"), "h\u00e9llo");
  ASSERT_TRUE(file.getStrings("t.strings"));
  EXPECT_EQ(*file.getStrings("t.strings"), (std::vector<std::string>{"a", "", "\u0120the"}));
  const GgufValue *ints = file.find("t.ints");
  ASSERT_TRUE(ints);
  ASSERT_EQ(ints->count, 3u);
  EXPECT_EQ(ints->element(1).asDouble(), -2);
  EXPECT_EQ(ints->element(2).asUnsigned(), 3u);
  EXPECT_EQ(file.find("t.floats")->element(1).asDouble(), -1.5);
  EXPECT_EQ(file.find("t.bools")->element(1).asUnsigned(), 0u);
  const GgufValue *nested = file.find("t.nested");
  ASSERT_EQ(nested->nested.size(), 2u);
  EXPECT_EQ(nested->nested[0].element(1).asDouble(), 2);
  EXPECT_EQ(nested->nested[1].count, 1u);
}

TEST(Gguf, AbsentKeys) {
  Gguf file = readGguf(MLSYS_TEST_DATA "/gguf/types.gguf");
  EXPECT_FALSE(file.find("x"));
  EXPECT_FALSE(file.getUnsigned("x"));
  EXPECT_FALSE(file.getDouble("x"));
  EXPECT_FALSE(file.getBool("x"));
  EXPECT_FALSE(file.getString("x"));
  EXPECT_FALSE(file.getStrings("x"));
  EXPECT_FALSE(file.findTensor("x"));
}

TEST(Gguf, WrongTypes) {
  Gguf file = readGguf(MLSYS_TEST_DATA "/gguf/types.gguf");
  EXPECT_ERROR(file.getUnsigned("t.i8"), "types.gguf: metadata t.i8 is of type i8, expected an integer");
  EXPECT_ERROR(file.getUnsigned("t.f32"), "is of type f32, expected an integer");
  EXPECT_ERROR(file.getUnsigned("t.string"), "is of type string, expected an integer");
  EXPECT_ERROR(file.getDouble("t.string"), "is of type string, expected a number");
  EXPECT_ERROR(file.getBool("t.u8"), "is of type u8, expected a bool");
  EXPECT_ERROR(file.getString("t.u8"), "is of type u8, expected a string");
  EXPECT_ERROR(file.getStrings("t.ints"), "is of type array, expected an array of strings");
  EXPECT_ERROR(file.getStrings("t.u8"), "is of type u8, expected an array of strings");
}

TEST(Gguf, Tensors) {
  Gguf file = readGguf(MLSYS_TEST_DATA "/gguf/types.gguf");
  const StoredTensor *tensor = file.findTensor("q4_1");
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->dtype, DType::Q4_1);
  EXPECT_EQ(tensor->shape, (std::vector<int64_t>{6, 96}));
  EXPECT_EQ(tensor->bytes, 6u * 3 * 20);
  EXPECT_EQ(tensor->offset % 64, 0u);
  EXPECT_EQ(file.findTensor("q8_0")->dtype, DType::Q8_0);
  EXPECT_EQ(file.findTensor("bf16")->dtype, DType::BF16);
}

TEST(Gguf, Version2AndNoTensors) {
  TempFolder folder;
  Gguf file = readGguf(folder.write("a.gguf", header(0, 0, 2).bytes));
  EXPECT_EQ(file.version, 2u);
  EXPECT_TRUE(file.tensors.empty());
}

TEST(Gguf, EveryPrefixIsRefused) {
  MappedFile whole(MLSYS_TEST_DATA "/gguf/types.gguf");
  std::string bytes(reinterpret_cast<const char *>(whole.data()), whole.size());
  TempFolder folder;
  for (size_t length = 0; length < bytes.size(); length += length < 1500 ? 1 : 97) {
    std::string path = folder.write("cut.gguf", bytes.substr(0, length));
    EXPECT_THROW(readGguf(path), Error) << length;
  }
}

TEST(Gguf, BadFiles) {
  using T = GgufType;
  constexpr uint64_t huge = UINT64_MAX;
  auto nestedArrays = [](int depth) {
    Builder builder = header(0, 1);
    builder.text("k").type(T::Array);
    for (int i = 1; i < depth; ++i)
      builder.type(T::Array).add<uint64_t>(1);
    return builder.type(T::U8).add<uint64_t>(0);
  };
  auto alignment = [](uint32_t value) {
    return header(0, 1).text("general.alignment").type(T::U32).add(value);
  };
  struct Case {
    Builder file;
    std::string message;
  };
  const Case cases[] = {
      {Builder{""}, "does not begin with 'GGUF'"},
      {Builder{"GGML\3\0\0\0"}, "does not begin with 'GGUF'"},
      {Builder{"GGUF"}, "ends at byte 4 inside the version"},
      {header(0, 0, 1), "has GGUF version 1; supported are 2 and 3"},
      {header(0, 0, 0x03000000), "is a big-endian GGUF file"},
      {header(huge, 0), "the number of tensors is 18446744073709551615, more than"},
      {header(0, huge), "the number of metadata pairs is 18446744073709551615, more than"},
      {header(0, 1).add(huge).data(32), "inside the key of metadata pair 0, which needs 1844674"},
      {header(0, 1).text("k").add<uint32_t>(13).data(32), "metadata k has value type 13"},
      {header(0, 1).text("abcde").type(T::U64).add<uint8_t>(0), "inside metadata abcde"},
      {header(0, 1).text("k").type(T::String).add(huge), "inside metadata k, which needs"},
      {header(0, 1).text("k").type(T::Array).type(T::U8).add(huge),
       "the length of metadata k is 18446744073709551615, more than"},
      {header(0, 1).text("k").type(T::Array).type(T::F64).add<uint64_t>(2).add<uint64_t>(0),
       "the length of metadata k is 2, more than the rest of the file (8 bytes)"},
      {header(0, 1).text("k").type(T::Array).type(T::String).add<uint64_t>(1 << 20).data(64),
       "the length of metadata k is 1048576, more than"},
      {header(0, 1).text("k").type(T::Array).add<uint32_t>(99).add<uint64_t>(0),
       "metadata k has value type 99"},
      {nestedArrays(5), "metadata k nests arrays deeper than 4 levels"},
      {header(0, 2).text("k").type(T::U8).add<uint8_t>(0).text("k").type(T::U8).add<uint8_t>(0),
       "metadata k occurs twice"},
      {alignment(0), "general.alignment is 0, expected a power of two"},
      {alignment(48), "general.alignment is 48"},
      {alignment(1u << 30), "general.alignment is 1073741824"},
      {header(0, 1).text("general.alignment").type(T::String).text("x"),
       "metadata general.alignment is of type string"},
      {header(1, 0).add(huge).data(64), "inside the name of tensor 0"},
      {header(1, 0).tensor("a", {1, 1, 1, 1, 1}, 0, 0), "tensor a has 5 dimensions; at most 4"},
      {header(1, 0).tensor("a", {huge}, 0, 0), "tensor a has a dimension of 18446744073709551615"},
      {header(1, 0).tensor("a", {1ull << 62, 4}, 0, 0), "which is negative or too large"},
      {header(1, 0).tensor("a", {32}, 9, 0).data(64),
       "tensor a has type Q8_1, which ggml uses in products and does not store; supported are F32, F16, Q4_0, "},
      {header(1, 0).tensor("a", {32}, 4, 0).data(64), "tensor a has type Q4_2, which ggml dropped; supported are"},
      {header(1, 0).tensor("a", {32}, 999, 0).data(64), "tensor a has type 999; supported are"},
      {header(1, 0).tensor("a", {33}, 8, 0).data(64),
       "tensor a has the shape [33], but rows of q8_0 hold a multiple of 32"},
      {header(1, 0).tensor("a", {}, 8, 0).data(64), "rows of q8_0 hold a multiple of 32"},
      {header(1, 0).tensor("a", {1}, 0, 4).data(64), "which is no multiple of the alignment 32"},
      {header(1, 0).tensor("a", {8}, 0, 64).data(64), "tensor a has 32 bytes at offset 64"},
      {header(1, 0).tensor("a", {8}, 0, huge - 31).data(64), "beyond the end of the file"},
      {header(1, 0).tensor("a", {17}, 0, 0).data(64), "tensor a has 68 bytes at offset 0"},
      {header(2, 0).tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 32).data(64),
       "tensors a and b overlap"},
      {header(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(64),
       "tensor a occurs twice"},
  };
  TempFolder folder;
  for (const Case &bad : cases) {
    std::string path = folder.write("bad.gguf", bad.file.bytes);
    EXPECT_ERROR(readGguf(path), bad.message);
    EXPECT_ERROR(readGguf(path), path);
  }
  EXPECT_ERROR(readGguf(folder.path("missing.gguf")), "cannot open");
  readGguf(folder.write("good.gguf", nestedArrays(4).bytes));
}
