//===- IndexMath.cpp - Arithmetic on indices ------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/IndexMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlsys;

Value IndexMath::constant(int64_t value) {
  Block *entry = builder.getInsertionBlock();
  while (Operation *parent = entry->getParentOp()) {
    if (parent->hasTrait<OpTrait::IsIsolatedFromAbove>() || !parent->getBlock())
      break;
    entry = parent->getBlock();
  }
  Value &known = constants[{entry, value}];
  if (!known) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(entry);
    known = arith::ConstantIndexOp::create(builder, loc, value);
  }
  return known;
}

Value IndexMath::emit(Kind kind, Value lhs, Value rhs) {
  Key key{kind, lhs.getAsOpaquePointer(), rhs.getAsOpaquePointer()};
  if (Value known = cache.lookup(builder, key))
    return known;
  Value result;
  switch (kind) {
  case Kind::Add:
    result = arith::AddIOp::create(builder, loc, lhs, rhs, arith::IntegerOverflowFlags::nsw);
    break;
  case Kind::Sub:
    result = arith::SubIOp::create(builder, loc, lhs, rhs, arith::IntegerOverflowFlags::nsw);
    break;
  case Kind::Mul:
    result = arith::MulIOp::create(builder, loc, lhs, rhs, arith::IntegerOverflowFlags::nsw);
    break;
  case Kind::Div:
    result = arith::DivUIOp::create(builder, loc, lhs, rhs);
    break;
  case Kind::Mod:
    result = arith::RemUIOp::create(builder, loc, lhs, rhs);
    break;
  case Kind::Min:
    result = arith::MinUIOp::create(builder, loc, lhs, rhs);
    break;
  case Kind::Less:
    result = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, lhs, rhs);
    break;
  case Kind::Constant:
    llvm_unreachable("constants are made by constant()");
  }
  cache.insert(builder, key, result);
  return result;
}

Value IndexMath::add(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (a && b)
    return constant(*a + *b);
  if (a)
    std::swap(lhs, rhs), std::swap(a, b);
  if (b == 0)
    return lhs;
  return emit(Kind::Add, lhs, rhs);
}

Value IndexMath::sub(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (a && b)
    return constant(*a - *b);
  if (lhs == rhs)
    return constant(0);
  return b == 0 ? lhs : emit(Kind::Sub, lhs, rhs);
}

Value IndexMath::mul(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (a && b)
    return constant(*a * *b);
  if (a)
    std::swap(lhs, rhs), std::swap(a, b);
  if (b == 0)
    return constant(0);
  return b == 1 ? lhs : emit(Kind::Mul, lhs, rhs);
}

Value IndexMath::div(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (b == 1)
    return lhs;
  if (a && b && *b > 0)
    return constant(*a / *b);
  if (a == 0)
    return lhs;
  if (auto found = joined.find(lhs); found != joined.end()) {
    Parts parts = found->second;
    if (parts.extent == rhs)
      return parts.high;
    std::optional<int64_t> extent = getConstantIntValue(parts.extent);
    if (extent && b && *b > 0 && *b % *extent == 0)
      return div(parts.high, *b / *extent);
    if (extent && b && *b > 0 && *extent % *b == 0)
      return join(parts.high, constant(*extent / *b), div(parts.low, rhs));
  }
  return emit(Kind::Div, lhs, rhs);
}

Value IndexMath::mod(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (b == 1)
    return constant(0);
  if (a && b && *b > 0)
    return constant(*a % *b);
  if (a == 0)
    return lhs;
  if (auto found = joined.find(lhs); found != joined.end()) {
    Parts parts = found->second;
    if (parts.extent == rhs)
      return parts.low;
    std::optional<int64_t> extent = getConstantIntValue(parts.extent);
    if (extent && b && *b > 0 && *b % *extent == 0)
      return join(mod(parts.high, *b / *extent), parts.extent, parts.low);
    if (extent && b && *b > 0 && *extent % *b == 0)
      return mod(parts.low, rhs);
  }
  return emit(Kind::Mod, lhs, rhs);
}

Value IndexMath::min(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (a && b)
    return constant(std::min(*a, *b));
  return lhs == rhs ? lhs : emit(Kind::Min, lhs, rhs);
}

Value IndexMath::join(Value high, Value extent, Value low) {
  // A number that was taken apart is put together again.
  auto quotient = high.getDefiningOp<arith::DivUIOp>();
  auto remainder = low.getDefiningOp<arith::RemUIOp>();
  if (quotient && remainder && quotient.getLhs() == remainder.getLhs() &&
      quotient.getRhs() == extent && remainder.getRhs() == extent)
    return quotient.getLhs();
  Value result = add(mul(high, extent), low);
  if (!getConstantIntValue(result) && result != high && result != low)
    joined[result] = {high, extent, low};
  return result;
}

Value IndexMath::less(Value lhs, Value rhs) {
  std::optional<int64_t> a = getConstantIntValue(lhs), b = getConstantIntValue(rhs);
  if (b == 0 || (a && b) || lhs == rhs) {
    bool known = b != 0 && lhs != rhs && *a < *b;
    OpBuilder::InsertionGuard guard(builder);
    return arith::ConstantIntOp::create(builder, loc, known, 1);
  }
  return emit(Kind::Less, lhs, rhs);
}
