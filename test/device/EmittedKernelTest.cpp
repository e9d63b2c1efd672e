//===- EmittedKernelTest.cpp - Emitted kernels against the interpreter ----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Of the CPU's instruction sets those that this machine has are tested.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <gtest/gtest.h>

using namespace mlsys;
using namespace mlsys::test;

namespace {

std::vector<std::string> splitModules(const std::string &text) {
  std::vector<std::string> parts;
  const std::string separator = "// -----\n";
  size_t start = 0;
  for (size_t at = text.find(separator); at != std::string::npos; at = text.find(separator, start)) {
    parts.push_back(text.substr(start, at - start));
    start = at + separator.size();
  }
  parts.push_back(text.substr(start));
  return parts;
}

class Kernels : public testing::TestWithParam<Variant> {};

TEST_P(Kernels, LoopsRowsAndProducts) {
  for (const std::string &text : splitModules(readInput("kernels.mlir"))) {
    KernelTest test(text, GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

TEST_P(Kernels, Attention) {
  // Small heads, heads that fill no power of two, and the largest; 1 to 8 query heads a key head.
  for (Extents extents :
       {Extents{4, 2, 16, 16}, Extents{8, 1, 8, 4}, Extents{3, 3, 40, 64}, Extents{2, 2, 256, 16}}) {
    SCOPED_TRACE("heads of " + std::to_string(extents.dim));
    KernelTest test(attentionText("attention.mlir", extents), GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

TEST_P(Kernels, AttentionWindowsCapsAndEncoders) {
  KernelTest test(attentionText("attention-scores.mlir", {2, 1, 80, 16}), GetParam().type, GetParam().target);
  ASSERT_TRUE(test.valid());
  compareAll(test);
}

TEST_P(Kernels, AttentionWithSlopes) {
  // Among them as many heads as no power of two.
  for (Extents extents : {Extents{6, 2, 40, 16}, Extents{2, 2, 16, 64}}) {
    SCOPED_TRACE(std::to_string(extents.heads) + " heads");
    KernelTest test(attentionText("attention-slopes.mlir", extents), GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

TEST_P(Kernels, AttentionOverOtherCacheTypes) {
  for (std::string cacheType : {"f32", "bf16", "f16"}) {
    if (cacheType == GetParam().type)
      continue;
    SCOPED_TRACE("cache of " + cacheType);
    Extents extents = cacheType == "f16" ? Extents{2, 2, 96, 64} : Extents{4, 2, 24, 16};
    KernelTest test(attentionText("attention-scores.mlir", extents, {"prefill_narrow", "decode_window"}),
                    GetParam().type, GetParam().target, cacheType);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

TEST_P(Kernels, AttentionOverLongContexts) {
  // Planned for many workers, the CPU cuts the keys into parts.
  KernelTest test(attentionText("attention-scores.mlir", {2, 1, 16, 64},
                                {"prefill_window", "decode_window", "decode_capped"}),
                  GetParam().type, GetParam().target, "", 33024, 8);
  ASSERT_TRUE(test.valid());
  test.compare("prefill_window", {{32700, 7}, {3, 2}});
  for (std::string function : {"decode_capped", "decode_window"})
    test.compare(function, {{32767, 1}, {5, 1}, {63, 1}});
  test.compare("decode_capped", {{0, 1}, {200, 1}, {1000, 1}});
}

TEST_P(Kernels, AttentionWithSlopesOverLongContexts) {
  KernelTest test(attentionText("attention-slopes.mlir", {4, 2, 16, 64}, {"prefill", "decode"}), GetParam().type,
                  GetParam().target, "", 33024, 8);
  ASSERT_TRUE(test.valid());
  test.compare("prefill", {{5000, 7}, {3, 2}});
  test.compare("decode", {{32767, 1}, {5, 1}, {63, 1}});
}

INSTANTIATE_TEST_SUITE_P(Emitted, Kernels, testing::ValuesIn(variants()), nameOfVariant);

} // namespace
