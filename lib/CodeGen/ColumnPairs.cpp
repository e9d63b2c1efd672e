//===- ColumnPairs.cpp - Which columns an epilogue reads together ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "SelectCudaTiles.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
/// Follows elements of row 0 of an epilogue back to the columns of the dots that they read.
class ColumnReads {
public:
  explicit ColumnReads(const DotGroup &group) {
    SmallVector<Value> work;
    for (Operation *dot : group.dots) {
      dots.insert(dot);
      work.push_back(dot->getResult(0));
    }
    while (!work.empty()) {
      Value value = work.pop_back_val();
      if (derived.insert(value).second)
        for (Operation *user : value.getUsers())
          work.append(user->result_begin(), user->result_end());
    }
  }

  /// Adds the columns that element `linear` of row 0 of `value` reads; false when they are not known.
  bool collect(Value value, int64_t linear, llvm::SmallSetVector<int64_t, 4> &columns) const;

private:
  llvm::DenseSet<Operation *> dots;
  /// The values that depend on a dot of the group.
  llvm::DenseSet<Value> derived;
};
} // namespace

/// The indices of an element of the first row: 0 in front of the last dynamic extent. Nothing when
/// the row is shorter.
static std::optional<SmallVector<int64_t>> delinearize(RankedTensorType type, int64_t linear) {
  SmallVector<int64_t> indices(type.getRank(), 0);
  for (int64_t dim = type.getRank() - 1; dim >= 0 && !type.isDynamicDim(dim); --dim) {
    indices[dim] = linear % type.getDimSize(dim);
    linear /= type.getDimSize(dim);
  }
  if (linear != 0)
    return std::nullopt;
  return indices;
}

static std::optional<int64_t> linearize(RankedTensorType type, ArrayRef<int64_t> indices) {
  int64_t linear = 0, stride = 1;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    if (type.isDynamicDim(dim)) {
      if (llvm::any_of(indices.take_front(dim + 1), [](int64_t index) { return index != 0; }))
        return std::nullopt;
      break;
    }
    linear += indices[dim] * stride;
    stride *= type.getDimSize(dim);
  }
  return linear;
}

bool ColumnReads::collect(Value value, int64_t linear, llvm::SmallSetVector<int64_t, 4> &columns) const {
  if (!derived.contains(value))
    return true;
  Operation *op = value.getDefiningOp();
  if (dots.contains(op)) {
    columns.insert(linear);
    return true;
  }
  if (isElementwise(op) || isa<ReshapeOp>(op))
    return llvm::all_of(op->getOperands(), [&](Value operand) { return collect(operand, linear, columns); });
  std::optional<SmallVector<int64_t>> indices = delinearize(typeOf(value), linear);
  if (!indices)
    return false;
  auto follow = [&](Value operand) {
    std::optional<int64_t> at = linearize(typeOf(operand), *indices);
    return at && collect(operand, *at, columns);
  };
  if (auto slice = dyn_cast<SliceOp>(op)) {
    for (auto [index, offset] : llvm::zip_equal(*indices, slice.getOffsets()))
      index += offset;
    return follow(slice.getInput());
  }
  if (auto concat = dyn_cast<ConcatOp>(op)) {
    int64_t &index = (*indices)[concat.getDim()];
    for (Value input : concat.getInputs()) {
      RankedTensorType type = typeOf(input);
      if (type.isDynamicDim(concat.getDim()))
        return false;
      int64_t extent = type.getDimSize(concat.getDim());
      if (index < extent)
        return follow(input);
      index -= extent;
    }
  }
  return false;
}

bool mlsys::readsPairsOfColumns(const FusionStructure &structure, const DotGroup &group) {
  if (group.mixing % 2 != 0 || group.columns % group.mixing != 0)
    return false;
  Operation *dot = group.dots.front();
  Operation *terminator = dot->getBlock()->getTerminator();
  ColumnReads reads(group);
  for (unsigned output : group.outputs) {
    Value stored = getStoredValue(terminator->getOperand(output));
    for (int64_t column = 0; column < group.columns; ++column) {
      llvm::SmallSetVector<int64_t, 4> columns;
      if (!reads.collect(stored, column, columns))
        return false;
      for (int64_t read : columns)
        if (read / group.mixing != column / group.mixing ||
            (read - column) % (group.mixing / 2) != 0)
          return false;
    }
  }
  return true;
}
