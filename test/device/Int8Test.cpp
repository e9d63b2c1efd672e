//===- Int8Test.cpp - Products of 8-bit integers --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// On every target against the interpreter: sums are equal, not close.
//
//===----------------------------------------------------------------------===//

#include "AmxEmulator.h"
#include "KernelTest.h"

#include "runtime/CpuDevice.h"

using namespace mlsys;
using namespace mlsys::test;

namespace {

std::string int8Text(int64_t columns, int64_t contracted) {
  std::string text = readInput("int8.mlir");
  replace(text, "$N", columns);
  replace(text, "$K", contracted);
  return text;
}

class Int8 : public testing::TestWithParam<Variant> {};

TEST_P(Int8, Products) {
  // Whole panels and steps; remainders of both; K shorter than a step of any instruction.
  const std::pair<int64_t, int64_t> extents[] = {{64, 128}, {37, 131}, {33, 66}, {70, 3}};
  for (auto [columns, contracted] : extents) {
    if (GetParam().type != "f32" && columns != 37)
      continue;
    SCOPED_TRACE(std::to_string(columns) + " columns, K = " + std::to_string(contracted));
    KernelTest test(int8Text(columns, contracted), GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

/// K is cut into blocks.
TEST_P(Int8, LongSums) {
  if (GetParam().type != "f32")
    GTEST_SKIP() << "integers have no float type";
  KernelTest test(int8Text(32, 9000), "f32", GetParam().target);
  ASSERT_TRUE(test.valid());
  for (const char *function : {"signed", "unsigned", "largest"})
    test.compare(function, 13);
}

INSTANTIATE_TEST_SUITE_P(Emitted, Int8, testing::ValuesIn(variants()), nameOfVariant);

/// AMX on a processor that has it or, with AVX-512 BF16, on the emulator.
TEST(Int8Amx, Products) {
  bool native = rt::cpuSupports("amx");
  if (!native && !rt::cpuSupports("avx512bf16"))
    GTEST_SKIP() << "needs AVX-512 BF16";
  AmxEmulator emulator;
  const std::pair<int64_t, int64_t> extents[] = {{32, 64}, {64, 128}, {37, 131}, {70, 67}};
  for (auto [columns, contracted] : extents) {
    SCOPED_TRACE(std::to_string(columns) + " columns, K = " + std::to_string(contracted));
    int64_t before = AmxEmulator::products();
    KernelTest test(int8Text(columns, contracted), "f32", "amx");
    ASSERT_TRUE(test.valid());
    compareAll(test);
    if (!native)
      EXPECT_GT(AmxEmulator::products(), before);
  }
}

} // namespace
