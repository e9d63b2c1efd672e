//===- FusionCost.cpp - The time that fusing saves ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FusionCost.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

FusionMachine FusionMachine::get(StringRef target) {
  FusionMachine machine;
  if (target == "cuda") {
    machine.bandwidth = 3.35e12;
    machine.flops = 6.7e13;
    machine.launch = 3e-6;
    machine.workers = 132;
  }
  return machine;
}

double FusionCost::evaluate(const DimExpr &dim) const {
  return static_cast<double>(evaluateAtHints(dim, function));
}

double FusionCost::elements(Type type) const {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return 0;
  auto [known, isNew] = counts.try_emplace(type, 0);
  if (!isNew)
    return known->second;
  double count = 1;
  for (const DimExpr &dim : getDims(tensor))
    count *= evaluate(dim);
  return known->second = count;
}

double FusionCost::bytes(Value value) const {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return tensor ? elements(tensor) * getElementBits(tensor.getElementType()) / 8 : 0;
}

double FusionCost::operations(Operation *op) const {
  // Counts of vector instructions in the polynomials that code generation emits.
  if (isa<ExpOp, LogOp, TanhOp, SigmoidOp, ErfOp, SinOp, CosOp, PowOp>(op))
    return 20 * elements(op->getResult(0).getType());
  if (isa<DivOp, SqrtOp, RsqrtOp>(op))
    return 5 * elements(op->getResult(0).getType());
  if (isa<ReduceOp>(op))
    return elements(op->getOperand(0).getType());
  if (isElementwise(op))
    return elements(op->getResult(0).getType());
  return 0;
}

double FusionCost::prologueTime(ArrayRef<Operation *> prologue, double rows,
                                double columns) const {
  double once = 0;
  for (Operation *op : prologue)
    once += operations(op);
  double copies =
      rows <= maxGemvRows ? machine.workers : std::ceil(columns / machine.tileColumns);
  return once * std::max(0.0, copies - 1) / machine.flops;
}
