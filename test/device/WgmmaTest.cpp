//===- WgmmaTest.cpp - Kernels of wgmma against the interpreter -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

using namespace mlsys;
using namespace mlsys::test;

namespace {

class Wgmma : public testing::TestWithParam<const char *> {};

TEST_P(Wgmma, Products) {
  KernelTest test(readInput("wgmma.mlir"), GetParam(), "sm_90a");
  ASSERT_TRUE(test.valid());
  for (const std::string &function : test.functions()) {
    EXPECT_NE(test.cudaText().find("matmul_wgmma<"), std::string::npos);
    if (!test.isDynamic(function))
      test.compare(function, 1);
    else
      for (int64_t tokens : {1, 65, 300})
        test.compare(function, tokens);
  }
}

/// The queries, keys and values of a model: rope and cache writes mix columns of a head.
TEST_P(Wgmma, RopeAndCacheWrites) {
  for (int64_t dim : {64, 96, 128}) {
    SCOPED_TRACE("heads of " + std::to_string(dim));
    std::string text = readInput("wgmma-rope.mlir");
    replace(text, "$QD", 2 * dim);
    replace(text, "$S", dim / 2);
    replace(text, "$D", dim);
    KernelTest test(text, GetParam(), "sm_90a");
    ASSERT_TRUE(test.valid());
    EXPECT_NE(test.cudaText().find("matmul_wgmma<"), std::string::npos);
    test.compare("prefill", {{0, 5}, {13, 1}, {3, 20}, {40, 130}});
  }
}

INSTANTIATE_TEST_SUITE_P(Emitted, Wgmma, testing::Values("bf16", "f16"));

} // namespace
