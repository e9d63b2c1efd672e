//===- CudaRows.cpp - Row kernels for CUDA --------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A block computes one row, or each warp of it one when rows are short. When the row's length is
// known, a thread's part of it stays in registers from the first reduction to the last store, so
// that memory is read once: the columns are unrolled, and the emitter finds what it has emitted at
// the same column. Otherwise the threads stride over the columns for each reduction.
//
//===----------------------------------------------------------------------===//

#include "CudaReduce.h"
#include "CudaSplit.h"
#include "LowerForCuda.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t warpSize = 32, loopThreads = 256;
/// More threads than this would leave each fewer registers than a row in them takes.
static constexpr int64_t maxRowThreads = 512;
/// Elements of a row that a thread holds: as many as registers allow, and as are wanted.
static constexpr int64_t maxHeld = 32, wantedHeld = 16;
static_assert(maxRowThreads * maxHeld == maxHeldColumns);
/// Rows up to this length are computed by one warp each, several in a block.
static constexpr int64_t maxWarpColumns = warpSize * maxHeld, warpRows = 4;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

//===----------------------------------------------------------------------===//
// Rows in loops
//===----------------------------------------------------------------------===//

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
    Value start = neutralElement(builder, loc, reduce.getKind(), accumulatorType);
    Value extent = kernel.extent(columns);
    auto loop = scf::ForOp::create(builder, loc, math.mul(thread, width), extent,
                                   math.constant(threads * width), start);
    builder.setInsertionPointToStart(loop.getBody());
    Value linear = math.join(row, extent, loop.getInductionVar());
    Value value = emitter.emit(reduce.getInput(), emitter.delinearize(linear, reduce.getInput()), width);
    Value sum = emitCombine(builder, loc, reduce.getKind(), loop.getRegionIterArg(0), value);
    scf::YieldOp::create(builder, loc, sum);
    builder.setInsertionPointAfter(loop);
    results.push_back(joinThreads(kernel, reduce.getKind(), loop.getResult(0), scope));
    emitter.bind(reduce.getResult(), uniformSource(kernel, results.back()));
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Rows in registers
//===----------------------------------------------------------------------===//

namespace {
/// How rows of a known length lie in registers.
struct HeldRows {
  RowScope scope = RowScope::Block;
  int64_t columns = 0;
  /// Elements of a vector, threads of one row, vectors of a thread.
  int64_t width = 1, threads = 0, vectors = 0;
};
} // namespace

/// The number of columns of the rows of an output.
static DimExpr outputColumns(const FusionStructure &structure, Value stored) {
  return *getNumElements(typeOf(stored)).divideBy(structure.rows);
}

/// How the rows lie in registers; nothing when their length is not known, differs between
/// reductions, or is too large.
static std::optional<HeldRows> planHeldRows(KernelBuilder &kernel, ElementEmitter &emitter) {
  HeldRows plan;
  int64_t width = 8;
  for (ReduceOp reduce : kernel.structure.reductions) {
    RankedTensorType type = typeOf(reduce.getInput());
    std::optional<int64_t> columns = getDim(type, type.getRank() - 1).asConstant();
    if (!columns || *columns < 1 || (plan.columns && *columns != plan.columns))
      return std::nullopt;
    plan.columns = *columns;
    width = std::min(width, cudaVectorWidth(emitter, {reduce.getInput()}, *columns));
  }
  for (Value stored : storedValues(kernel))
    if (outputColumns(kernel.structure, stored).asConstant() == plan.columns)
      width = std::min(width, cudaVectorWidth(emitter, {stored}, std::gcd(plan.columns, lastExtent(stored))));
  if (plan.columns <= maxWarpColumns) {
    plan.scope = RowScope::Warp;
    plan.threads = warpSize;
    // No lane without work.
    while (width > 1 && width * warpSize > plan.columns)
      width /= 2;
    plan.width = width;
    plan.vectors = llvm::divideCeil(plan.columns, width * warpSize);
    return plan;
  }
  // The fewest idle threads, then about 256 of them.
  int64_t total = plan.columns / width, best = std::numeric_limits<int64_t>::max();
  plan.width = width;
  for (int64_t held : {wantedHeld, maxHeld}) {
    for (int64_t vectors = 1; vectors * width <= held; ++vectors) {
      int64_t threads = llvm::alignTo(llvm::divideCeil(total, vectors), warpSize);
      int64_t cost = (vectors * threads - total) * 1024 + std::abs(threads - 256);
      if (threads > maxRowThreads || cost >= best)
        continue;
      best = cost;
      plan.threads = threads;
      plan.vectors = vectors;
    }
    if (plan.vectors)
      return plan;
  }
  return std::nullopt;
}

/// One row: reductions, then the outputs that have its length.
static void emitHeldRow(ElementEmitter &emitter, KernelBuilder &kernel, const HeldRows &plan,
                        Value row) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  IndexMath &math = emitter.index();
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  if (plan.scope == RowScope::Warp)
    thread = math.mod(thread, warpSize);
  Value extent = math.constant(plan.columns);
  // A vector beyond the end reads the last one; what it has counts for nothing.
  SmallVector<Value> places, inside;
  for (int64_t vector = 0; vector < plan.vectors; ++vector) {
    Value column = math.mul(math.add(thread, vector * plan.threads), plan.width);
    bool whole = (vector + 1) * plan.threads * plan.width <= plan.columns;
    inside.push_back(whole ? Value() : math.less(column, extent));
    if (!whole)
      column = math.min(column, math.constant(plan.columns - plan.width));
    places.push_back(math.join(row, extent, column));
  }
  for (ReduceOp reduce : kernel.structure.reductions) {
    Type element = getComputeType(typeOf(reduce.getInput()).getElementType());
    Type type = plan.width == 1 ? element : Type(VectorType::get({plan.width}, element));
    SmallVector<Value> values;
    for (Value place : places)
      values.push_back(emitter.emit(reduce.getInput(), emitter.delinearize(place, reduce.getInput()), plan.width));
    Value partial;
    for (auto [value, condition] : llvm::zip_equal(values, inside)) {
      Value counted = value;
      if (condition)
        counted = arith::SelectOp::create(builder, loc, condition, value,
                                          neutralElement(builder, loc, reduce.getKind(), type));
      partial = partial ? emitCombine(builder, loc, reduce.getKind(), partial, counted) : counted;
    }
    Value total = joinThreads(kernel, reduce.getKind(), partial, plan.scope);
    emitter.define(reduce.getResult(), uniformSource(kernel, total));
  }
  SmallVector<std::pair<unsigned, Value>> outputs;
  for (auto [output, stored] : llvm::enumerate(storedValues(kernel)))
    if (outputColumns(kernel.structure, stored).asConstant() == plan.columns)
      outputs.push_back({output, stored});
  // Every load is before the first store, which the compiler could not move it over.
  for (Value place : places)
    for (auto [output, stored] : outputs)
      emitter.emit(stored, emitter.delinearize(place, stored), plan.width);
  for (auto [place, condition] : llvm::zip_equal(places, inside))
    storeInside(kernel, condition, [&, place = place] {
      for (auto [output, stored] : outputs)
        storeOutput(emitter, kernel, output, place, plan.width);
    });
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void mlsys::emitOutputLoops(ElementEmitter &emitter, KernelBuilder &kernel, Value row, Value thread,
                            int64_t threads, const DimExpr &done) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  IndexMath &math = emitter.index();
  for (auto [output, stored] : llvm::enumerate(storedValues(kernel))) {
    DimExpr columns = outputColumns(kernel.structure, stored);
    std::optional<int64_t> known = columns.asConstant();
    if (columns == done)
      continue;
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
}

LogicalResult mlsys::lowerRowForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                     LaunchShape &launch) {
  if (std::optional<CudaColumns> columns = planCudaColumns(kernel.fusion, kernel.structure, target))
    return lowerColumnsForCuda(kernel, *columns, 0, launch);
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  ElementEmitter emitter(kernel);
  IndexMath &math = emitter.index();
  const FusionStructure &structure = kernel.structure;
  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  AffineExpr rows = toLaunchExpr(kernel.fusion, structure.rows);
  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());

  emitGridWait(kernel);
  std::optional<HeldRows> held = planHeldRows(kernel, emitter);
  if (held && held->scope == RowScope::Warp) {
    Value row = math.add(math.mul(block, warpRows), math.div(thread, warpSize));
    storeInside(kernel, math.less(row, kernel.extent(structure.rows)), [&] {
      emitHeldRow(emitter, kernel, *held, row);
      emitOutputLoops(emitter, kernel, row, math.mod(thread, warpSize), warpSize, DimExpr::constant(held->columns));
    });
    launch.grid = {rows.ceilDiv(warpRows), one, one};
    launch.block = {static_cast<int32_t>(warpRows * warpSize), 1, 1};
    return failure(kernel.failed);
  }

  int64_t threads = held ? held->threads : 0;
  if (!held) {
    // As many threads as the longest row keeps busy.
    int64_t longest = 0;
    for (ReduceOp reduce : structure.reductions)
      longest = std::max(longest, lastExtent(reduce.getInput()));
    threads = longest <= 1 ? loopThreads : llvm::alignTo(longest / 4, warpSize);
    threads = std::clamp(threads, warpSize, loopThreads);
  }
  if (held)
    emitHeldRow(emitter, kernel, *held, block);
  else
    emitCudaRowReductions(emitter, kernel, block, RowScope::Block, threads);
  emitOutputLoops(emitter, kernel, block, thread, threads, held ? DimExpr::constant(held->columns) : DimExpr());
  launch.grid = {rows, one, one};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  return failure(kernel.failed);
}
