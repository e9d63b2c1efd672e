//===- DequantizeTest.cpp - Conversions against other implementations -----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"
#include "runtime/MappedFile.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

using namespace mlsys::rt;
using mlsys::program::DType;

static const std::string data = MLSYS_TEST_DATA "/gguf/";

// test/data/gguf is made by test/scripts/make_gguf_data.py; the .npy files are
// gguf-py's results.
TEST(Dequantize, EqualsGgufPy) {
  Gguf file = readGguf(data + "types.gguf");
  MappedFile mapped(data + "types.gguf");
  ASSERT_EQ(file.tensors.size(), 6u);
  for (const StoredTensor &tensor : file.tensors) {
    NpyArray expected = readNpy(data + tensor.name + ".npy");
    ASSERT_EQ(expected.shape, tensor.shape) << tensor.name;
    std::vector<float> values(expected.data.size() / 4);
    convertToF32(tensor.dtype, mapped.data() + tensor.offset, values.data(),
                 static_cast<int64_t>(values.size()));
    EXPECT_EQ(std::memcmp(values.data(), expected.data.data(), expected.data.size()), 0)
        << tensor.name;
  }
}

/// The bits of a float, one pattern for every NaN.
static uint32_t patternOf(float value) {
  return std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
}

/// The block types, without what else DType has.
static std::vector<DType> blockTypes() {
  std::vector<DType> types;
  for (DType type : mlsys::program::EnumValuesDType())
    if (dtypeBlockElements(type) > 1)
      types.push_back(type);
  return types;
}

TEST(Dequantize, EveryBlockTypeEqualsGgufPy) {
  Gguf file = readGguf(data + "blocks.gguf");
  MappedFile mapped(data + "blocks.gguf");
  ASSERT_EQ(blockTypes().size(), 25u);
  ASSERT_EQ(file.tensors.size(), 2 * blockTypes().size());
  for (DType type : blockTypes()) {
    std::string name(dtypeName(type));
    const StoredTensor *stored = file.findTensor(name);
    const StoredTensor *expected = file.findTensor(name + ".f32");
    ASSERT_TRUE(stored && expected) << name;
    ASSERT_EQ(stored->dtype, type);
    ASSERT_EQ(stored->shape, expected->shape) << name;
    std::vector<float> values(expected->bytes / 4), wanted(values.size());
    std::memcpy(wanted.data(), mapped.data() + expected->offset, expected->bytes);
    convertToF32(type, mapped.data() + stored->offset, values.data(),
                 static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(patternOf(values[i]), patternOf(wanted[i]))
          << name << " element " << i << ": " << values[i] << ", expected " << wanted[i];
  }
}

// 1024 blocks of each type, drawn as make_gguf_data.py draws them.
TEST(Dequantize, DrawnBlocksHaveGgufPysChecksums) {
  Gguf file = readGguf(data + "blocks.gguf");
  for (DType type : blockTypes()) {
    std::string name(dtypeName(type));
    uint64_t number = file.getUnsigned(name + ".number").value();
    constexpr int64_t count = 1024;
    std::vector<std::byte> blocks(static_cast<size_t>(count * dtypeBlockBytes(type)) + 8);
    for (uint64_t i = 0; 8 * i + 8 <= blocks.size(); ++i) {
      uint64_t x = 1000 + number + (i + 1) * 0x9e3779b97f4a7c15u;
      x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
      x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
      x ^= x >> 31;
      std::memcpy(blocks.data() + 8 * i, &x, 8);
    }
    std::vector<float> values(static_cast<size_t>(count * dtypeBlockElements(type)));
    convertToF32(type, blocks.data(), values.data(), static_cast<int64_t>(values.size()));
    uint64_t sum = 0;
    for (size_t i = 0; i < values.size(); ++i)
      sum += patternOf(values[i]) * (i * 0x9e3779b97f4a7c15u + 1);
    EXPECT_EQ(sum, file.getUnsigned(name + ".checksum")) << name;
  }
}

/// An f16 from its definition.
static double decodeHalf(uint16_t bits) {
  int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31)
    return mantissa ? std::nan("") : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Dequantize, EveryHalf) {
  std::vector<uint16_t> halves(65536), back(65536);
  for (size_t i = 0; i < halves.size(); ++i)
    halves[i] = static_cast<uint16_t>(i);
  std::vector<float> values(65536);
  convertToF32(DType::F16, reinterpret_cast<std::byte *>(halves.data()), values.data(), 65536);
  convertFromF32(DType::F16, values.data(), reinterpret_cast<std::byte *>(back.data()), 65536);
  for (uint32_t i = 0; i < 65536; ++i) {
    double expected = decodeHalf(static_cast<uint16_t>(i));
    EXPECT_EQ(std::bit_cast<uint32_t>(f16ToF32(static_cast<uint16_t>(i))),
              std::bit_cast<uint32_t>(values[i]));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(values[i]) && std::isnan(f16ToF32(back[i]))) << i;
      continue;
    }
    EXPECT_EQ(values[i], expected) << i;
    EXPECT_EQ(back[i], i);
  }
}

TEST(Dequantize, RoundsToNearestEven) {
  // Between each two neighbouring halves: below, at and above the middle.
  for (uint32_t low = 0; low < 0x7bff; ++low) {
    double middle = (decodeHalf(static_cast<uint16_t>(low)) +
                     decodeHalf(static_cast<uint16_t>(low + 1))) / 2;
    float exact = static_cast<float>(middle);
    uint32_t even = low % 2 ? low + 1 : low;
    ASSERT_EQ(f32ToF16(exact), even);
    ASSERT_EQ(f32ToF16(std::nextafter(exact, 0.0f)), low);
    ASSERT_EQ(f32ToF16(std::nextafter(exact, 1e9f)), low + 1);
    ASSERT_EQ(f32ToF16(-exact), even | 0x8000);
  }
  EXPECT_EQ(f32ToF16(65519.0f), 0x7bff);
  EXPECT_EQ(f32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(f32ToF16(1e30f), 0x7c00);
  EXPECT_EQ(f32ToF16(-INFINITY), 0xfc00);
  EXPECT_EQ(f32ToF16(1e-30f), 0);
  EXPECT_EQ(f32ToBf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(f32ToBf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(f32ToBf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(f32ToBf16(std::bit_cast<float>(0x3f807fffu)), 0x3f80);
  EXPECT_EQ(f32ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32ToBf16(-INFINITY), 0xff80);
}

TEST(Dequantize, NaNStaysNaN) {
  for (uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0x7fc00000u}) {
    float nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBf16(nan)))) << bits;
    EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(nan)))) << bits;
    EXPECT_EQ(f32ToBf16(nan) >> 15, bits >> 31);
  }
}

TEST(Dequantize, ArraysEqualElements) {
  // Odd lengths run the remainders of vectorized loops.
  std::vector<float> values(131);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::ldexp(std::sin(static_cast<float>(i)), static_cast<int>(i % 60) - 30);
  std::vector<uint16_t> half(131), brain(131);
  std::vector<double> wide(131);
  convertFromF32(DType::F16, values.data(), reinterpret_cast<std::byte *>(half.data()), 131);
  convertFromF32(DType::BF16, values.data(), reinterpret_cast<std::byte *>(brain.data()), 131);
  convertFromF32(DType::F64, values.data(), reinterpret_cast<std::byte *>(wide.data()), 131);
  std::vector<float> fromBrain(131), fromWide(131);
  convertToF32(DType::BF16, reinterpret_cast<std::byte *>(brain.data()), fromBrain.data(), 131);
  convertToF32(DType::F64, reinterpret_cast<std::byte *>(wide.data()), fromWide.data(), 131);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(half[i], f32ToF16(values[i]));
    EXPECT_EQ(brain[i], f32ToBf16(values[i]));
    EXPECT_EQ(wide[i], values[i]);
    EXPECT_EQ(fromBrain[i], bf16ToF32(brain[i]));
    EXPECT_EQ(fromWide[i], values[i]);
  }
}

TEST(Dequantize, UnknownTypes) {
  float value = 0;
  std::byte bytes[64] = {};
  EXPECT_ERROR(convertToF32(DType::I32, bytes, &value, 1), "cannot convert i32 to f32");
  EXPECT_ERROR(convertFromF32(DType::Q4_0, &value, bytes, 1), "cannot convert f32 to q4_0");
  EXPECT_ERROR(convertFromF32(static_cast<DType>(77), &value, bytes, 1), "cannot convert f32 to unknown");
}

TEST(Dequantize, Transpose) {
  for (int64_t unit : {1, 2, 3, 4, 8, 12})
    for (int64_t rows : {1, 7, 8, 16, 19})
      for (int64_t columns : {1, 8, 13, 32}) {
        int64_t stride = columns * unit + 5;
        std::vector<std::byte> source(static_cast<size_t>(rows * stride));
        for (size_t i = 0; i < source.size(); ++i)
          source[i] = std::byte(i * 31 + i / 256);
        std::vector<std::byte> result(static_cast<size_t>(rows * columns * unit));
        transposeUnits(source.data(), stride, rows, columns, unit, result.data());
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < columns; ++c)
            ASSERT_EQ(std::memcmp(result.data() + (c * rows + r) * unit,
                                  source.data() + r * stride + c * unit,
                                  static_cast<size_t>(unit)),
                      0)
                << unit << " " << rows << " " << columns;
      }
}
