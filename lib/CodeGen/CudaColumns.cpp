//===- CudaColumns.cpp - Reductions across memory's order on CUDA ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Sums over the first dimension of a matrix and the like. The lanes of a warp have neighbouring elements, a vector each,
// the warps of a block different rows; each thread goes down its columns with four loads under way, and the threads of
// a column meet in shared memory. Long columns are cut into parts, which a second kernel of the same form joins.
//
//===----------------------------------------------------------------------===//

#include "CudaReduce.h"
#include "CudaSplit.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t threads = 256, warpSize = 32;
/// Rows that a thread loads at once.
static constexpr int64_t rowsAtOnce = 4;
/// Columns from which on a warp is kept busy side by side.
static constexpr int64_t minColumns = 32;
static constexpr int64_t maxWidth = 8, maxParts = 128, maxSharedBytes = 48 << 10;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static DimExpr productOf(ArrayRef<DimExpr> dims) {
  DimExpr product = DimExpr::constant(1);
  for (const DimExpr &dim : dims)
    product = product * dim;
  return product;
}

//===----------------------------------------------------------------------===//
// The plan
//===----------------------------------------------------------------------===//

/// Sets the extents of `columns` and adds the reduction's input in memory's order.
static bool addInput(ReduceOp reduce, CudaColumns &columns) {
  auto transpose = behindReshapes(reduce.getInput()).getDefiningOp<TransposeOp>();
  if (!transpose)
    return false;
  // [outer, length, inner] to [outer, inner, length].
  ArrayRef<int64_t> order = transpose.getPermutation();
  int64_t rank = order.size(), first = 0;
  while (first < rank && order[first] == first)
    ++first;
  if (first == rank)
    return false;
  int64_t reduced = order[first] - first, inner = rank - first - reduced;
  for (int64_t dim = first; dim < rank; ++dim)
    if (order[dim] != (dim < first + inner ? dim + reduced : dim - inner))
      return false;
  SmallVector<DimExpr> dims = getDims(typeOf(transpose.getInput()));
  CudaColumns found{productOf(ArrayRef(dims).take_front(first)), productOf(ArrayRef(dims).slice(first, reduced)),
                    productOf(ArrayRef(dims).drop_front(first + reduced)), {}};
  RankedTensorType type = typeOf(reduce.getInput());
  if (found.length != getDim(type, type.getRank() - 1))
    return false;
  if (columns.inputs.empty())
    columns.outer = found.outer, columns.length = found.length, columns.inner = found.inner;
  else if (columns.outer != found.outer || columns.length != found.length || columns.inner != found.inner)
    return false;
  columns.inputs.push_back(transpose.getInput());
  return true;
}

/// Whether `value` is computed without any reduction.
static bool isFreeOfReductions(Value value) {
  llvm::DenseSet<Operation *> seen;
  SmallVector<Value> work{value};
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (op && isa<ReduceOp>(op))
      return false;
    if (op && seen.insert(op).second)
      work.append(op->operand_begin(), op->operand_end());
  }
  return true;
}

/// Lanes side by side with a vector each: a warp, or fewer when the columns are few.
static int64_t countLanes(int64_t inner, int64_t width) {
  int64_t lanes = warpSize;
  while (lanes > 4 && lanes / 2 * width >= inner)
    lanes /= 2;
  return lanes;
}

std::optional<CudaColumns> mlsys::planCudaColumns(FusionOp fusion, const FusionStructure &structure,
                                                  const CudaTarget &target) {
  CudaColumns columns;
  int64_t bytes = 0, width = maxWidth;
  for (ReduceOp reduce : structure.reductions) {
    if (!isFreeOfReductions(reduce.getInput()) || !addInput(reduce, columns))
      return std::nullopt;
    Value input = columns.inputs.back();
    width = std::gcd(width, lastExtent(input));
    bytes += getElementBits(getComputeType(typeOf(input).getElementType())) / 8;
  }
  for (Value yielded : fusion.getBody().front().getTerminator()->getOperands())
    if (getNumElements(typeOf(getStoredValue(yielded))) != structure.rows)
      return std::nullopt;
  int64_t inner = evaluateAtHints(columns.inner, fusion), length = evaluateAtHints(columns.length, fusion);
  if (inner < minColumns || threads * maxWidth * bytes > maxSharedBytes)
    return std::nullopt;
  // Four blocks a multiprocessor, but four loads a thread.
  int64_t lanes = countLanes(inner, width);
  int64_t tiles = llvm::divideCeil(inner, lanes * width), rows = threads / lanes * rowsAtOnce;
  columns.parts = std::clamp<int64_t>(std::min(4 * target.multiprocessors / tiles, length / rows), 1, maxParts);
  return columns;
}

//===----------------------------------------------------------------------===//
// The kernels
//===----------------------------------------------------------------------===//

namespace {
/// A block of the first stage (or of the only one), which reads the inputs, or of the second, which reads what the first has
/// written: [parts, rows] for each reduction.
class ColumnStage {
public:
  ColumnStage(KernelBuilder &kernel, const CudaColumns &columns, unsigned stage)
      : kernel(kernel), builder(kernel.builder), loc(kernel.loc), columns(columns), emitter(kernel), math(emitter.index()),
        joins(stage > 0), stores(stage > 0 || columns.parts == 1) {
    if (joins)
      return;
    width = maxWidth;
    for (Value input : columns.inputs)
      width = std::min(width, cudaVectorWidth(emitter, {input}, lastExtent(input)));
    lanes = countLanes(columns.inner.asConstant().value_or(std::numeric_limits<int64_t>::max()), width);
  }

  LogicalResult run(LaunchShape &launch);

private:
  Value bufferOf(unsigned reduction) {
    return kernel.outputs[kernel.outputs.size() - columns.inputs.size() + reduction];
  }
  Value load(unsigned reduction, Value k);
  Value reduceColumns(unsigned reduction);

  KernelBuilder &kernel;
  OpBuilder &builder;
  Location loc;
  const CudaColumns &columns;
  ElementEmitter emitter;
  IndexMath &math;
  /// Whether partial results are read, and whether the outputs are made.
  bool joins, stores;
  int64_t width = 1, lanes = warpSize;
  /// Columns of the block.
  int64_t tile = 0;
  Value thread, outer, column, length, inner, begin, end;
  int64_t sharedBytes = 0;
};
} // namespace

/// The vector of row `k` in this thread's columns.
Value ColumnStage::load(unsigned reduction, Value k) {
  Value linear = math.join(math.join(outer, length, k), inner, column);
  if (joins)
    return emitter.load(bufferOf(reduction), linear, width);
  Value input = columns.inputs[reduction];
  return emitter.emit(input, emitter.delinearize(linear, input), width);
}

/// The element of column `thread` of the tile, in the threads that have one.
Value ColumnStage::reduceColumns(unsigned reduction) {
  ReduceOp reduce = kernel.structure.reductions[reduction];
  ReduceKind kind = reduce.getKind();
  Type element = getComputeType(typeOf(reduce.getInput()).getElementType());
  Type type = width == 1 ? element : Type(VectorType::get({width}, element));
  int64_t groups = threads / lanes;
  Value group = math.div(thread, lanes), neutral = neutralElement(builder, loc, kind, type);
  auto loop = scf::ForOp::create(builder, loc, math.add(begin, group), end, math.constant(groups * rowsAtOnce), neutral);
  builder.setInsertionPointToStart(loop.getBody());
  Value sum = loop.getRegionIterArg(0);
  SmallVector<Value> values, inside;
  for (int64_t row = 0; row < rowsAtOnce; ++row) {
    Value k = math.add(loop.getInductionVar(), row * groups);
    inside.push_back(row == 0 ? Value() : math.less(k, end));
    values.push_back(load(reduction, row == 0 ? k : math.min(k, math.sub(end, math.constant(1)))));
  }
  for (auto [value, condition] : llvm::zip_equal(values, inside)) {
    if (condition)
      value = arith::SelectOp::create(builder, loc, condition, value, neutral);
    sum = emitCombine(builder, loc, kind, sum, value);
  }
  scf::YieldOp::create(builder, loc, sum);
  builder.setInsertionPointAfter(loop);

  Value shared = kernel::SharedOp::create(builder, loc, MemRefType::get({groups * tile}, element), sharedBytes);
  sharedBytes += llvm::alignTo(groups * tile * (getElementBits(element) / 8), 16);
  emitter.store(loop.getResult(0), shared, math.join(group, math.constant(tile), math.mul(math.mod(thread, lanes), width)));
  kernel::BarrierOp::create(builder, loc);
  // The threads beyond the tile read its last column.
  Value mine = math.min(thread, math.constant(tile - 1)), total;
  for (int64_t row = 0; row < groups; ++row) {
    Value value = emitter.load(shared, math.add(mine, row * tile), 1);
    total = total ? emitCombine(builder, loc, kind, total, value) : value;
  }
  return total;
}

LogicalResult ColumnStage::run(LaunchShape &launch) {
  const FusionStructure &structure = kernel.structure;
  tile = lanes * width;
  DimExpr innerDim = joins ? structure.rows : columns.inner;
  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  inner = kernel.extent(innerDim);
  length = joins ? math.constant(columns.parts) : kernel.extent(columns.length);
  Value tiles = math.ceilDiv(inner, tile), firstColumn = math.mul(math.mod(block, tiles), tile);
  Value rest = math.div(block, tiles);
  bool one = joins || columns.outer.asConstant() == 1;
  int64_t parts = joins ? 1 : columns.parts;
  Value part = parts == 1 ? math.constant(0) : one ? rest : math.mod(rest, parts);
  outer = one ? math.constant(0) : math.div(rest, parts);
  Value partLength = math.ceilDiv(length, parts);
  begin = math.mul(part, partLength);
  end = math.min(math.add(begin, partLength), length);
  // A vector beyond the end reads the last one; it is not stored.
  column = math.min(math.add(firstColumn, math.mul(math.mod(thread, lanes), width)), math.sub(inner, math.constant(width)));
  emitGridWait(kernel);

  SmallVector<Value> totals;
  for (unsigned reduction = 0; reduction < columns.inputs.size(); ++reduction)
    totals.push_back(reduceColumns(reduction));
  Value mine = math.add(firstColumn, thread);
  Value inside = math.less(mine, inner);
  if (tile < threads)
    inside = arith::AndIOp::create(builder, loc, inside, math.less(thread, math.constant(tile)));
  storeInside(kernel, inside, [&] {
    Value row = math.join(outer, inner, mine);
    if (!stores) {
      for (auto [reduction, total] : llvm::enumerate(totals))
        emitter.store(total, bufferOf(reduction), math.join(part, kernel.extent(structure.rows), row));
      return;
    }
    for (auto [reduce, total] : llvm::zip_equal(structure.reductions, totals))
      emitter.define(ReduceOp(reduce).getResult(), uniformSource(kernel, total));
    for (unsigned output = 0; output < storedValues(kernel).size(); ++output)
      storeOutput(emitter, kernel, output, row, 1);
  });

  AffineExpr unit = getAffineConstantExpr(1, builder.getContext());
  AffineExpr grid = toLaunchExpr(kernel.fusion, innerDim).ceilDiv(tile);
  if (!joins)
    grid = grid * toLaunchExpr(kernel.fusion, columns.outer) * parts;
  launch.grid = {grid, unit, unit};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  launch.sharedBytes = sharedBytes;
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerColumnsForCuda(KernelBuilder &kernel, const CudaColumns &columns, unsigned stage,
                                         LaunchShape &launch) {
  return ColumnStage(kernel, columns, stage).run(launch);
}
