//===- EmbedTest.cpp - Pooling and class probabilities --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mlsys::rt;

TEST(Embed, PoolsRows) {
  const float rows[] = {1, 2, 3, 6};
  EXPECT_EQ(poolRows(rows, 2, "mean", false), (std::vector<float>{2, 4}));
  EXPECT_EQ(poolRows(rows, 2, "cls", false), (std::vector<float>{1, 2}));
  EXPECT_EQ(poolRows(rows, 2, "last", false), (std::vector<float>{3, 6}));
  const float right[] = {3, 4};
  EXPECT_EQ(poolRows(right, 2, "mean", true), (std::vector<float>{0.6f, 0.8f}));
  const float zeros[] = {0, 0};
  EXPECT_EQ(poolRows(zeros, 2, "mean", true), (std::vector<float>{0, 0}));
}

TEST(Embed, ClassProbabilities) {
  const float two[] = {0, std::log(3.0f)}, one[] = {0}, large[] = {1000, 1000};
  EXPECT_NEAR(classProbabilities(two)[1], 0.75, 1e-6);
  EXPECT_EQ(classProbabilities(one), std::vector<double>{0.5});
  EXPECT_EQ(classProbabilities(large), (std::vector<double>{0.5, 0.5}));
}
