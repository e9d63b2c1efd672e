//===- ElementMath.cpp - Elementwise operations on elements ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ElementMath.h"

#include "mlsys/CodeGen/FusionLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
/// Emits one operation; all the state is what it is called with.
struct ElementMath {
  OpBuilder &builder;
  Location loc;
  Operation *op;
  ValueRange operands;
  int64_t width;

  Type elementOf(Value value) const { return cast<RankedTensorType>(value.getType()).getElementType(); }
  Type shaped(Type element) const {
    return width == 1 ? element : Type(VectorType::get({width}, element));
  }
  Value constant(TypedAttr value) const {
    if (width == 1)
      return arith::ConstantOp::create(builder, loc, value);
    auto type = VectorType::get({width}, value.getType());
    return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, {Attribute(value)}));
  }
  Value real(Type element, double value) const {
    return constant(builder.getFloatAttr(element, value));
  }
  template <typename Op> Value make(Value lhs) const { return Op::create(builder, loc, lhs); }
  template <typename Op> Value make(Value lhs, Value rhs) const {
    return Op::create(builder, loc, lhs, rhs);
  }
  template <typename FloatOp, typename IntOp, typename BoolOp> Value arithmetic() const {
    Type element = elementOf(op->getResult(0));
    if (isa<FloatType>(element))
      return make<FloatOp>(operands[0], operands[1]);
    if (element.isInteger(1))
      return make<BoolOp>(operands[0], operands[1]);
    return make<IntOp>(operands[0], operands[1]);
  }
  Value divide() const;
  Value power() const;
  Value extreme(bool max) const;
  Value compare(CompareOp compare) const;
  Value convert(Type from, Type to) const;
  Value sigmoid() const;
  Value emit() const;
};
} // namespace

Value ElementMath::divide() const {
  Type element = elementOf(op->getResult(0));
  if (isa<FloatType>(element))
    return make<arith::DivFOp>(operands[0], operands[1]);
  if (element.isUnsignedInteger() || element.isInteger(1))
    return make<arith::DivUIOp>(operands[0], operands[1]);
  return make<arith::DivSIOp>(operands[0], operands[1]);
}

/// Powers that stand for cheaper operations are written as these.
Value ElementMath::power() const {
  Type element = elementOf(op->getResult(0));
  Value x = operands[0];
  if (!isa<FloatType>(element))
    return make<math::IPowIOp>(x, operands[1]);
  Type compute = getComputeType(element);
  if (auto splat = dyn_cast_or_null<FloatAttr>(getSplat(op->getOperand(1)))) {
    double exponent = splat.getValueAsDouble();
    if (exponent == 1)
      return x;
    if (exponent == 2)
      return make<arith::MulFOp>(x, x);
    if (exponent == 3)
      return make<arith::MulFOp>(make<arith::MulFOp>(x, x), x);
    if (exponent == -1)
      return make<arith::DivFOp>(real(compute, 1), x);
  }
  return make<math::PowFOp>(x, operands[1]);
}

Value ElementMath::extreme(bool max) const {
  Type element = elementOf(op->getResult(0));
  if (isa<FloatType>(element))
    return max ? make<arith::MaximumFOp>(operands[0], operands[1])
               : make<arith::MinimumFOp>(operands[0], operands[1]);
  if (element.isUnsignedInteger() || element.isInteger(1))
    return max ? make<arith::MaxUIOp>(operands[0], operands[1])
               : make<arith::MinUIOp>(operands[0], operands[1]);
  return max ? make<arith::MaxSIOp>(operands[0], operands[1])
             : make<arith::MinSIOp>(operands[0], operands[1]);
}

Value ElementMath::compare(CompareOp compare) const {
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  static constexpr F floats[] = {F::OEQ, F::UNE, F::OLT, F::OLE, F::OGT, F::OGE};
  static constexpr I signedOnes[] = {I::eq, I::ne, I::slt, I::sle, I::sgt, I::sge};
  static constexpr I unsignedOnes[] = {I::eq, I::ne, I::ult, I::ule, I::ugt, I::uge};
  auto predicate = static_cast<size_t>(compare.getPredicate());
  Type element = elementOf(compare.getLhs());
  if (isa<FloatType>(element))
    return arith::CmpFOp::create(builder, loc, floats[predicate], operands[0], operands[1]);
  bool isUnsigned = element.isUnsignedInteger() || element.isInteger(1);
  return arith::CmpIOp::create(builder, loc,
                               isUnsigned ? unsignedOnes[predicate] : signedOnes[predicate],
                               operands[0], operands[1]);
}

/// Between compute types: a conversion between f32 and a 16-bit float is nothing, since
/// rounding happens where a buffer is written.
Value ElementMath::convert(Type from, Type to) const {
  Value x = operands[0];
  Type source = getComputeType(from), target = getComputeType(to);
  bool fromUnsigned = from.isInteger(1);
  if (source == target)
    return x;
  Type result = shaped(target);
  if (isa<FloatType>(source)) {
    if (isa<FloatType>(target))
      return source.getIntOrFloatBitWidth() < target.getIntOrFloatBitWidth()
                 ? Value(arith::ExtFOp::create(builder, loc, result, x))
                 : Value(arith::TruncFOp::create(builder, loc, result, x));
    if (target.isInteger(1))
      return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::UNE, x, real(source, 0));
    // Narrow integers are the low bits of an i32.
    if (target.getIntOrFloatBitWidth() >= 32)
      return arith::FPToSIOp::create(builder, loc, result, x);
    Value wide = arith::FPToSIOp::create(builder, loc, shaped(builder.getI32Type()), x);
    return arith::TruncIOp::create(builder, loc, result, wide);
  }
  if (from.isUnsignedInteger()) {
    // As a number of i32, whose sign is none of the byte's.
    Type wide = builder.getI32Type();
    x = make<arith::AndIOp>(arith::ExtSIOp::create(builder, loc, shaped(wide), x),
                            constant(builder.getIntegerAttr(wide, 0xff)));
    source = wide;
    if (source == target)
      return x;
  }
  if (isa<FloatType>(target))
    return fromUnsigned ? Value(arith::UIToFPOp::create(builder, loc, result, x))
                        : Value(arith::SIToFPOp::create(builder, loc, result, x));
  if (target.isInteger(1))
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, x,
                                 constant(builder.getIntegerAttr(source, 0)));
  if (source.getIntOrFloatBitWidth() > target.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(builder, loc, result, x);
  return fromUnsigned ? Value(arith::ExtUIOp::create(builder, loc, result, x))
                      : Value(arith::ExtSIOp::create(builder, loc, result, x));
}

/// 1 / (1 + exp(-x)).
Value ElementMath::sigmoid() const {
  Value one = real(getElementTypeOrSelf(operands[0].getType()), 1);
  Value exponential = make<math::ExpOp>(make<arith::NegFOp>(operands[0]));
  return make<arith::DivFOp>(one, make<arith::AddFOp>(one, exponential));
}

Value ElementMath::emit() const {
  return TypeSwitch<Operation *, Value>(op)
      .Case<NegOp>([&](auto) { return make<arith::NegFOp>(operands[0]); })
      .Case<AbsOp>([&](auto) { return make<math::AbsFOp>(operands[0]); })
      .Case<ExpOp>([&](auto) { return make<math::ExpOp>(operands[0]); })
      .Case<LogOp>([&](auto) { return make<math::LogOp>(operands[0]); })
      .Case<SqrtOp>([&](auto) { return make<math::SqrtOp>(operands[0]); })
      .Case<RsqrtOp>([&](auto) { return make<math::RsqrtOp>(operands[0]); })
      .Case<TanhOp>([&](auto) { return make<math::TanhOp>(operands[0]); })
      .Case<ErfOp>([&](auto) { return make<math::ErfOp>(operands[0]); })
      .Case<SinOp>([&](auto) { return make<math::SinOp>(operands[0]); })
      .Case<CosOp>([&](auto) { return make<math::CosOp>(operands[0]); })
      .Case<FloorOp>([&](auto) { return make<math::FloorOp>(operands[0]); })
      .Case<CeilOp>([&](auto) { return make<math::CeilOp>(operands[0]); })
      .Case<RoundOp>([&](auto) { return make<math::RoundEvenOp>(operands[0]); })
      .Case<SigmoidOp>([&](auto) { return sigmoid(); })
      .Case<SiluOp>([&](auto) { return make<arith::MulFOp>(operands[0], sigmoid()); })
      .Case<AddOp>([&](auto) { return arithmetic<arith::AddFOp, arith::AddIOp, arith::OrIOp>(); })
      .Case<SubOp>([&](auto) { return arithmetic<arith::SubFOp, arith::SubIOp, arith::XOrIOp>(); })
      .Case<MulOp>([&](auto) { return arithmetic<arith::MulFOp, arith::MulIOp, arith::AndIOp>(); })
      .Case<DivOp>([&](auto) { return divide(); })
      .Case<MaxOp>([&](auto) { return extreme(true); })
      .Case<MinOp>([&](auto) { return extreme(false); })
      .Case<PowOp>([&](auto) { return power(); })
      .Case<AndOp>([&](auto) { return make<arith::AndIOp>(operands[0], operands[1]); })
      .Case<OrOp>([&](auto) { return make<arith::OrIOp>(operands[0], operands[1]); })
      .Case<NotOp>([&](auto) {
        return make<arith::XOrIOp>(operands[0], constant(builder.getBoolAttr(true)));
      })
      .Case<CompareOp>([&](CompareOp compare) { return this->compare(compare); })
      .Case<SelectOp>([&](auto) -> Value {
        return arith::SelectOp::create(builder, loc, operands[0], operands[1], operands[2]);
      })
      .Case<ConvertOp>([&](ConvertOp convert) {
        return this->convert(elementOf(convert.getInput()), elementOf(convert.getResult()));
      })
      .Default([](Operation *) { return Value(); });
}

Value mlsys::emitElementwise(OpBuilder &builder, Location loc, Operation *op, ValueRange operands,
                             int64_t width) {
  return ElementMath{builder, loc, op, operands, width}.emit();
}

Attribute mlsys::getSplat(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto constant = dyn_cast<ConstantOp>(op)) {
      auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
      return elements && elements.isSplat() ? elements.getSplatValue<Attribute>() : Attribute();
    }
    if (!isa<BroadcastOp, ReshapeOp, TransposeOp, SliceOp>(op))
      break;
    value = op->getOperand(0);
  }
  return {};
}

Value mlsys::emitCombine(OpBuilder &builder, Location loc, ReduceKind kind, Value lhs, Value rhs) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(lhs.getType()));
  switch (kind) {
  case ReduceKind::sum:
    return isFloat ? Value(arith::AddFOp::create(builder, loc, lhs, rhs))
                   : Value(arith::AddIOp::create(builder, loc, lhs, rhs));
  case ReduceKind::max:
    return isFloat ? Value(arith::MaximumFOp::create(builder, loc, lhs, rhs))
                   : Value(arith::MaxSIOp::create(builder, loc, lhs, rhs));
  case ReduceKind::min:
    return isFloat ? Value(arith::MinimumFOp::create(builder, loc, lhs, rhs))
                   : Value(arith::MinSIOp::create(builder, loc, lhs, rhs));
  case ReduceKind::prod:
    return isFloat ? Value(arith::MulFOp::create(builder, loc, lhs, rhs))
                   : Value(arith::MulIOp::create(builder, loc, lhs, rhs));
  }
  llvm_unreachable("unknown reduction");
}

TypedAttr mlsys::getNeutral(OpBuilder &builder, ReduceKind kind, Type type) {
  if (auto real = dyn_cast<FloatType>(type)) {
    const llvm::fltSemantics &semantics = real.getFloatSemantics();
    switch (kind) {
    case ReduceKind::sum:
      return builder.getFloatAttr(type, 0.0);
    case ReduceKind::prod:
      return builder.getFloatAttr(type, 1.0);
    case ReduceKind::max:
      return builder.getFloatAttr(type, APFloat::getInf(semantics, /*Negative=*/true));
    case ReduceKind::min:
      return builder.getFloatAttr(type, APFloat::getInf(semantics));
    }
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  switch (kind) {
  case ReduceKind::sum:
    return builder.getIntegerAttr(type, 0);
  case ReduceKind::prod:
    return builder.getIntegerAttr(type, 1);
  case ReduceKind::max:
    return builder.getIntegerAttr(type, APInt::getSignedMinValue(bits));
  case ReduceKind::min:
    return builder.getIntegerAttr(type, APInt::getSignedMaxValue(bits));
  }
  llvm_unreachable("unknown reduction");
}
