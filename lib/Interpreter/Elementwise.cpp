//===- Elementwise.cpp - Elementwise operations, evaluated ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

using FloatUnary = double (*)(double);
using FloatBinary = double (*)(double, double);
using IntBinary = int64_t (*)(int64_t, int64_t);

/// The formula of an operation with one float operand; null for others.
static FloatUnary getFloatUnary(Operation *op) {
  return TypeSwitch<Operation *, FloatUnary>(op)
      .Case([](NegOp) { return [](double x) { return -x; }; })
      .Case([](AbsOp) { return [](double x) { return std::fabs(x); }; })
      .Case([](ExpOp) { return [](double x) { return std::exp(x); }; })
      .Case([](LogOp) { return [](double x) { return std::log(x); }; })
      .Case([](SqrtOp) { return [](double x) { return std::sqrt(x); }; })
      .Case([](RsqrtOp) { return [](double x) { return 1.0 / std::sqrt(x); }; })
      .Case([](TanhOp) { return [](double x) { return std::tanh(x); }; })
      .Case([](SigmoidOp) { return [](double x) { return 1.0 / (1.0 + std::exp(-x)); }; })
      .Case([](GeluOp op) -> double (*)(double) {
        if (op.getTanh())
          return [](double x) {
            return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
          };
        return [](double x) { return x / 2 * (1 + std::erf(x * std::sqrt(0.5))); };
      })
      .Case([](SiluOp) { return [](double x) { return x / (1.0 + std::exp(-x)); }; })
      .Case([](ErfOp) { return [](double x) { return std::erf(x); }; })
      .Case([](SinOp) { return [](double x) { return std::sin(x); }; })
      .Case([](CosOp) { return [](double x) { return std::cos(x); }; })
      .Case([](FloorOp) { return [](double x) { return std::floor(x); }; })
      .Case([](CeilOp) { return [](double x) { return std::ceil(x); }; })
      .Case([](RoundOp) { return [](double x) { return std::nearbyint(x); }; })
      .Default([](Operation *) { return nullptr; });
}

static double maxOrNaN(double x, double y) { return std::isnan(x) || x > y ? x : y; }
static double minOrNaN(double x, double y) { return std::isnan(x) || x < y ? x : y; }

/// The formula of an arithmetic operation on floats; null for others.
static FloatBinary getFloatBinary(Operation *op) {
  return TypeSwitch<Operation *, FloatBinary>(op)
      .Case([](AddOp) { return [](double x, double y) { return x + y; }; })
      .Case([](SubOp) { return [](double x, double y) { return x - y; }; })
      .Case([](MulOp) { return [](double x, double y) { return x * y; }; })
      .Case([](DivOp) { return [](double x, double y) { return x / y; }; })
      .Case([](MaxOp) { return &maxOrNaN; })
      .Case([](MinOp) { return &minOrNaN; })
      .Case([](PowOp) { return [](double x, double y) { return std::pow(x, y); }; })
      .Default([](Operation *) { return nullptr; });
}

/// x ^ y, wrapping; a negative exponent gives the truncated reciprocal.
static int64_t powerOfInt(int64_t x, int64_t y) {
  if (y < 0)
    return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
  uint64_t result = 1, base = static_cast<uint64_t>(x);
  for (; y; y >>= 1, base *= base)
    if (y & 1)
      result *= base;
  return static_cast<int64_t>(result);
}

/// x / y towards zero; the one overflow wraps.
static int64_t divideInt(int64_t x, int64_t y) {
  return y == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(x)) : x / y;
}

/// The formula of an operation on integers or booleans; null for others. Sums and
/// products wrap.
static IntBinary getIntBinary(Operation *op) {
  return TypeSwitch<Operation *, IntBinary>(op)
      .Case([](AddOp) { return [](int64_t x, int64_t y) { return int64_t(uint64_t(x) + uint64_t(y)); }; })
      .Case([](SubOp) { return [](int64_t x, int64_t y) { return int64_t(uint64_t(x) - uint64_t(y)); }; })
      .Case([](MulOp) { return [](int64_t x, int64_t y) { return int64_t(uint64_t(x) * uint64_t(y)); }; })
      .Case([](DivOp) { return &divideInt; })
      .Case([](MaxOp) { return [](int64_t x, int64_t y) { return std::max(x, y); }; })
      .Case([](MinOp) { return [](int64_t x, int64_t y) { return std::min(x, y); }; })
      .Case([](PowOp) { return &powerOfInt; })
      .Case([](AndOp) { return [](int64_t x, int64_t y) { return x & y; }; })
      .Case([](OrOp) { return [](int64_t x, int64_t y) { return x | y; }; })
      .Default([](Operation *) { return nullptr; });
}

template <typename T> static bool compare(Predicate predicate, T x, T y) {
  switch (predicate) {
  case Predicate::eq:
    return x == y;
  case Predicate::ne:
    return x != y;
  case Predicate::lt:
    return x < y;
  case Predicate::le:
    return x <= y;
  case Predicate::gt:
    return x > y;
  case Predicate::ge:
    return x >= y;
  }
  llvm_unreachable("all predicates are handled");
}

/// The integer nearest to a float towards zero, in the range of int64; NaN gives 0.
static int64_t truncateToInt(double value) {
  if (std::isnan(value))
    return 0;
  if (value >= 0x1p63)
    return INT64_MAX;
  if (value <= -0x1p63)
    return INT64_MIN;
  return static_cast<int64_t>(value);
}

static void convert(Tensor &result, const Tensor &input) {
  for (int64_t i = 0; i < result.size(); ++i) {
    if (result.isFloat())
      result.setFloat(i, input.getFloat(i));
    else if (!input.isFloat())
      result.setInt(i, input.getInt(i));
    else if (result.dtype() == program::DType::Bool)
      result.setInt(i, input.getFloat(i) != 0);
    else
      result.setInt(i, truncateToInt(input.getFloat(i)));
  }
}

llvm::Expected<Tensor> mlsys::evaluateElementwise(const Evaluation &e) {
  Tensor result = e.makeResult();
  if (auto compareOp = dyn_cast<CompareOp>(e.op)) {
    const Tensor &x = e.tensor(0), &y = e.tensor(1);
    for (int64_t i = 0; i < result.size(); ++i)
      result.setInt(i, x.isFloat() ? compare(compareOp.getPredicate(), x.getFloat(i), y.getFloat(i))
                                   : compare(compareOp.getPredicate(), x.getInt(i), y.getInt(i)));
    return result;
  }
  if (isa<SelectOp>(e.op)) {
    for (int64_t i = 0; i < result.size(); ++i)
      copyElement(result, i, e.tensor(e.tensor(0).getInt(i) ? 1 : 2), i);
    return result;
  }
  if (isa<ConvertOp>(e.op)) {
    convert(result, e.tensor(0));
    return result;
  }
  if (isa<NotOp>(e.op)) {
    for (int64_t i = 0; i < result.size(); ++i)
      result.setInt(i, !e.tensor(0).getInt(i));
    return result;
  }
  if (FloatUnary formula = getFloatUnary(e.op)) {
    for (int64_t i = 0; i < result.size(); ++i)
      result.setFloat(i, formula(e.tensor(0).getFloat(i)));
    return result;
  }
  if (FloatBinary formula = result.isFloat() ? getFloatBinary(e.op) : nullptr) {
    for (int64_t i = 0; i < result.size(); ++i)
      result.setFloat(i, formula(e.tensor(0).getFloat(i), e.tensor(1).getFloat(i)));
    return result;
  }
  if (IntBinary formula = getIntBinary(e.op)) {
    for (int64_t i = 0; i < result.size(); ++i) {
      if (isa<DivOp>(e.op) && e.tensor(1).getInt(i) == 0)
        return e.error("divides the integer of element {0} by zero", i);
      result.setInt(i, formula(e.tensor(0).getInt(i), e.tensor(1).getInt(i)));
    }
    return result;
  }
  return e.error("is not an elementwise operation that the interpreter knows");
}
