//===- ExprTest.cpp - Integer expressions over symbols ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Expr.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <limits>

using namespace mlsys;
using namespace mlsys::rt;

namespace {

/// An Expr in a buffer of its own.
class Built {
public:
  explicit Built(std::vector<int64_t> code) {
    builder.Finish(program::CreateExprDirect(builder, &code));
    expr = flatbuffers::GetRoot<program::Expr>(builder.GetBufferPointer());
  }
  const program::Expr &operator*() const { return *expr; }
  const program::Expr *get() const { return expr; }

private:
  flatbuffers::FlatBufferBuilder builder;
  const program::Expr *expr;
};

enum Op : int64_t { Const, Symbol, Add, Mul, FloorDiv, CeilDiv, Mod, Max, Min };

int64_t evaluateCode(std::vector<int64_t> code, std::vector<int64_t> symbols = {}) {
  Built built(std::move(code));
  validateExpr(built.get(), symbols.size(), "expression");
  return evaluate(*built, symbols);
}

std::string invalidMessage(std::vector<int64_t> code, size_t symbols) {
  Built built(std::move(code));
  try {
    validateExpr(built.get(), symbols, "grid of launch 3");
  } catch (const Error &error) {
    return error.what();
  }
  return "valid";
}

TEST(Expr, Evaluates) {
  EXPECT_EQ(evaluateCode({Const, -7}), -7);
  EXPECT_EQ(evaluateCode({Symbol, 1}, {3, 5}), 5);
  // (T + 3) * S
  EXPECT_EQ(evaluateCode({Symbol, 0, Const, 3, Add, Symbol, 1, Mul}, {4, 5}), 35);
  EXPECT_EQ(evaluateCode({Symbol, 0, Const, 2, Max, Const, 9, Min}, {1}), 2);
}

TEST(Expr, DividesTowardsTheNamedSide) {
  EXPECT_EQ(evaluateCode({Const, 7, Const, 2, FloorDiv}), 3);
  EXPECT_EQ(evaluateCode({Const, -7, Const, 2, FloorDiv}), -4);
  EXPECT_EQ(evaluateCode({Const, 7, Const, 2, CeilDiv}), 4);
  EXPECT_EQ(evaluateCode({Const, -7, Const, 2, CeilDiv}), -3);
  EXPECT_EQ(evaluateCode({Const, -7, Const, 4, Mod}), 1);
}

TEST(Expr, ThrowsOnOverflowAndZero) {
  constexpr int64_t big = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(evaluateCode({Const, big, Const, 1, Add}), Error);
  EXPECT_THROW(evaluateCode({Const, big, Const, 2, Mul}), Error);
  EXPECT_THROW(evaluateCode({Const, 1, Const, 0, FloorDiv}), Error);
  EXPECT_THROW(evaluateCode({Const, 1, Const, 0, Mod}), Error);
  EXPECT_THROW(
      evaluateCode({Const, std::numeric_limits<int64_t>::min(), Const, -1, CeilDiv}), Error);
}

TEST(Expr, RefusesMalformedCode) {
  EXPECT_EQ(invalidMessage({Symbol, 0, Const, 2, Mul}, 1), "valid");
  EXPECT_EQ(invalidMessage({}, 1), "grid of launch 3 is missing");
  EXPECT_EQ(invalidMessage({Const}, 1), "grid of launch 3 lacks an operand");
  EXPECT_EQ(invalidMessage({Const, 1, Add}, 1), "grid of launch 3 lacks an operand");
  EXPECT_EQ(invalidMessage({Const, 1, Const, 1}, 1),
            "grid of launch 3 leaves 2 values instead of one");
  EXPECT_EQ(invalidMessage({Symbol, 1}, 1), "grid of launch 3 uses symbol 1 of 1");
  EXPECT_EQ(invalidMessage({Symbol, -1}, 1), "grid of launch 3 uses symbol -1 of 1");
  EXPECT_EQ(invalidMessage({99}, 1), "grid of launch 3 has the unknown operator 99");
  EXPECT_NE(invalidMessage(std::vector<int64_t>(300, 0), 1), "valid");
  EXPECT_NE(invalidMessage(std::vector<int64_t>(100, 0), 1), "valid");
  EXPECT_THROW(validateExpr(nullptr, 0, "x"), Error);
}

TEST(Expr, RecognisesSingleTerms) {
  EXPECT_EQ(asSymbol(*Built({Symbol, 1})), 1u);
  EXPECT_EQ(asSymbol(*Built({Const, 1})), std::nullopt);
  EXPECT_EQ(asConstant(*Built({Const, 12})), 12);
  EXPECT_EQ(asConstant(*Built({Symbol, 0, Const, 2, Mul})), std::nullopt);
}

TEST(Expr, PrintsInfix) {
  std::string names[] = {"T", "R"};
  EXPECT_EQ(toString(*Built({Symbol, 0, Const, 3, Add, Symbol, 1, Mul}), names), "(T + 3) * R");
  EXPECT_EQ(toString(*Built({Symbol, 0, Const, 16, CeilDiv}), names), "ceildiv(T, 16)");
}

} // namespace
