//===- Evaluate.h - One operation of the graph dialect ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"
#include "mlsys/Interpreter/Tensor.h"

#include "llvm/Support/FormatVariadic.h"

namespace mlsys {

/// One operation with a tensor result, and what it is evaluated on.
struct Evaluation {
  mlir::Operation *op;
  llvm::ArrayRef<InterpreterValue> operands;
  /// The type and extents of the result.
  program::DType dtype;
  llvm::SmallVector<int64_t> shape;

  const Tensor &tensor(unsigned index) const { return std::get<Tensor>(operands[index]); }
  const CacheValue &cache(unsigned index) const { return std::get<CacheValue>(operands[index]); }
  /// The result, zero so far.
  Tensor makeResult() const { return Tensor(dtype, shape); }

  /// An error at this operation.
  template <typename... Args> llvm::Error error(const char *format, Args &&...args) const {
    return llvm::createStringError(
        "'" + op->getName().getStringRef().str() + "' " +
        llvm::formatv(/*Validate=*/false, format, std::forward<Args>(args)...).str());
  }
};

/// The distance in elements of two neighbours, for each dimension.
llvm::SmallVector<int64_t> rowMajorStrides(llvm::ArrayRef<int64_t> shape);

/// Calls `visit(index, indices)` for every element of a shape in row-major order.
void forEachIndex(llvm::ArrayRef<int64_t> shape,
                  llvm::function_ref<void(int64_t, llvm::ArrayRef<int64_t>)> visit);

/// Result element i is `source(i)` of the tensor, whatever the element type.
void copyElement(Tensor &to, int64_t toIndex, const Tensor &from, int64_t fromIndex);

// One function a family; each takes the operations that its file names.
llvm::Expected<Tensor> evaluateElementwise(const Evaluation &e);
llvm::Expected<Tensor> evaluateReduce(graph::ReduceOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateConstant(graph::ConstantOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateBroadcast(graph::BroadcastOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateTranspose(graph::TransposeOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateSlice(graph::SliceOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateConcat(graph::ConcatOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateIota(graph::IotaOp op, const Evaluation &e);
/// Rows of `table` by `indices`: gather and embedding.
llvm::Expected<Tensor> evaluateRows(const Tensor &table, const Tensor &indices,
                                    const Evaluation &e);
llvm::Expected<Tensor> evaluateDot(graph::DotOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateExpertDot(graph::ExpertDotOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateLinear(const Evaluation &e);
llvm::Expected<Tensor> evaluateAttention(graph::AttentionOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluatePagedAttention(graph::PagedAttentionOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateLastToken(const Evaluation &e);
llvm::Expected<Tensor> evaluateRmsNorm(graph::RmsNormOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateLayerNorm(graph::LayerNormOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateRope(graph::RopeOp op, const Evaluation &e);
llvm::Expected<Tensor> evaluateSoftmax(graph::SoftmaxOp op, const Evaluation &e);

/// Stores the keys or values of new tokens; the result is the same layer.
llvm::Expected<CacheValue> evaluateCacheWrite(graph::CacheWriteOp op, const CacheValue &layer,
                                              const Tensor &input, const Tensor &slots);

/// The k largest elements of each row, and their places.
std::pair<Tensor, Tensor> evaluateTopK(graph::TopKOp op, const Tensor &input);

/// sum of a[i] * b[i] in double.
double dotProduct(const float *a, const float *b, int64_t count);

} // namespace mlsys
