//===- InferShapes.cpp - Extents from operands to results -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Importers may know the extents of arguments only. Verifiers let an extent without
// a name (`_`) be any; here it gets its name, and verification is run again.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"
#include "mlsys/Transforms/Passes.h"

#include "mlir/IR/Verifier.h"

namespace mlsys {
#define GEN_PASS_DEF_INFERSHAPES
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static bool isUnnamed(const DimExpr &dim) { return llvm::is_contained(dim.symbols(), "_"); }

/// `declared` with the extents of `found` where it has no names. They do not
/// contradict each other.
static RankedTensorType refine(RankedTensorType declared, ArrayRef<DimExpr> found) {
  SmallVector<DimExpr> dims = getDims(declared);
  bool changed = false;
  for (auto [dim, better] : llvm::zip_equal(dims, found))
    if (isUnnamed(dim) && !isUnnamed(better)) {
      dim = better;
      changed = true;
    }
  return changed ? getTensorType(dims, declared.getElementType()) : declared;
}

static LogicalResult inferBlock(Block &block);

static LogicalResult inferFusion(FusionOp fusion) {
  Block &body = fusion.getBody().front();
  for (auto [argument, input] : llvm::zip_equal(body.getArguments(), fusion.getInputs()))
    argument.setType(input.getType());
  if (failed(inferBlock(body)))
    return failure();
  for (auto [result, value] :
       llvm::zip_equal(fusion.getResults(), body.getTerminator()->getOperands()))
    result.setType(value.getType());
  return success();
}

static LogicalResult inferOp(Operation *op) {
  if (auto fusion = dyn_cast<FusionOp>(op))
    return inferFusion(fusion);
  if (op->getName().getDialectNamespace() == "graph")
    for (Value result : op->getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (!type)
        continue;
      // Traits compare whole types, so operands must agree before the operation is verified.
      if (isElementwise(op))
        for (Value operand : op->getOperands())
          if (getDims(cast<RankedTensorType>(operand.getType())) !=
              getDims(cast<RankedTensorType>(op->getOperand(0).getType())))
            return op->emitOpError("has operands ")
                   << op->getOperand(0).getType() << " and " << operand.getType()
                   << "; name the extents of both";
      result.setType(refine(type, inferResultDims(op)));
    }
  return verify(op, /*verifyRecursively=*/false);
}

static LogicalResult inferBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(inferOp(&op)))
      return failure();
  return success();
}

/// Gives the function's signature the types of what it returns.
static void inferSignature(func::FuncOp function) {
  Operation *terminator = function.getBody().front().getTerminator();
  function.setType(FunctionType::get(function.getContext(), function.getArgumentTypes(),
                                     terminator->getOperandTypes()));
}

namespace {
struct InferShapes : mlsys::impl::InferShapesBase<InferShapes> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      if (!function.getBody().hasOneBlock()) {
        function.emitOpError("has control flow; expected one block");
        return signalPassFailure();
      }
      if (failed(inferBlock(function.getBody().front())))
        return signalPassFailure();
      inferSignature(function);
    }
  }
};
} // namespace
