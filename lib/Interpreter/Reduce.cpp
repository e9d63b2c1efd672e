//===- Reduce.cpp - Reductions, evaluated ---------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static double combine(ReduceKind kind, double x, double y) {
  switch (kind) {
  case ReduceKind::sum:
    return x + y;
  case ReduceKind::prod:
    return x * y;
  case ReduceKind::max:
    return std::isnan(x) || x > y ? x : y;
  case ReduceKind::min:
    return std::isnan(x) || x < y ? x : y;
  }
  llvm_unreachable("all reductions are handled");
}

static int64_t combine(ReduceKind kind, int64_t x, int64_t y) {
  switch (kind) {
  case ReduceKind::sum:
    return static_cast<int64_t>(static_cast<uint64_t>(x) + static_cast<uint64_t>(y));
  case ReduceKind::prod:
    return static_cast<int64_t>(static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
  case ReduceKind::max:
    return std::max(x, y);
  case ReduceKind::min:
    return std::min(x, y);
  }
  llvm_unreachable("all reductions are handled");
}

/// The value of a reduction over nothing.
template <typename T> static T identity(ReduceKind kind) {
  using Limits = std::numeric_limits<T>;
  switch (kind) {
  case ReduceKind::sum:
    return T(0);
  case ReduceKind::prod:
    return T(1);
  case ReduceKind::max:
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  case ReduceKind::min:
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
  llvm_unreachable("all reductions are handled");
}

llvm::Expected<Tensor> mlsys::evaluateReduce(ReduceOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0);
  Tensor result = e.makeResult();
  ReduceKind kind = op.getKind();

  // The distance of a step in the result; a reduced dimension stays in place.
  SmallVector<int64_t> resultStrides = rowMajorStrides(e.shape), strides(input.rank(), 0);
  for (int64_t dim = 0, kept = 0; dim < input.rank(); ++dim)
    if (!llvm::is_contained(op.getDims(), dim))
      strides[dim] = resultStrides[kept++];
  auto target = [&](ArrayRef<int64_t> indices) {
    int64_t offset = 0;
    for (auto [index, stride] : llvm::zip_equal(indices, strides))
      offset += index * stride;
    return offset;
  };

  // Only the end value is rounded to the element type.
  if (input.isFloat()) {
    std::vector<double> values(result.size(), identity<double>(kind));
    forEachIndex(input.shape(), [&](int64_t i, ArrayRef<int64_t> indices) {
      double &value = values[target(indices)];
      value = combine(kind, value, input.getFloat(i));
    });
    for (int64_t i = 0; i < result.size(); ++i)
      result.setFloat(i, values[i]);
  } else {
    std::vector<int64_t> values(result.size(), identity<int64_t>(kind));
    forEachIndex(input.shape(), [&](int64_t i, ArrayRef<int64_t> indices) {
      int64_t &value = values[target(indices)];
      value = combine(kind, value, input.getInt(i));
    });
    for (int64_t i = 0; i < result.size(); ++i)
      result.setInt(i, values[i]);
  }
  return result;
}
