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

TEST_P(Kernels, Attention) {
  struct Extents {
    int64_t heads, kvHeads, dim, page;
  };
  // Small heads, heads that fill no power of two, and the largest; 1 to 8 query heads a key head.
  for (Extents extents :
       {Extents{4, 2, 16, 16}, Extents{8, 1, 8, 4}, Extents{3, 3, 40, 64}, Extents{2, 2, 256, 16}}) {
    std::string text = readInput("attention.mlir");
    replace(text, "$HD", extents.heads * extents.dim);
    replace(text, "$KD", extents.kvHeads * extents.dim);
    replace(text, "$H", extents.heads);
    replace(text, "$K", extents.kvHeads);
    replace(text, "$D", extents.dim);
    replace(text, "$S", extents.dim / 2);
    replace(text, "$P", extents.page);
    SCOPED_TRACE("heads of " + std::to_string(extents.dim));
    KernelTest test(text, GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    compareAll(test);
  }
}

INSTANTIATE_TEST_SUITE_P(Emitted, Kernels, testing::ValuesIn(variants()), nameOfVariant);

} // namespace
