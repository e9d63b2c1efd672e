//===- Expr.cpp - Integer expressions over symbols --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Expr.h"

#include "runtime/Error.h"

#include <algorithm>
#include <limits>
#include <vector>

using namespace mlsys;
using namespace mlsys::rt;
using program::ExprOp;

int64_t rt::checkedAdd(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result))
    throw Error("size overflow: {} + {} does not fit 64 bits", a, b);
  return result;
}

int64_t rt::checkedMul(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    throw Error("size overflow: {} * {} does not fit 64 bits", a, b);
  return result;
}

static void checkDivision(int64_t a, int64_t b) {
  if (b == 0)
    throw Error("division of {} by zero in a size expression", a);
  if (a == std::numeric_limits<int64_t>::min() && b == -1)
    throw Error("size overflow: {} / -1 does not fit 64 bits", a);
}

static int64_t floorDiv(int64_t a, int64_t b) {
  checkDivision(a, b);
  int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t ceilDiv(int64_t a, int64_t b) {
  checkDivision(a, b);
  int64_t quotient = a / b;
  return quotient + (a % b != 0 && (a < 0) == (b < 0));
}

static int64_t applyOp(ExprOp op, int64_t a, int64_t b) {
  switch (op) {
  case ExprOp::Add:
    return checkedAdd(a, b);
  case ExprOp::Mul:
    return checkedMul(a, b);
  case ExprOp::FloorDiv:
    return floorDiv(a, b);
  case ExprOp::CeilDiv:
    return ceilDiv(a, b);
  case ExprOp::Mod:
    checkDivision(a, b);
    return a - floorDiv(a, b) * b;
  case ExprOp::Max:
    return std::max(a, b);
  case ExprOp::Min:
    return std::min(a, b);
  case ExprOp::Const:
  case ExprOp::Symbol:
    break;
  }
  throw Error("unknown operator {} in a size expression", int64_t(op));
}

void rt::validateExpr(const program::Expr *expr, size_t symbolCount, std::string_view what) {
  if (!expr || !expr->code() || expr->code()->size() == 0)
    throw Error("{} is missing", what);
  const auto &code = *expr->code();
  if (code.size() > maxExprLength)
    throw Error("{} is an expression of {} words, more than {}", what, code.size(), maxExprLength);
  size_t depth = 0;
  for (uint32_t i = 0; i < code.size(); ++i) {
    int64_t op = code.Get(i);
    if (op < int64_t(ExprOp::Const) || op > int64_t(ExprOp::Min))
      throw Error("{} has the unknown operator {}", what, op);
    if (op > int64_t(ExprOp::Symbol)) {
      if (depth < 2)
        throw Error("{} lacks an operand", what);
      --depth;
      continue;
    }
    if (++i == code.size())
      throw Error("{} lacks an operand", what);
    if (op == int64_t(ExprOp::Symbol) && (code.Get(i) < 0 || uint64_t(code.Get(i)) >= symbolCount))
      throw Error("{} uses symbol {} of {}", what, code.Get(i), symbolCount);
    if (++depth > maxExprDepth)
      throw Error("{} needs more than {} operands at once", what, maxExprDepth);
  }
  if (depth != 1)
    throw Error("{} leaves {} values instead of one", what, depth);
}

int64_t rt::evaluate(const program::Expr &expr, std::span<const int64_t> symbols) {
  int64_t stack[maxExprDepth];
  size_t depth = 0;
  const int64_t *code = expr.code()->data();
  const int64_t *end = code + expr.code()->size();
  while (code != end) {
    ExprOp op = ExprOp(*code++);
    if (op == ExprOp::Const) {
      stack[depth++] = *code++;
    } else if (op == ExprOp::Symbol) {
      stack[depth++] = symbols[*code++];
    } else {
      --depth;
      stack[depth - 1] = applyOp(op, stack[depth - 1], stack[depth]);
    }
  }
  return stack[0];
}

static std::optional<int64_t> soleOperand(const program::Expr &expr, ExprOp op) {
  if (expr.code()->size() != 2 || expr.code()->Get(0) != int64_t(op))
    return std::nullopt;
  return expr.code()->Get(1);
}

std::optional<uint32_t> rt::asSymbol(const program::Expr &expr) {
  return soleOperand(expr, ExprOp::Symbol);
}

std::optional<int64_t> rt::asConstant(const program::Expr &expr) {
  return soleOperand(expr, ExprOp::Const);
}

std::string rt::toString(const program::Expr &expr, std::span<const std::string> symbolNames) {
  // Text and whether it needs parentheses as an operand.
  struct Term {
    std::string text;
    bool compound;
  };
  std::vector<Term> stack;
  const int64_t *code = expr.code()->data();
  const int64_t *end = code + expr.code()->size();
  while (code != end) {
    ExprOp op = ExprOp(*code++);
    if (op == ExprOp::Const) {
      stack.push_back({std::to_string(*code++), false});
      continue;
    }
    if (op == ExprOp::Symbol) {
      stack.push_back({symbolNames[*code++], false});
      continue;
    }
    Term right = std::move(stack.back());
    stack.pop_back();
    Term &left = stack.back();
    if (op == ExprOp::Max || op == ExprOp::Min || op == ExprOp::CeilDiv) {
      const char *name = op == ExprOp::Max ? "max" : op == ExprOp::Min ? "min" : "ceildiv";
      left = {fmt::format("{}({}, {})", name, left.text, right.text), false};
      continue;
    }
    const char *sign = op == ExprOp::Add   ? "+"
                       : op == ExprOp::Mul ? "*"
                       : op == ExprOp::Mod ? "%"
                                           : "/";
    auto wrap = [](const Term &term) {
      return term.compound ? "(" + term.text + ")" : term.text;
    };
    left = {fmt::format("{} {} {}", wrap(left), sign, wrap(right)), true};
  }
  return stack.back().text;
}
