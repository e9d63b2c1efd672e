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

Value mlsys::neutralElement(OpBuilder &builder, Location loc, ReduceKind kind, Type wanted) {
  TypedAttr attribute = getNeutral(builder, kind, getElementTypeOrSelf(wanted));
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
        lanes[lane] = emitCombine(builder, kernel.loc, kind, lanes[lane], lanes[lane + half]);
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
