//===- CudaReduce.cpp - What kernels that reduce share on CUDA ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaReduce.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Value mlsys::combineElements(OpBuilder &builder, Location loc, ReduceKind kind, Value lhs, Value rhs) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(lhs.getType()));
  switch (kind) {
  case ReduceKind::sum:
    return isFloat ? arith::AddFOp::create(builder, loc, lhs, rhs).getResult()
                   : arith::AddIOp::create(builder, loc, lhs, rhs).getResult();
  case ReduceKind::prod:
    return isFloat ? arith::MulFOp::create(builder, loc, lhs, rhs).getResult()
                   : arith::MulIOp::create(builder, loc, lhs, rhs).getResult();
  case ReduceKind::max:
    return isFloat ? arith::MaximumFOp::create(builder, loc, lhs, rhs).getResult()
                   : arith::MaxSIOp::create(builder, loc, lhs, rhs).getResult();
  case ReduceKind::min:
    return isFloat ? arith::MinimumFOp::create(builder, loc, lhs, rhs).getResult()
                   : arith::MinSIOp::create(builder, loc, lhs, rhs).getResult();
  }
  llvm_unreachable("every reduction has a combination");
}

Value mlsys::neutralElement(OpBuilder &builder, Location loc, ReduceKind kind, Type wanted) {
  Type type = getElementTypeOrSelf(wanted);
  TypedAttr attribute;
  if (auto floatType = dyn_cast<FloatType>(type)) {
    const llvm::fltSemantics &semantics = floatType.getFloatSemantics();
    APFloat value = kind == ReduceKind::sum    ? APFloat::getZero(semantics)
                    : kind == ReduceKind::prod ? APFloat::getOne(semantics)
                    : APFloat::getInf(semantics, /*Negative=*/kind == ReduceKind::max);
    attribute = builder.getFloatAttr(type, value);
  } else {
    unsigned bits = type.getIntOrFloatBitWidth();
    APInt value = kind == ReduceKind::sum    ? APInt::getZero(bits)
                  : kind == ReduceKind::prod ? APInt(bits, 1)
                  : kind == ReduceKind::max  ? APInt::getSignedMinValue(bits)
                                             : APInt::getSignedMaxValue(bits);
    attribute = builder.getIntegerAttr(type, value);
  }
  if (auto vector = dyn_cast<VectorType>(wanted))
    attribute = DenseElementsAttr::get(vector, Attribute(attribute));
  return arith::ConstantOp::create(builder, loc, attribute);
}

Value mlsys::joinThreads(KernelBuilder &kernel, ReduceKind kind, Value partial, RowScope scope) {
  OpBuilder &builder = kernel.builder;
  if (auto type = dyn_cast<VectorType>(partial.getType())) {
    SmallVector<Value> lanes;
    for (int64_t lane = 0; lane < type.getNumElements(); ++lane)
      lanes.push_back(vector::ExtractOp::create(builder, kernel.loc, partial, lane));
    while (lanes.size() > 1) {
      for (size_t half = lanes.size() / 2, lane = 0; lane < half; ++lane)
        lanes[lane] = combineElements(builder, kernel.loc, kind, lanes[lane], lanes[lane + half]);
      lanes.resize(lanes.size() / 2);
    }
    partial = lanes.front();
  }
  return kernel::ReduceOp::create(builder, kernel.loc, partial.getType(), kind,
                                  scope == RowScope::Block, partial);
}

ElementEmitter::Source mlsys::uniformSource(KernelBuilder &kernel, Value value) {
  return [&builder = kernel.builder, loc = kernel.loc, value](ValueRange, int64_t lanes) -> Value {
    if (lanes == 1)
      return value;
    return vector::BroadcastOp::create(builder, loc, VectorType::get({lanes}, value.getType()), value);
  };
}
