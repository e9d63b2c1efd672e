//===- CudaLoops.cpp - Pointwise and row kernels for CUDA -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// loop: a thread computes one vector of every output. row: a block computes one
// row, its threads stride over the columns.
//
//===----------------------------------------------------------------------===//

#include "LowerForCuda.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t maxThreads = 256, warpSize = 32;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

int64_t mlsys::cudaVectorWidth(ElementEmitter &emitter, ArrayRef<Value> values, int64_t columns) {
  int64_t width = 8;
  while (width > 1 && (columns % width != 0 || !llvm::all_of(values, [&](Value value) {
                         return emitter.canVectorize(value, width);
                       })))
    width /= 2;
  return width;
}

void mlsys::emitGridWait(KernelBuilder &kernel) {
  kernel::GridLaunchOp::create(kernel.builder, kernel.loc);
  kernel::GridWaitOp::create(kernel.builder, kernel.loc);
}

/// The values that the fusion stores.
static SmallVector<Value> storedValues(KernelBuilder &kernel) {
  SmallVector<Value> values;
  for (Value yielded : kernel.fusion.getBody().front().getTerminator()->getOperands())
    values.push_back(getStoredValue(yielded));
  return values;
}

/// The extent of the last dimension when it is static; 1 otherwise.
static int64_t lastExtent(Value value) {
  RankedTensorType type = typeOf(value);
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return 1;
  return type.getDimSize(type.getRank() - 1);
}

//===----------------------------------------------------------------------===//
// loop
//===----------------------------------------------------------------------===//

LogicalResult mlsys::lowerLoopForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  ElementEmitter emitter(kernel);
  IndexMath &math = emitter.index();
  SmallVector<Value> stored = storedValues(kernel);
  int64_t width = 8;
  for (Value value : stored)
    width = std::min(width, cudaVectorWidth(emitter, value, lastExtent(value)));
  DimExpr elements = getNumElements(typeOf(stored.front()));

  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  Value linear = math.mul(math.add(math.mul(block, maxThreads), thread), width);
  Value inside = math.less(linear, kernel.extent(elements));
  emitGridWait(kernel);
  auto guard = scf::IfOp::create(builder, loc, inside, /*withElseRegion=*/false);
  builder.setInsertionPointToStart(guard.thenBlock());
  for (unsigned output = 0; output < stored.size(); ++output)
    storeOutput(emitter, kernel, output, linear, width);
  builder.setInsertionPointAfter(guard);

  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  launch.grid = {toLaunchExpr(kernel.fusion, elements).ceilDiv(maxThreads * width), one, one};
  launch.block = {maxThreads, 1, 1};
  return failure(kernel.failed);
}

//===----------------------------------------------------------------------===//
// row
//===----------------------------------------------------------------------===//

/// Combines two values of a reduction.
static Value combine(OpBuilder &builder, Location loc, ReduceKind kind, Value lhs, Value rhs) {
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

/// The value that changes nothing.
static TypedAttr neutral(OpBuilder &builder, ReduceKind kind, Type type) {
  if (auto floatType = dyn_cast<FloatType>(type)) {
    const llvm::fltSemantics &semantics = floatType.getFloatSemantics();
    APFloat value = kind == ReduceKind::sum    ? APFloat::getZero(semantics)
                    : kind == ReduceKind::prod ? APFloat::getOne(semantics)
                    : APFloat::getInf(semantics, /*Negative=*/kind == ReduceKind::max);
    return builder.getFloatAttr(type, value);
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  APInt value = kind == ReduceKind::sum    ? APInt::getZero(bits)
                : kind == ReduceKind::prod ? APInt(bits, 1)
                : kind == ReduceKind::max  ? APInt::getSignedMinValue(bits)
                                           : APInt::getSignedMaxValue(bits);
  return builder.getIntegerAttr(type, value);
}

SmallVector<Value> mlsys::emitCudaRowReductions(ElementEmitter &emitter, KernelBuilder &kernel,
                                                Value row, RowScope scope, int64_t threads) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  IndexMath &math = emitter.index();
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  if (scope == RowScope::Warp) {
    thread = math.mod(thread, warpSize);
    threads = warpSize;
  }
  SmallVector<Value> results;
  for (ReduceOp reduce : kernel.structure.reductions) {
    RankedTensorType type = typeOf(reduce.getInput());
    Type element = getComputeType(type.getElementType());
    DimExpr columns = getDim(type, type.getRank() - 1);
    int64_t width = cudaVectorWidth(emitter, {reduce.getInput()}, lastExtent(reduce.getInput()));
    Type accumulatorType = width == 1 ? element : Type(VectorType::get({width}, element));
    TypedAttr initial = neutral(builder, reduce.getKind(), element);
    if (width > 1)
      initial = DenseElementsAttr::get(cast<ShapedType>(accumulatorType), Attribute(initial));
    Value start = arith::ConstantOp::create(builder, loc, initial);
    Value extent = kernel.extent(columns);
    auto loop = scf::ForOp::create(builder, loc, math.mul(thread, width), extent,
                                   math.constant(threads * width), start);
    builder.setInsertionPointToStart(loop.getBody());
    Value linear = math.join(row, extent, loop.getInductionVar());
    Value value = emitter.emit(reduce.getInput(), emitter.delinearize(linear, reduce.getInput()), width);
    Value sum = combine(builder, loc, reduce.getKind(), loop.getRegionIterArg(0), value);
    scf::YieldOp::create(builder, loc, sum);
    builder.setInsertionPointAfter(loop);
    Value partial = loop.getResult(0);
    if (width > 1) {
      Value vector = partial;
      partial = vector::ExtractOp::create(builder, loc, vector, 0);
      for (int64_t lane = 1; lane < width; ++lane)
        partial = combine(builder, loc, reduce.getKind(), partial,
                          vector::ExtractOp::create(builder, loc, vector, lane));
    }
    Value total = kernel::ReduceOp::create(builder, loc, element, reduce.getKind(),
                                           scope == RowScope::Block, partial);
    results.push_back(total);
    emitter.bind(reduce.getResult(), [total, &builder, loc](ValueRange, int64_t lanes) -> Value {
      if (lanes == 1)
        return total;
      return vector::BroadcastOp::create(builder, loc, VectorType::get({lanes}, total.getType()), total);
    });
  }
  return results;
}

LogicalResult mlsys::lowerRowForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  ElementEmitter emitter(kernel);
  IndexMath &math = emitter.index();
  const FusionStructure &structure = kernel.structure;

  // As many threads as the longest row keeps busy.
  int64_t longest = 0;
  for (ReduceOp reduce : structure.reductions)
    longest = std::max(longest, lastExtent(reduce.getInput()));
  int64_t threads = longest <= 1 ? maxThreads : llvm::alignTo(longest / 4, warpSize);
  threads = std::clamp(threads, warpSize, maxThreads);

  Value row = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  emitGridWait(kernel);
  emitCudaRowReductions(emitter, kernel, row, RowScope::Block, threads);
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  for (auto [output, stored] : llvm::enumerate(storedValues(kernel))) {
    DimExpr columns = *getNumElements(typeOf(stored)).divideBy(structure.rows);
    std::optional<int64_t> known = columns.asConstant();
    int64_t width = known && *known > 1
                        ? cudaVectorWidth(emitter, {stored}, std::gcd(*known, lastExtent(stored)))
                        : 1;
    Value extent = kernel.extent(columns);
    auto loop = scf::ForOp::create(builder, loc, math.mul(thread, width), extent,
                                   math.constant(threads * width));
    builder.setInsertionPointToStart(loop.getBody());
    storeOutput(emitter, kernel, output, math.join(row, extent, loop.getInductionVar()), width);
    builder.setInsertionPointAfter(loop);
  }
  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  launch.grid = {toLaunchExpr(kernel.fusion, structure.rows), one, one};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  return failure(kernel.failed);
}
