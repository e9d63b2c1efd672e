//===- CudaLoops.cpp - Pointwise kernels for CUDA -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// loop: a thread computes one or two vectors of every output. Transposes are in CudaTranspose.cpp.
//
//===----------------------------------------------------------------------===//

#include "CudaTranspose.h"
#include "LowerForCuda.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t maxThreads = 256;

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

SmallVector<Value> mlsys::storedValues(KernelBuilder &kernel) {
  SmallVector<Value> values;
  for (Value yielded : kernel.fusion.getBody().front().getTerminator()->getOperands())
    values.push_back(getStoredValue(yielded));
  return values;
}

int64_t mlsys::lastExtent(Value value) {
  RankedTensorType type = typeOf(value);
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return 1;
  return type.getDimSize(type.getRank() - 1);
}

void mlsys::storeInside(KernelBuilder &kernel, Value condition, llvm::function_ref<void()> store) {
  OpBuilder::InsertionGuard restore(kernel.builder);
  if (condition) {
    auto guard = scf::IfOp::create(kernel.builder, kernel.loc, condition, /*withElseRegion=*/false);
    kernel.builder.setInsertionPointToStart(guard.thenBlock());
  }
  store();
}

/// Vectors that a thread computes: enough loads under way to fill the memory's pipe when there are many
/// elements, one when that leaves multiprocessors without work.
static int64_t vectorsPerThread(const CudaTarget &target, const DimExpr &elements, int64_t width) {
  std::optional<int64_t> known = elements.asConstant();
  if (!known)
    return 2;
  int64_t blocks = llvm::divideCeil(*known, maxThreads * width);
  return blocks >= 16 * target.multiprocessors ? 2 : 1;
}

LogicalResult mlsys::lowerLoopForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                      LaunchShape &launch) {
  if (std::optional<CudaTranspose> plan = planCudaTranspose(kernel.fusion))
    return lowerTransposeForCuda(kernel, *plan, launch);
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  ElementEmitter emitter(kernel);
  IndexMath &math = emitter.index();
  SmallVector<Value> stored = storedValues(kernel);
  int64_t width = 8;
  for (Value value : stored)
    width = std::min(width, cudaVectorWidth(emitter, value, lastExtent(value)));
  DimExpr elements = getNumElements(typeOf(stored.front()));
  int64_t vectors = vectorsPerThread(target, elements, width), perBlock = maxThreads * width * vectors;
  std::optional<int64_t> known = elements.asConstant();
  bool whole = known && *known % perBlock == 0;

  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  Value extent = kernel.extent(elements);
  Value start = math.add(math.mul(block, perBlock), math.mul(thread, width));
  // A vector beyond the end is computed as the last one is, and not stored.
  Value last = whole ? Value() : math.sub(extent, math.constant(width));
  SmallVector<Value> places, inside;
  for (int64_t vector = 0; vector < vectors; ++vector) {
    Value place = math.add(start, vector * maxThreads * width);
    inside.push_back(whole ? Value() : math.less(place, extent));
    places.push_back(whole || vectors == 1 ? place : math.min(place, last));
  }
  emitGridWait(kernel);
  if (vectors == 1) {
    OpBuilder::InsertionGuard restore(builder);
    if (!whole) {
      auto guard = scf::IfOp::create(builder, loc, inside[0], /*withElseRegion=*/false);
      builder.setInsertionPointToStart(guard.thenBlock());
    }
    for (unsigned output = 0; output < stored.size(); ++output)
      storeOutput(emitter, kernel, output, places[0], width);
  } else {
    // Every load is before the first store, which the compiler could not move it over.
    for (Value place : places)
      for (Value value : stored)
        emitter.emit(value, emitter.delinearize(place, value), width);
    for (auto [place, condition] : llvm::zip_equal(places, inside))
      storeInside(kernel, condition, [&, place = place] {
        for (unsigned output = 0; output < stored.size(); ++output)
          storeOutput(emitter, kernel, output, place, width);
      });
  }

  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  launch.grid = {toLaunchExpr(kernel.fusion, elements).ceilDiv(perBlock), one, one};
  launch.block = {maxThreads, 1, 1};
  return failure(kernel.failed);
}
