//===- DataMovement.cpp - Constants and moved elements, evaluated ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

SmallVector<int64_t> mlsys::rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t dim = static_cast<int64_t>(shape.size()) - 2; dim >= 0; --dim)
    strides[dim] = strides[dim + 1] * shape[dim + 1];
  return strides;
}

void mlsys::forEachIndex(ArrayRef<int64_t> shape,
                         llvm::function_ref<void(int64_t, ArrayRef<int64_t>)> visit) {
  SmallVector<int64_t> indices(shape.size(), 0);
  int64_t count = countElements(shape);
  for (int64_t element = 0; element < count; ++element) {
    visit(element, indices);
    for (int64_t dim = static_cast<int64_t>(shape.size()) - 1; dim >= 0; --dim) {
      if (++indices[dim] < shape[dim])
        break;
      indices[dim] = 0;
    }
  }
}

void mlsys::copyElement(Tensor &to, int64_t toIndex, const Tensor &from, int64_t fromIndex) {
  if (from.isFloat())
    to.setFloat(toIndex, from.getFloat(fromIndex));
  else
    to.setInt(toIndex, from.getInt(fromIndex));
}

/// Every element of the result is an element of `input`: at `offset` plus the
/// result's indices times `strides`.
static Tensor copyStrided(const Evaluation &e, const Tensor &input, int64_t offset,
                          ArrayRef<int64_t> strides) {
  Tensor result = e.makeResult();
  forEachIndex(e.shape, [&](int64_t element, ArrayRef<int64_t> indices) {
    int64_t source = offset;
    for (auto [index, stride] : llvm::zip_equal(indices, strides))
      source += index * stride;
    copyElement(result, element, input, source);
  });
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateConstant(ConstantOp op, const Evaluation &e) {
  Tensor result = e.makeResult();
  ElementsAttr value = op.getValue();
  if (result.isFloat()) {
    auto range = value.tryGetValues<APFloat>();
    if (!range)
      return e.error("has elements that cannot be read");
    for (auto [index, element] : llvm::enumerate(*range)) {
      bool lossy = false;
      APFloat wide = element;
      wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
      result.setFloat(index, wide.convertToDouble());
    }
    return result;
  }
  auto range = value.tryGetValues<APInt>();
  if (!range)
    return e.error("has elements that cannot be read");
  for (auto [index, element] : llvm::enumerate(*range))
    result.setInt(index, element.getBitWidth() == 1 ? element.getZExtValue()
                                                    : element.getSExtValue());
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateBroadcast(BroadcastOp op, const Evaluation &e) {
  const Tensor &input = e.tensor(0);
  SmallVector<int64_t> inputStrides = rowMajorStrides(input.shape()), strides(e.shape.size(), 0);
  for (auto [index, dim] : llvm::enumerate(op.getDims()))
    if (input.dim(index) != 1)
      strides[dim] = inputStrides[index];
  return copyStrided(e, input, 0, strides);
}

llvm::Expected<Tensor> mlsys::evaluateTranspose(TransposeOp op, const Evaluation &e) {
  SmallVector<int64_t> inputStrides = rowMajorStrides(e.tensor(0).shape()), strides;
  for (int64_t dim : op.getPermutation())
    strides.push_back(inputStrides[dim]);
  return copyStrided(e, e.tensor(0), 0, strides);
}

llvm::Expected<Tensor> mlsys::evaluateSlice(SliceOp op, const Evaluation &e) {
  SmallVector<int64_t> strides = rowMajorStrides(e.tensor(0).shape());
  int64_t offset = 0;
  for (auto [start, stride] : llvm::zip_equal(op.getOffsets(), strides))
    offset += start * stride;
  return copyStrided(e, e.tensor(0), offset, strides);
}

llvm::Expected<Tensor> mlsys::evaluateConcat(ConcatOp op, const Evaluation &e) {
  Tensor result = e.makeResult();
  SmallVector<int64_t> strides = rowMajorStrides(e.shape);
  int64_t start = 0;
  for (unsigned operand = 0; operand < e.operands.size(); ++operand) {
    const Tensor &input = e.tensor(operand);
    forEachIndex(input.shape(), [&](int64_t element, ArrayRef<int64_t> indices) {
      int64_t target = start * strides[op.getDim()];
      for (auto [index, stride] : llvm::zip_equal(indices, strides))
        target += index * stride;
      copyElement(result, target, input, element);
    });
    start += input.dim(op.getDim());
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateIota(IotaOp op, const Evaluation &e) {
  Tensor result = e.makeResult();
  forEachIndex(e.shape, [&](int64_t element, ArrayRef<int64_t> indices) {
    if (result.isFloat())
      result.setFloat(element, static_cast<double>(indices[op.getDim()]));
    else
      result.setInt(element, indices[op.getDim()]);
  });
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateRows(const Tensor &table, const Tensor &indices,
                                           const Evaluation &e) {
  Tensor result = e.makeResult();
  int64_t rows = table.dim(0), width = rows ? table.size() / rows : 0;
  for (int64_t i = 0; i < indices.size(); ++i) {
    int64_t row = indices.getInt(i);
    if (row < 0 || row >= rows)
      return e.error("reads row {0} of a table of {1} rows", row, rows);
    for (int64_t j = 0; j < width; ++j)
      copyElement(result, i * width + j, table, row * width + j);
  }
  return result;
}
