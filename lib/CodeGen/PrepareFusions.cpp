//===- PrepareFusions.cpp - Fusions as kernels want them ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "PrepareFusions.h"

#include "mlsys/IR/FusionAnalysis.h"

#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Splat constants go into the fusion, constants with different elements come out;
/// an input that is given twice becomes one.
static void normalizeInputs(FusionOp fusion) {
  Block &body = fusion.getBody().front();
  OpBuilder builder(fusion);
  for (auto constant : llvm::make_early_inc_range(body.getOps<ConstantOp>())) {
    auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (elements && elements.isSplat())
      continue;
    builder.setInsertionPoint(fusion);
    Value outside = builder.clone(*constant)->getResult(0);
    fusion.getInputsMutable().append(outside);
    constant.getResult().replaceAllUsesWith(
        body.addArgument(constant.getType(), constant.getLoc()));
    constant.erase();
  }
  llvm::DenseMap<Value, unsigned> first;
  for (unsigned index = 0; index < fusion.getInputs().size();) {
    Value input = fusion.getInputs()[index];
    BlockArgument argument = body.getArgument(index);
    auto constant = input.getDefiningOp<ConstantOp>();
    auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
    auto [entry, isNew] = first.try_emplace(input, index);
    if (elements && elements.isSplat()) {
      builder.setInsertionPointToStart(&body);
      argument.replaceAllUsesWith(builder.clone(*constant)->getResult(0));
      first.erase(input);
    } else if (!isNew) {
      argument.replaceAllUsesWith(body.getArgument(entry->second));
    } else {
      ++index;
      continue;
    }
    body.eraseArgument(index);
    fusion.getInputsMutable().erase(index);
  }
}

/// Operations of the body stand right before their first use, inputs in the order of their uses: so fusions that compute
/// the same have equal bodies, whatever the order in which their operations were found.
static void sortBody(FusionOp fusion) {
  Block &body = fusion.getBody().front();
  Operation *yield = body.getTerminator();
  SetVector<Operation *> placed;
  SetVector<unsigned> inputs;
  // An operation and the next of its operands to visit.
  SmallVector<std::pair<Operation *, unsigned>> path{{yield, 0}};
  while (!path.empty()) {
    auto &[op, next] = path.back();
    if (next == op->getNumOperands()) {
      placed.insert(op);
      path.pop_back();
      continue;
    }
    Value operand = op->getOperand(next++);
    if (auto argument = dyn_cast<BlockArgument>(operand))
      inputs.insert(argument.getArgNumber());
    else if (Operation *source = operand.getDefiningOp(); !placed.contains(source))
      path.push_back({source, 0});
  }
  // A body with an operation that nothing uses is an error for its kind to report.
  if (placed.size() != body.getOperations().size())
    return;
  for (Operation *op : placed)
    if (op != yield)
      op->moveBefore(yield);
  unsigned count = body.getNumArguments();
  for (unsigned index = 0; index < count; ++index)
    inputs.insert(index);
  if (llvm::is_sorted(inputs.getArrayRef()))
    return;
  SmallVector<Value> sources;
  for (unsigned old : inputs) {
    BlockArgument argument = body.getArgument(old);
    sources.push_back(fusion.getInputs()[old]);
    argument.replaceAllUsesWith(body.addArgument(argument.getType(), argument.getLoc()));
  }
  body.eraseArguments(0, count);
  fusion.getInputsMutable().assign(sources);
}

/// A fusion that copies a tensor.
static Value emitCopy(OpBuilder &builder, Location loc, Value value) {
  auto copy = FusionOp::create(builder, loc, TypeRange(value.getType()), "loop", value);
  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(&copy.getBody());
  YieldOp::create(builder, loc, ValueRange(body->addArgument(value.getType(), loc)));
  return copy.getResult(0);
}

/// Makes every result of the function the tensor of its own fusion.
static void separateResults(func::FuncOp function) {
  auto ret = cast<func::ReturnOp>(function.getBody().front().getTerminator());
  llvm::DenseSet<Value> seen;
  OpBuilder builder(ret);
  for (OpOperand &operand : ret->getOpOperands()) {
    Value value = operand.get();
    if (!isa<RankedTensorType>(value.getType()))
      continue;
    Value source = behindReshapes(value);
    if (!source.getDefiningOp<FusionOp>() || !seen.insert(source).second)
      operand.set(emitCopy(builder, ret.getLoc(), value));
  }
}

void mlsys::prepareFusions(func::FuncOp function) {
  for (auto fusion : function.getOps<FusionOp>()) {
    normalizeInputs(fusion);
    sortBody(fusion);
  }
  separateResults(function);
}
