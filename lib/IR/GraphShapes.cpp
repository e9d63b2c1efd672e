//===- GraphShapes.cpp - Extents of results -------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// One rule for each family of operations; verifiers and -mlsys-infer-shapes share them.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys::graph;

static SmallVector<DimExpr> dimsOf(Value value) {
  return getDims(cast<RankedTensorType>(value.getType()));
}

static bool isUnnamed(const DimExpr &dim) { return llvm::is_contained(dim.symbols(), "_"); }

/// Batch dimensions, then the free ones of the left side, then those of the right.
static SmallVector<DimExpr> inferDot(DotOp op) {
  SmallVector<DimExpr> lhs = dimsOf(op.getLhs()), rhs = dimsOf(op.getRhs()), result;
  for (int64_t dim : op.getLhsBatch())
    result.push_back(lhs[dim]);
  auto addFree = [&](ArrayRef<DimExpr> dims, ArrayRef<int64_t> batch, ArrayRef<int64_t> contract) {
    for (auto [index, dim] : llvm::enumerate(dims))
      if (!llvm::is_contained(batch, static_cast<int64_t>(index)) &&
          !llvm::is_contained(contract, static_cast<int64_t>(index)))
        result.push_back(dim);
  };
  addFree(lhs, op.getLhsBatch(), op.getLhsContract());
  addFree(rhs, op.getRhsBatch(), op.getRhsContract());
  return result;
}

/// The number of elements gives one unknown extent.
static SmallVector<DimExpr> inferReshape(ReshapeOp op) {
  SmallVector<DimExpr> result = dimsOf(op.getResult());
  DimExpr known = DimExpr::constant(1), total = DimExpr::constant(1);
  for (const DimExpr &dim : result)
    if (!isUnnamed(dim))
      known = known * dim;
  for (const DimExpr &dim : dimsOf(op.getInput()))
    total = total * dim;
  if (llvm::count_if(result, isUnnamed) != 1 || isUnnamed(total) || known.asConstant() == 0)
    return result;
  if (std::optional<DimExpr> unknown = total.divideBy(known))
    *llvm::find_if(result, isUnnamed) = *unknown;
  return result;
}

static SmallVector<DimExpr> inferConcat(ConcatOp op) {
  SmallVector<DimExpr> result = dimsOf(op.getInputs().front());
  for (Value input : op.getInputs().drop_front())
    for (auto [index, dim] : llvm::enumerate(dimsOf(input))) {
      if (index == op.getDim())
        result[index] = result[index] + dim;
      else if (isUnnamed(result[index]))
        result[index] = dim;
    }
  return result;
}

SmallVector<DimExpr> mlsys::graph::inferResultDims(Operation *op) {
  return TypeSwitch<Operation *, SmallVector<DimExpr>>(op)
      .Case([](ReduceOp reduce) {
        SmallVector<DimExpr> result;
        for (auto [index, dim] : llvm::enumerate(dimsOf(reduce.getInput())))
          if (!llvm::is_contained(reduce.getDims(), static_cast<int64_t>(index)))
            result.push_back(dim);
        return result;
      })
      .Case([](BroadcastOp broadcast) {
        SmallVector<DimExpr> result = dimsOf(broadcast.getResult());
        for (auto [dim, extent] : llvm::zip_equal(broadcast.getDims(), dimsOf(broadcast.getInput())))
          if (isUnnamed(result[dim]) && extent != DimExpr::constant(1))
            result[dim] = extent;
        return result;
      })
      .Case([](ReshapeOp reshape) { return inferReshape(reshape); })
      .Case([](TransposeOp transpose) {
        SmallVector<DimExpr> input = dimsOf(transpose.getInput()), result;
        for (int64_t dim : transpose.getPermutation())
          result.push_back(input[dim]);
        return result;
      })
      .Case([](SliceOp slice) {
        // A dynamic dimension is taken whole.
        SmallVector<DimExpr> result = dimsOf(slice.getResult());
        for (auto [dim, extent] : llvm::zip_equal(result, dimsOf(slice.getInput())))
          if (!dim.asConstant())
            dim = extent;
        return result;
      })
      .Case([](ConcatOp concat) { return inferConcat(concat); })
      .Case([](GatherOp gather) {
        SmallVector<DimExpr> table = dimsOf(gather.getTable()), result = dimsOf(gather.getIndices());
        result.append(table.begin() + 1, table.end());
        return result;
      })
      .Case([](EmbeddingOp embedding) {
        SmallVector<DimExpr> result = dimsOf(embedding.getIds());
        result.push_back(dimsOf(embedding.getTable()).back());
        return result;
      })
      .Case([](DotOp dot) { return inferDot(dot); })
      .Case([](ExpertDotOp dot) {
        SmallVector<DimExpr> result = dimsOf(dot.getExperts());
        result.push_back(dimsOf(dot.getRhs())[1]);
        return result;
      })
      .Case([](TopKOp topK) {
        SmallVector<DimExpr> result = dimsOf(topK.getInput());
        result.back() = DimExpr::constant(topK.getK());
        return result;
      })
      .Case([](LinearOp linear) {
        SmallVector<DimExpr> result = dimsOf(linear.getInput());
        result.back() = dimsOf(linear.getWeight()).front();
        return result;
      })
      .Case([](LastTokenOp last) {
        SmallVector<DimExpr> result = dimsOf(last.getInput());
        result.front() = dimsOf(last.getQueryStart()).front() - DimExpr::constant(1);
        return result;
      })
      .Case<ConstantOp, WeightOp, IotaOp>([](Operation *leaf) { return dimsOf(leaf->getResult(0)); })
      // Elementwise operations, attention, and norms: the shape of the first operand.
      .Default([](Operation *other) { return dimsOf(other->getOperand(0)); });
}
