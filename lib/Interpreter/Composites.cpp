//===- Composites.cpp - Composite operations, evaluated -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Each from its formula: -mlsys-decompose is compared with this.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"
#include "mlsys/IR/ProgramTypes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

llvm::Expected<Tensor> mlsys::evaluateRmsNorm(RmsNormOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0), &scale = e.tensor(1);
  Tensor result = e.makeResult();
  int64_t width = scale.size();
  double epsilon = op.getEpsilon().convertToFloat();
  for (int64_t start = 0; start < input.size(); start += width) {
    double squares = 0;
    for (int64_t i = start; i < start + width; ++i)
      squares += input.getFloat(i) * input.getFloat(i);
    double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (int64_t i = 0; i < width; ++i)
      result.setFloat(start + i, input.getFloat(start + i) * factor * scale.getFloat(i));
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateLayerNorm(LayerNormOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0);
  const Tensor *scale = op.getScale() ? &e.tensor(1) : nullptr;
  const Tensor *bias = op.getBias() ? &e.tensor(op.getScale() ? 2 : 1) : nullptr;
  Tensor result = e.makeResult();
  int64_t width = input.dim(input.rank() - 1);
  double epsilon = op.getEpsilon().convertToFloat(), count = static_cast<double>(width);
  for (int64_t start = 0; start < input.size(); start += width) {
    double sum = 0, squares = 0;
    for (int64_t i = start; i < start + width; ++i)
      sum += input.getFloat(i);
    double mean = sum / count;
    for (int64_t i = start; i < start + width; ++i)
      squares += (input.getFloat(i) - mean) * (input.getFloat(i) - mean);
    double factor = 1.0 / std::sqrt(squares / count + epsilon);
    for (int64_t i = 0; i < width; ++i)
      result.setFloat(start + i, (input.getFloat(start + i) - mean) * factor *
                                         (scale ? scale->getFloat(i) : 1) +
                                     (bias ? bias->getFloat(i) : 0));
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateRope(RopeOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0), &positions = e.tensor(1), &frequencies = e.tensor(2);
  Tensor result = e.makeResult();
  int64_t width = input.dim(input.rank() - 1), heads = input.dim(input.rank() - 2);
  int64_t half = frequencies.dim(frequencies.rank() - 1);
  int64_t tokens = width * heads ? input.size() / (width * heads) : 0;
  double factor = op.getFactor() ? op.getFactor()->convertToFloat() : 1;
  for (int64_t token = 0; token < tokens; ++token) {
    int64_t row = token % positions.size();
    double position = static_cast<double>(positions.getInt(row));
    int64_t first = frequencies.rank() > 1 ? row * half : 0;
    for (int64_t head = 0; head < heads; ++head) {
      int64_t start = (token * heads + head) * width;
      for (int64_t j = 2 * half; j < width; ++j)
        result.setFloat(start + j, input.getFloat(start + j));
      for (int64_t j = 0; j < half; ++j) {
        // The angle in f32, as every implementation has it: its rounding is part of the model.
        double angle = static_cast<float>(position * frequencies.getFloat(first + j));
        double cosine = factor * std::cos(angle), sine = factor * std::sin(angle);
        int64_t low = start + j, high = low + half;
        double x = input.getFloat(low), y = input.getFloat(high);
        result.setFloat(low, x * cosine - y * sine);
        result.setFloat(high, y * cosine + x * sine);
      }
    }
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateSoftmax(SoftmaxOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0);
  Tensor result = e.makeResult();
  int64_t extent = input.dim(op.getDim()), stride = rowMajorStrides(input.shape())[op.getDim()];
  for (int64_t i = 0; i < input.size(); ++i) {
    if (i / stride % extent) // Not the first element of its line.
      continue;
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < extent; ++j)
      largest = std::max(largest, input.getFloat(i + j * stride));
    for (int64_t j = 0; j < extent; ++j)
      sum += std::exp(input.getFloat(i + j * stride) - largest);
    for (int64_t j = 0; j < extent; ++j)
      result.setFloat(i + j * stride, std::exp(input.getFloat(i + j * stride) - largest) / sum);
  }
  return result;
}

std::pair<Tensor, Tensor> mlsys::evaluateTopK(TopKOp op, const Tensor &input) {
  int64_t extent = input.dim(input.rank() - 1), k = op.getK();
  SmallVector<int64_t> shape(input.shape());
  shape.back() = k;
  Tensor values(input.dtype(), shape);
  Tensor indices(*dtypeOf(op.getIndices().getType().getElementType()), shape);
  std::vector<int64_t> order(extent);
  for (int64_t row = 0; row < (extent ? input.size() / extent : 0); ++row) {
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) {
      double left = input.getFloat(row * extent + x), right = input.getFloat(row * extent + y);
      if (left == right || (std::isnan(left) && std::isnan(right)))
        return x < y;
      return std::isnan(left) || left > right;
    });
    for (int64_t rank = 0; rank < k; ++rank) {
      values.setFloat(row * k + rank, input.getFloat(row * extent + order[rank]));
      indices.setInt(row * k + rank, order[rank]);
    }
  }
  return {values, indices};
}
