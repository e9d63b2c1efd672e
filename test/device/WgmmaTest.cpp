//===- WgmmaTest.cpp - Kernels of wgmma against the interpreter -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <cmath>

using namespace mlsys;
using namespace mlsys::test;

namespace {

class Wgmma : public testing::TestWithParam<const char *> {};

TEST_P(Wgmma, Products) {
  KernelTest test(readInput("wgmma.mlir"), GetParam(), "sm_90a");
  ASSERT_TRUE(test.valid());
  EXPECT_NE(test.cudaText().find("__cluster_dims__("), std::string::npos);
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
  // With a long K some products are computed in parts of it.
  using Sizes = std::pair<int64_t, int64_t>;
  for (auto [dim, contracted] : {Sizes(64, 64), Sizes(96, 64), Sizes(128, 64), Sizes(64, 520)}) {
    SCOPED_TRACE("heads of " + std::to_string(dim));
    std::string text = readInput("wgmma-rope.mlir");
    replace(text, "$K", contracted);
    // Scores of one size, so that rounded queries and keys change the weights of attention alike.
    replace(text, "$W", std::llround(800 / std::sqrt(contracted)));
    replace(text, "$QD", 2 * dim);
    replace(text, "$S", dim / 2);
    replace(text, "$D", dim);
    KernelTest test(text, GetParam(), "sm_90a");
    ASSERT_TRUE(test.valid());
    EXPECT_NE(test.cudaText().find("matmul_wgmma<"), std::string::npos);
    test.compare("prefill", {{0, 5}, {13, 1}, {3, 20}, {40, 130}});
  }
}

TEST_P(Wgmma, Attention) {
  for (Extents extents : {Extents{4, 1, 64, 16}, Extents{2, 2, 128, 64}, Extents{2, 2, 256, 32}, Extents{3, 1, 96, 16}}) {
    SCOPED_TRACE("heads of " + std::to_string(extents.dim));
    KernelTest test(attentionText("attention.mlir", extents, {"prefill", "plain_causal", "plain_full"}), GetParam(),
                    "sm_90a");
    ASSERT_TRUE(test.valid());
    EXPECT_NE(test.cudaText().find("attention_prefill_wgmma<"), std::string::npos);
    EXPECT_NE(test.cudaText().find("attention_plain_wgmma<"), std::string::npos);
    compareAll(test);
    // More keys than all stages hold.
    test.compare("prefill", {{560, 9}, {0, 3}});
  }
}

TEST_P(Wgmma, AttentionWindowsCapsAndEncoders) {
  KernelTest test(attentionText("attention-scores.mlir", {2, 1, 80, 16},
                                {"prefill_window", "prefill_narrow", "prefill_all", "plain_window", "plain_cross"}),
                  GetParam(), "sm_90a");
  ASSERT_TRUE(test.valid());
  EXPECT_EQ(test.cudaText().find("attention_prefill<"), std::string::npos);
  EXPECT_EQ(test.cudaText().find("attention_plain<"), std::string::npos);
  compareAll(test);
  test.compare("prefill_window", {{500, 70}, {3, 2}});
}

TEST_P(Wgmma, AttentionWithSlopes) {
  KernelTest test(attentionText("attention-slopes.mlir", {6, 2, 64, 16}, {"prefill", "prefill_window", "plain"}), GetParam(),
                  "sm_90a");
  ASSERT_TRUE(test.valid());
  EXPECT_EQ(test.cudaText().find("attention_prefill<"), std::string::npos);
  EXPECT_EQ(test.cudaText().find("attention_plain<"), std::string::npos);
  compareAll(test);
  test.compare("prefill", {{500, 70}, {3, 2}});
}

INSTANTIATE_TEST_SUITE_P(Emitted, Wgmma, testing::Values("bf16", "f16"));

} // namespace
