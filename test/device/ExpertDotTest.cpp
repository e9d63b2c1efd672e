//===- ExpertDotTest.cpp - Products with experts against the interpreter --===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

using namespace mlsys;
using namespace mlsys::test;

namespace {

class ExpertDots : public testing::TestWithParam<Variant> {
protected:
  /// Compiles the functions for these extents and compares those of T tokens with each number.
  void compare(int64_t experts, int64_t perToken, int64_t columns, int64_t contracted, int64_t below,
               const std::vector<int64_t> &tokenCounts) {
    SCOPED_TRACE(std::to_string(perToken) + " of " + std::to_string(experts) + " experts");
    std::string text = readInput("experts.mlir");
    replace(text, "$E", experts);
    replace(text, "$K", perToken);
    replace(text, "$N", columns);
    replace(text, "$D", contracted);
    replace(text, "$B", below);
    text = replaceAll(text, "$L", perToken == 1 ? "" : ", \"loop\"");
    KernelTest test(text, GetParam().type, GetParam().target);
    ASSERT_TRUE(test.valid());
    for (const std::string &function : test.functions()) {
      if (!test.isDynamic(function))
        test.compare(function, 1);
      else
        for (int64_t tokens : tokenCounts)
          test.compare(function, tokens);
    }
  }
};

/// Extents that no tile divides; experts that nobody chooses.
TEST_P(ExpertDots, RemaindersAndUnused) { compare(4, 2, 35, 50, 3, {1, 17, 67}); }

/// All rows go to one expert, again and again for the same token.
TEST_P(ExpertDots, AllRowsToOne) { compare(2, 2, 64, 64, 1, {40}); }

TEST_P(ExpertDots, ManyExperts) {
  // The router's kernel is long: once is enough.
  if (GetParam().type == "f32")
    compare(128, 8, 24, 40, 128, {17});
  else
    compare(60, 3, 24, 40, 60, {17});
}

TEST_P(ExpertDots, OneOfMany) { compare(5, 1, 32, 96, 5, {1, 17}); }

INSTANTIATE_TEST_SUITE_P(Emitted, ExpertDots, testing::ValuesIn(variants()), nameOfVariant);

} // namespace
