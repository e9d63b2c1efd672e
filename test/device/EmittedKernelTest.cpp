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

/// One token, fewer than a tile has, a whole tile, and more than one.
const int64_t tokenCounts[] = {1, 5, 64, 67};

void compareAll(KernelTest &test) {
  for (const std::string &function : test.functions()) {
    if (test.usesCache(function)) {
      if (test.decodeBatch(function)) {
        test.compare(function, {{0, 1}, {6, 1}, {70, 1}});
        continue;
      }
      test.compare(function, {{0, 1}});
      test.compare(function, {{0, 70}});
      if (test.isBidirectional(function)) {
        test.compare(function, {{0, 5}, {0, 1}, {0, 66}, {0, 23}});
        continue;
      }
      test.compare(function, {{0, 5}, {13, 1}, {3, 20}, {40, 66}, {0, 1}});
      continue;
    }
    if (!test.isDynamic(function)) {
      test.compare(function, 1);
      continue;
    }
    for (int64_t tokens : tokenCounts)
      test.compare(function, tokens);
  }
}

class Kernels : public testing::TestWithParam<Variant> {};

TEST_P(Kernels, LoopsRowsAndProducts) {
  for (const std::string &text : splitModules(readInput("kernels.mlir"))) {
    KernelTest test(text, GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

struct Extents {
  int64_t heads, kvHeads, dim, page;
};

/// The text of an input with its parameters replaced, and of its functions only those that are
/// `wanted`, when any are.
std::string attentionText(const std::string &input, Extents extents,
                          const std::vector<std::string> &wanted = {}) {
  std::string text = readInput(input);
  if (!wanted.empty()) {
    const std::string start = "func.func @";
    std::string kept = text.substr(0, text.find(start));
    for (const std::string &name : wanted) {
      size_t begin = text.find(start + name + "("), end = text.find("\n}\n", begin);
      EXPECT_NE(begin, std::string::npos) << name;
      kept += text.substr(begin, end + 3 - begin);
    }
    text = kept;
  }
  replace(text, "$HD", extents.heads * extents.dim);
  replace(text, "$KD", extents.kvHeads * extents.dim);
  replace(text, "$H", extents.heads);
  replace(text, "$K", extents.kvHeads);
  replace(text, "$D", extents.dim);
  replace(text, "$S", extents.dim / 2);
  replace(text, "$P", extents.page);
  return text;
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

INSTANTIATE_TEST_SUITE_P(Emitted, Kernels, testing::ValuesIn(variants()), nameOfVariant);

} // namespace
