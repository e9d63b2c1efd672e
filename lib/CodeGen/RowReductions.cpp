//===- RowReductions.cpp - The reductions of one row ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "RowReductions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static TypedAttr neutralElement(OpBuilder &b, ReduceKind kind, Type type) {
  if (isa<FloatType>(type)) {
    double infinity = std::numeric_limits<double>::infinity();
    double value = kind == ReduceKind::sum    ? 0.0
                   : kind == ReduceKind::prod ? 1.0
                   : kind == ReduceKind::max  ? -infinity
                                              : infinity;
    return b.getFloatAttr(type, value);
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  APInt value = kind == ReduceKind::sum    ? APInt(bits, 0)
                : kind == ReduceKind::prod ? APInt(bits, 1)
                : kind == ReduceKind::max  ? APInt::getSignedMinValue(bits)
                                           : APInt::getSignedMaxValue(bits);
  return b.getIntegerAttr(type, value);
}

static vector::CombiningKind combiningKind(ReduceKind kind, bool isFloat) {
  switch (kind) {
  case ReduceKind::sum:
    return vector::CombiningKind::ADD;
  case ReduceKind::prod:
    return vector::CombiningKind::MUL;
  case ReduceKind::max:
    return isFloat ? vector::CombiningKind::MAXIMUMF : vector::CombiningKind::MAXSI;
  case ReduceKind::min:
    return isFloat ? vector::CombiningKind::MINIMUMF : vector::CombiningKind::MINSI;
  }
  llvm_unreachable("every kind of reduction is combined");
}

/// Reduces columns [begin, end) of the row into `initial`.
static Value reduceRange(ElementEmitter &emitter, KernelBuilder &kernel, ReduceOp reduce, Value row,
                         Value columns, Value begin, Value end, Value initial, int64_t width,
                         vector::CombiningKind combining) {
  OpBuilder &b = kernel.builder;
  auto loop = scf::ForOp::create(b, kernel.loc, begin, end, emitter.index().constant(width),
                                 ValueRange(initial));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value linear = emitter.index().join(row, columns, loop.getInductionVar());
  Value element = emitter.emit(reduce.getInput(), emitter.delinearize(linear, reduce.getInput()), width);
  Value next = vector::makeArithReduction(b, kernel.loc, combining, loop.getRegionIterArg(0), element);
  scf::YieldOp::create(b, kernel.loc, next);
  return loop.getResult(0);
}

static void emitRowReduction(ElementEmitter &emitter, KernelBuilder &kernel, ReduceOp reduce,
                             Value row, int64_t width) {
  OpBuilder &b = kernel.builder;
  Location loc = kernel.loc;
  auto inputType = cast<RankedTensorType>(reduce.getInput().getType());
  DimExpr extent = getDim(inputType, inputType.getRank() - 1);
  std::optional<int64_t> known = extent.asConstant();
  Value columns = known ? emitter.index().constant(*known) : kernel.extent(extent);
  Type type = getComputeType(inputType.getElementType());
  vector::CombiningKind combining = combiningKind(reduce.getKind(), isa<FloatType>(type));
  TypedAttr neutral = neutralElement(b, reduce.getKind(), type);
  Value zero = emitter.index().constant(0);
  Value result = arith::ConstantOp::create(b, loc, neutral);
  width = commonWidth(emitter, {reduce.getInput()}, width);
  if (known && *known < width)
    width = 1;
  Value whole = zero;
  if (width > 1) {
    auto vectorType = VectorType::get(width, type);
    whole = emitter.index().mul(emitter.index().div(columns, width), width);
    Value initial = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vectorType, neutral));
    Value lanes = reduceRange(emitter, kernel, reduce, row, columns, zero, whole, initial, width,
                              combining);
    result = vector::ReductionOp::create(b, loc, combining, lanes);
  }
  if (!known || width == 1 || *known % width != 0)
    result = reduceRange(emitter, kernel, reduce, row, columns, whole, columns, result, 1, combining);
  emitter.bind(reduce.getResult(), [&b, loc, result](ValueRange, int64_t width) -> Value {
    if (width == 1)
      return result;
    return vector::BroadcastOp::create(b, loc, VectorType::get(width, result.getType()), result);
  });
}

void mlsys::emitRowReductions(ElementEmitter &emitter, KernelBuilder &kernel, Value row,
                              int64_t width) {
  for (ReduceOp reduce : kernel.structure.reductions)
    emitRowReduction(emitter, kernel, reduce, row, width);
}

int64_t mlsys::commonWidth(ElementEmitter &emitter, ArrayRef<Value> values, int64_t width) {
  auto fits = [&](Value value) { return emitter.canVectorize(value, width); };
  while (width > 1 && !llvm::all_of(values, fits))
    width /= 2;
  return width;
}
