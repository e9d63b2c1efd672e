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

OpFoldResult AddOp::fold(FoldAdaptor adaptor) {
  // x + (-0) is x for every x; x + 0 is not when x is -0.
  std::optional<APFloat> right = uniformValue(getRhs());
  if (right && right->isNegZero())
    return getLhs();
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
  std::optional<APFloat> right = uniformValue(getRhs());
  if (right && right->isExactlyValue(1.0))
    return getLhs();
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

OpFoldResult ConvertOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  std::optional<APFloat> value = splatFloat(adaptor.getInput());
  auto to = dyn_cast<FloatType>(getType().getElementType());
  if (!value || !to || !getType().hasStaticShape())
    return {};
  bool losesInfo;
  value->convert(to.getFloatSemantics(), APFloat::rmNearestTiesToEven, &losesInfo);
  return SplatElementsAttr::get(getType(), *value);
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  return getInput().getType() == getType() ? OpFoldResult(getInput()) : OpFoldResult();
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
  return {};
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  for (auto [index, dim] : llvm::enumerate(getPermutation()))
    if (static_cast<int64_t>(index) != dim)
      return {};
  return getInput();
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  return getInput().getType() == getType() ? OpFoldResult(getInput()) : OpFoldResult();
}
