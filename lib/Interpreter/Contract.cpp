//===- Contract.cpp - Matrix products, evaluated --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// sum of x[xStart + k] * y[yStart + k] of integers.
static int64_t contractIntegers(const Tensor &x, int64_t xStart, const Tensor &y, int64_t yStart,
                                int64_t count) {
  int64_t sum = 0;
  for (int64_t k = 0; k < count; ++k)
    sum += x.getInt(xStart + k) * y.getInt(yStart + k);
  return sum;
}

/// sum of x[xStart + k] * y[yStart + k], in double.
static double contract(const Tensor &x, int64_t xStart, const Tensor &y, int64_t yStart,
                       int64_t count) {
  if (x.dtype() != program::DType::F64 && y.dtype() != program::DType::F64)
    return dotProduct(x.floats() + xStart, y.floats() + yStart, count);
  double sum = 0;
  for (int64_t k = 0; k < count; ++k)
    sum += x.getFloat(xStart + k) * y.getFloat(yStart + k);
  return sum;
}

/// An operand of a dot with its dimensions in the order [batch, free, contracted],
/// each group flattened to one extent.
namespace {
struct Operand {
  Tensor tensor;
  int64_t batch = 1, rows = 1, contracted = 1;
};
} // namespace

static Operand arrange(const Tensor &tensor, ArrayRef<int64_t> batch, ArrayRef<int64_t> contracted) {
  Operand result;
  SmallVector<int64_t> order(batch);
  for (int64_t dim = 0; dim < tensor.rank(); ++dim) {
    if (llvm::is_contained(batch, dim) || llvm::is_contained(contracted, dim))
      continue;
    order.push_back(dim);
    result.rows *= tensor.dim(dim);
  }
  order.append(contracted.begin(), contracted.end());
  for (int64_t dim : batch)
    result.batch *= tensor.dim(dim);
  for (int64_t dim : contracted)
    result.contracted *= tensor.dim(dim);
  if (llvm::is_sorted(order)) {
    result.tensor = tensor;
    return result;
  }
  SmallVector<int64_t> strides = rowMajorStrides(tensor.shape()), shape;
  for (int64_t dim : order)
    shape.push_back(tensor.dim(dim));
  result.tensor = Tensor(tensor.dtype(), shape);
  forEachIndex(shape, [&](int64_t element, ArrayRef<int64_t> indices) {
    int64_t source = 0;
    for (auto [index, dim] : llvm::zip_equal(indices, order))
      source += index * strides[dim];
    copyElement(result.tensor, element, tensor, source);
  });
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateDot(DotOp op, const Evaluation &e) {
  Operand lhs = arrange(e.tensor(0), op.getLhsBatch(), op.getLhsContract());
  Operand rhs = arrange(e.tensor(1), op.getRhsBatch(), op.getRhsContract());
  int64_t depth = lhs.contracted;
  Tensor result = e.makeResult();
  for (int64_t batch = 0, out = 0; batch < lhs.batch; ++batch)
    for (int64_t row = 0; row < lhs.rows; ++row)
      for (int64_t column = 0; column < rhs.rows; ++column, ++out) {
        int64_t left = (batch * lhs.rows + row) * depth, right = (batch * rhs.rows + column) * depth;
        if (result.isFloat())
          result.setFloat(out, contract(lhs.tensor, left, rhs.tensor, right, depth));
        else
          result.setInt(out, contractIntegers(lhs.tensor, left, rhs.tensor, right, depth));
      }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateExpertDot(ExpertDotOp op, const Evaluation &e) {
  const Tensor &lhs = e.tensor(0), &rhs = e.tensor(1), &experts = e.tensor(2);
  int64_t columns = rhs.dim(1), depth = rhs.dim(2);
  int64_t rowsPerLeft = op.hasRowPerExpert() ? 1 : experts.dim(experts.rank() - 1);
  Tensor result = e.makeResult();
  for (int64_t row = 0; row < experts.size(); ++row) {
    int64_t expert = experts.getInt(row);
    if (expert < 0 || expert >= rhs.dim(0))
      return e.error("chooses expert {0} of {1}", expert, rhs.dim(0));
    for (int64_t column = 0; column < columns; ++column)
      result.setFloat(row * columns + column,
                      contract(lhs, row / rowsPerLeft * depth, rhs,
                               (expert * columns + column) * depth, depth));
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateLinear(const Evaluation &e) {
  const Tensor &input = e.tensor(0), &weight = e.tensor(1);
  int64_t columns = weight.dim(0), depth = weight.dim(1);
  int64_t rows = columns ? countElements(e.shape) / columns : 0;
  Tensor result = e.makeResult();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double value = contract(input, row * depth, weight, column * depth, depth);
      if (e.operands.size() > 2)
        value += e.tensor(2).getFloat(column);
      result.setFloat(row * columns + column, value);
    }
  return result;
}
