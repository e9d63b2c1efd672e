//===- GraphFolds.cpp - Folds of the graph dialect ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Folds never evaluate large constants: only splats and identities.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlsys::graph;

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

/// The scalar that every element of a float constant has.
static std::optional<APFloat> splatFloat(Attribute attribute) {
  auto elements = dyn_cast_or_null<SplatElementsAttr>(attribute);
  if (!elements || !isa<FloatType>(elements.getElementType()))
    return std::nullopt;
  return elements.getSplatValue<APFloat>();
}

/// Evaluates a float operation on two splats of the same type.
static OpFoldResult foldSplats(Attribute lhs, Attribute rhs,
                               function_ref<APFloat(const APFloat &, const APFloat &)> evaluate) {
  std::optional<APFloat> left = splatFloat(lhs), right = splatFloat(rhs);
  if (!left || !right)
    return {};
  return SplatElementsAttr::get(cast<ShapedType>(cast<ElementsAttr>(lhs).getType()),
                                evaluate(*left, *right));
}

/// The value that `operand` has everywhere, seen through broadcasts.
static std::optional<APFloat> uniformValue(Value operand) {
  while (auto broadcast = operand.getDefiningOp<BroadcastOp>())
    operand = broadcast.getInput();
  Attribute attribute;
  if (!matchPattern(operand, m_Constant(&attribute)))
    return std::nullopt;
  return splatFloat(attribute);
}

OpFoldResult NegOp::fold(FoldAdaptor adaptor) {
  if (auto inner = getInput().getDefiningOp<NegOp>())
    return inner.getInput();
  return {};
}

/// The other operand of a commutative operation, when one is `neutral` everywhere.
static Value otherThan(Operation *op, function_ref<bool(const APFloat &)> neutral) {
  for (unsigned index : {0u, 1u})
    if (std::optional<APFloat> value = uniformValue(op->getOperand(index)))
      if (neutral(*value))
        return op->getOperand(1 - index);
  return {};
}

OpFoldResult AddOp::fold(FoldAdaptor adaptor) {
  // x + (-0) is x for every x; x + 0 is not when x is -0.
  if (Value other = otherThan(*this, [](const APFloat &value) { return value.isNegZero(); }))
    return other;
  return foldSplats(adaptor.getLhs(), adaptor.getRhs(),
                    [](const APFloat &a, const APFloat &b) { return a + b; });
}

OpFoldResult SubOp::fold(FoldAdaptor adaptor) {
  std::optional<APFloat> right = uniformValue(getRhs());
  if (right && right->isPosZero())
    return getLhs();
  return foldSplats(adaptor.getLhs(), adaptor.getRhs(),
                    [](const APFloat &a, const APFloat &b) { return a - b; });
}

OpFoldResult MulOp::fold(FoldAdaptor adaptor) {
  if (Value other = otherThan(*this, [](const APFloat &v) { return v.isExactlyValue(1.0); }))
    return other;
  return foldSplats(adaptor.getLhs(), adaptor.getRhs(),
                    [](const APFloat &a, const APFloat &b) { return a * b; });
}

OpFoldResult DivOp::fold(FoldAdaptor adaptor) {
  std::optional<APFloat> right = uniformValue(getRhs());
  if (right && right->isExactlyValue(1.0))
    return getLhs();
  return foldSplats(adaptor.getLhs(), adaptor.getRhs(),
                    [](const APFloat &a, const APFloat &b) { return a / b; });
}

/// True when every value of `from` is one of `to`.
static bool isExactIn(FloatType from, FloatType to) {
  const llvm::fltSemantics &narrow = from.getFloatSemantics(), &wide = to.getFloatSemantics();
  return APFloat::semanticsPrecision(narrow) <= APFloat::semanticsPrecision(wide) &&
         APFloat::semanticsMaxExponent(narrow) <= APFloat::semanticsMaxExponent(wide) &&
         APFloat::semanticsMinExponent(narrow) >= APFloat::semanticsMinExponent(wide);
}

OpFoldResult ConvertOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  auto to = dyn_cast<FloatType>(getType().getElementType());
  // A conversion to a wider type first loses nothing; one to a narrower type does.
  if (auto inner = getInput().getDefiningOp<ConvertOp>(); inner && to) {
    auto from = dyn_cast<FloatType>(inner.getInput().getType().getElementType());
    auto middle = dyn_cast<FloatType>(inner.getType().getElementType());
    if (from && middle && isExactIn(from, middle)) {
      if (inner.getInput().getType() == getType())
        return inner.getInput();
      getInputMutable().assign(inner.getInput());
      return getResult();
    }
  }
  std::optional<APFloat> value = splatFloat(adaptor.getInput());
  if (!value || !to || !getType().hasStaticShape())
    return {};
  bool losesInfo;
  value->convert(to.getFloatSemantics(), APFloat::rmNearestTiesToEven, &losesInfo);
  return SplatElementsAttr::get(getType(), *value);
}

OpFoldResult ReduceOp::fold(FoldAdaptor) {
  return getDims().empty() ? OpFoldResult(getInput()) : OpFoldResult();
}

OpFoldResult BroadcastOp::fold(FoldAdaptor) {
  if (getInput().getType() == getType())
    return getInput();
  auto inner = getInput().getDefiningOp<BroadcastOp>();
  if (!inner)
    return {};
  SmallVector<int64_t> dims;
  for (int64_t dim : inner.getDims())
    dims.push_back(getDims()[dim]);
  setDims(dims);
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (auto inner = getInput().getDefiningOp<ReshapeOp>()) {
    if (inner.getInput().getType() == getType())
      return inner.getInput();
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  auto elements = dyn_cast_or_null<DenseElementsAttr>(adaptor.getInput());
  if (elements && getType().hasStaticShape())
    return elements.reshape(getType());
  return {};
}

OpFoldResult TransposeOp::fold(FoldAdaptor) {
  if (llvm::equal(getPermutation(), llvm::seq<int64_t>(0, getPermutation().size())))
    return getInput();
  auto inner = getInput().getDefiningOp<TransposeOp>();
  if (!inner)
    return {};
  SmallVector<int64_t> permutation;
  for (int64_t dim : getPermutation())
    permutation.push_back(inner.getPermutation()[dim]);
  setPermutation(permutation);
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult SliceOp::fold(FoldAdaptor) {
  if (getInput().getType() == getType())
    return getInput();
  auto inner = getInput().getDefiningOp<SliceOp>();
  if (!inner)
    return {};
  SmallVector<int64_t> offsets(getOffsets());
  for (auto [offset, more] : llvm::zip_equal(offsets, inner.getOffsets()))
    offset += more;
  setOffsets(offsets);
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  return getInputs().size() == 1 ? OpFoldResult(getInputs().front()) : OpFoldResult();
}
