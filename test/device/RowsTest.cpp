//===- RowsTest.cpp - Reductions in parts, columns and transposes ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What CUDA emits for long rows, reductions across memory's order and transposes gives what the interpreter does, with
// the threads of the host executor in three orders.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <gtest/gtest.h>

#include <cstdlib>

using namespace mlsys::test;

namespace {

struct Case {
  std::string type, target, schedule;
};
void PrintTo(const Case &test, std::ostream *os) { *os << test.type << " " << test.schedule; }

/// Sets the order of threads while it lives.
struct Schedule {
  explicit Schedule(const std::string &name) { setenv("MLSYS_HOST_SCHEDULE", name.c_str(), 1); }
  ~Schedule() { unsetenv("MLSYS_HOST_SCHEDULE"); }
};

class Rows : public testing::TestWithParam<Case> {};

TEST_P(Rows, GiveWhatTheInterpreterGives) {
  Schedule schedule(GetParam().schedule);
  KernelTest test(readInput("rows.mlir"), GetParam().type, GetParam().target);
  ASSERT_TRUE(test.valid());
  compareAll(test);
  test.compare("mean_of_all", 900);
  test.compare("columns_open", 1025);
  test.compare("softmax_open", 20500);
}

TEST_P(Rows, TransposesGiveWhatTheInterpreterGives) {
  Schedule schedule(GetParam().schedule);
  KernelTest test(readInput("transposes.mlir"), GetParam().type, GetParam().target);
  ASSERT_TRUE(test.valid());
  EXPECT_NE(test.cudaText().find("shared_memory<"), std::string::npos);
  compareAll(test);
}

INSTANTIATE_TEST_SUITE_P(Emitted, Rows,
                         testing::Values(Case{"f32", "cuda", "forward"}, Case{"bf16", "cuda", "reverse"},
                                         Case{"f16", "sm_90a", "random"}, Case{"bf16", "sm_90a", "forward"}),
                         [](const testing::TestParamInfo<Case> &info) {
                           return info.param.type + "_" + info.param.target + "_" + info.param.schedule;
                         });

/// The same numbers, whatever the row's batch.
TEST(LongRows, DoNotDependOnTheBatch) {
  KernelTest test("func.func @one(%x: tensor<1x20480xf32>) -> tensor<1x20480xf32> {\n"
                  "  %0 = graph.softmax %x dim 1 : tensor<1x20480xf32>\n  return %0 : tensor<1x20480xf32>\n}\n"
                  "func.func @three(%x: tensor<3x20480xf32>) -> tensor<3x20480xf32> {\n"
                  "  %0 = graph.softmax %x dim 1 : tensor<3x20480xf32>\n  return %0 : tensor<3x20480xf32>\n}\n",
                  "f32", "sm_90a");
  ASSERT_TRUE(test.valid());
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  std::vector<float> rows(3 * 20480);
  for (float &value : rows)
    value = normal(generator);
  std::vector<float> together = test.apply("three", rows);
  for (int row = 0; row < 3; ++row) {
    auto from = [&](const std::vector<float> &all) {
      return std::vector<float>(all.begin() + row * 20480, all.begin() + (row + 1) * 20480);
    };
    EXPECT_EQ(test.apply("one", from(rows)), from(together)) << "row " << row;
  }
}

} // namespace
