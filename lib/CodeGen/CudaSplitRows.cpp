//===- CudaSplitRows.cpp - Long rows in parts on CUDA ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Rows that do not fit into the registers of a block are read more than once anyway, so cutting them costs nothing:
// 4096 elements and more are a part, whatever the number of rows. A block computes the partial results of a part,
// or the outputs of one. Up to 256 partial results are joined by every warp for itself, without a barrier.
//
//===----------------------------------------------------------------------===//

#include "CudaReduce.h"
#include "CudaSplit.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t warpSize = 32, threads = 256;
/// Elements that a thread has at a time, and a block.
static constexpr int64_t held = 16, chunk = threads * held;
/// More parts than these would take longer to join than they save.
static constexpr int64_t maxParts = 1024;
/// Partial results that a warp joins by itself.
static constexpr int64_t maxWarpParts = 256;
/// A chain of reductions that depend on each other is a kernel for each.
static constexpr unsigned maxLevels = 3;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static DimExpr reducedExtent(ReduceOp reduce) {
  RankedTensorType type = typeOf(reduce.getInput());
  return getDim(type, type.getRank() - 1);
}

//===----------------------------------------------------------------------===//
// The plan
//===----------------------------------------------------------------------===//

/// The maximum that the terms of a softmax's sum are relative to: of sum(exp(x - max(x))).
static ReduceOp findMaximum(ReduceOp sum) {
  auto exponential = sum.getInput().getDefiningOp<ExpOp>();
  if (sum.getKind() != ReduceKind::sum || !exponential || !typeOf(sum.getInput()).getElementType().isF32())
    return {};
  auto shifted = exponential->getOperand(0).getDefiningOp<SubOp>();
  auto broadcast = shifted ? shifted->getOperand(1).getDefiningOp<BroadcastOp>() : BroadcastOp();
  auto maximum = broadcast ? broadcast.getInput().getDefiningOp<ReduceOp>() : ReduceOp();
  if (!maximum || maximum.getKind() != ReduceKind::max || maximum.getInput() != shifted->getOperand(0))
    return {};
  return maximum;
}

/// Of each reduction, how many others it comes after.
static void findLevels(const FusionStructure &structure, CudaSplit &split) {
  llvm::DenseMap<Operation *, unsigned> known;
  for (ReduceOp reduce : structure.reductions) {
    ReduceOp maximum = findMaximum(reduce);
    unsigned level = 0;
    llvm::DenseSet<Operation *> seen;
    SmallVector<Value> work{reduce.getInput()};
    while (!maximum && !work.empty()) {
      Operation *op = work.pop_back_val().getDefiningOp();
      if (!op || !seen.insert(op).second)
        continue;
      if (auto found = known.find(op); found != known.end())
        level = std::max(level, found->second + 1);
      else
        work.append(op->operand_begin(), op->operand_end());
    }
    if (maximum)
      level = known.lookup(maximum);
    known[reduce] = level;
    split.levels.push_back(level);
    split.maxima.push_back(maximum);
    split.stages = std::max(split.stages, level + 2);
  }
}

std::optional<CudaSplit> mlsys::planCudaSplit(FusionOp fusion, const FusionStructure &structure, const CudaTarget &target) {
  if (structure.kind != FusionKind::Row)
    return std::nullopt;
  CudaSplit split;
  for (ReduceOp reduce : structure.reductions)
    split.temporaries.push_back(getComputeType(typeOf(reduce.getInput()).getElementType()));
  if (std::optional<CudaColumns> columns = planCudaColumns(fusion, structure, target)) {
    if (columns->parts == 1)
      return std::nullopt;
    split.columns = columns;
    split.stages = 2;
    split.levels.assign(structure.reductions.size(), 0);
    split.elements = structure.rows * DimExpr::constant(columns->parts);
    return split;
  }
  split.length = reducedExtent(structure.reductions.front());
  for (ReduceOp reduce : structure.reductions)
    if (reducedExtent(reduce) != split.length)
      return std::nullopt;
  int64_t length = evaluateAtHints(split.length, fusion);
  if (length <= maxHeldColumns)
    return std::nullopt;
  findLevels(structure, split);
  if (split.stages > maxLevels + 1)
    return std::nullopt;
  int64_t partColumns = std::max<int64_t>(chunk, llvm::alignTo(llvm::divideCeil(length, maxParts), chunk));
  split.parts = llvm::divideCeil(length, partColumns);
  split.elements = structure.rows * DimExpr::constant(split.parts);
  for (Value yielded : fusion.getBody().front().getTerminator()->getOperands())
    split.wideOutputs |= getNumElements(typeOf(getStoredValue(yielded))).divideBy(structure.rows) == split.length;
  return split;
}

//===----------------------------------------------------------------------===//
// A stage
//===----------------------------------------------------------------------===//

namespace {
class SplitRows {
public:
  SplitRows(KernelBuilder &kernel, const CudaSplit &split, unsigned stage)
      : kernel(kernel), builder(kernel.builder), loc(kernel.loc), split(split), stage(stage), emitter(kernel),
        math(emitter.index()), last(stage + 1 == split.stages), whole(last && !split.wideOutputs) {}

  LogicalResult run(LaunchShape &launch);

private:
  /// Where the vectors of a thread lie, and which of them count (null: it does).
  struct Chunk {
    SmallVector<Value> places, inside;
  };

  Value bufferOf(unsigned reduction) { return kernel.outputs[kernel.outputs.size() - split.levels.size() + reduction]; }
  unsigned numberOf(ReduceOp reduce) { return llvm::find(kernel.structure.reductions, reduce) - kernel.structure.reductions.begin(); }
  bool isWide(Value stored) {
    return getNumElements(typeOf(stored)).divideBy(kernel.structure.rows) == split.length;
  }
  Value clamp(Value maximum);
  Value join(unsigned reduction);
  Chunk chunkAt(Value base);
  /// Calls `body` for each chunk of the part, with what it has returned for the one before.
  Value forChunks(Value initial, llvm::function_ref<Value(const Chunk &, Value)> body);
  void loadInputs();
  Value reducePart(ReduceOp reduce);
  void storeWideOutputs();

  KernelBuilder &kernel;
  OpBuilder &builder;
  Location loc;
  const CudaSplit &split;
  unsigned stage;
  ElementEmitter emitter;
  IndexMath &math;
  /// Whether the outputs are made here, and by one block for each row.
  bool last, whole;
  int64_t width = 1;
  Value row, part, thread, extent, begin, end;
  /// The only chunk of a part: its values stay in registers from one reduction to the next.
  std::optional<Chunk> only;
};
} // namespace

/// A maximum to be relative to. When all elements of a part are -inf it is finite, so that they give 0, not NaN.
Value SplitRows::clamp(Value maximum) {
  Type type = maximum.getType();
  Value lowest = arith::ConstantOp::create(builder, loc, builder.getFloatAttr(type, std::numeric_limits<float>::lowest()));
  return arith::MaximumFOp::create(builder, loc, maximum, lowest);
}

/// A reduction of the row from the results of its parts, the same in every thread.
Value SplitRows::join(unsigned reduction) {
  ReduceOp reduce = kernel.structure.reductions[reduction];
  RowScope scope = split.parts <= maxWarpParts ? RowScope::Warp : RowScope::Block;
  int64_t step = scope == RowScope::Warp ? warpSize : threads;
  Value lane = scope == RowScope::Warp ? math.mod(thread, warpSize) : thread;
  Value parts = math.constant(split.parts), total, first = neutralElement(builder, loc, reduce.getKind(), split.temporaries[reduction]);
  for (int64_t start = 0; start < split.parts; start += step) {
    Value number = math.add(lane, start), inside;
    if (start + step > split.parts) {
      inside = math.less(number, parts);
      number = math.min(number, math.constant(split.parts - 1));
    }
    Value place = math.join(row, parts, number);
    Value value = emitter.load(bufferOf(reduction), place, 1);
    if (ReduceOp maximum = split.maxima[reduction]) {
      Value own = clamp(emitter.load(bufferOf(numberOf(maximum)), place, 1));
      Value difference = arith::SubFOp::create(builder, loc, own, emitter.emit(maximum.getResult(), {}, 1));
      value = arith::MulFOp::create(builder, loc, value, math::ExpOp::create(builder, loc, difference));
    }
    if (inside)
      value = arith::SelectOp::create(builder, loc, inside, value, first);
    total = total ? emitCombine(builder, loc, reduce.getKind(), total, value) : value;
  }
  return joinThreads(kernel, reduce.getKind(), total, scope);
}

SplitRows::Chunk SplitRows::chunkAt(Value base) {
  Chunk result;
  std::optional<int64_t> known = split.length.asConstant();
  bool exact = known && *known % chunk == 0;
  for (int64_t vector = 0; vector < held / width; ++vector) {
    Value column = math.add(base, math.mul(math.add(thread, vector * threads), width));
    // A vector beyond the end reads the last one; what it has counts for nothing.
    result.inside.push_back(exact ? Value() : math.less(column, extent));
    if (!exact)
      column = math.min(column, math.sub(extent, math.constant(width)));
    result.places.push_back(math.join(row, extent, column));
  }
  return result;
}

Value SplitRows::forChunks(Value initial, llvm::function_ref<Value(const Chunk &, Value)> body) {
  if (only)
    return body(*only, initial);
  auto loop = scf::ForOp::create(builder, loc, begin, end, math.constant(chunk), initial ? ValueRange(initial) : ValueRange());
  OpBuilder::InsertionGuard restore(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value next = body(chunkAt(loop.getInductionVar()), initial ? loop.getRegionIterArg(0) : Value());
  if (!initial)
    return {};
  scf::YieldOp::create(builder, loc, next);
  return loop.getResult(0);
}

/// Loads the inputs that have the rows' shape before partial results are joined, so that both are under way at once.
void SplitRows::loadInputs() {
  ReduceOp first = kernel.structure.reductions.front();
  RankedTensorType shape = typeOf(first.getInput());
  for (BlockArgument argument : kernel.fusion.getBody().front().getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (type && getDims(type) == getDims(shape) && emitter.canVectorize(argument, width))
      for (Value place : only->places)
        emitter.emit(argument, emitter.delinearize(place, argument), width);
  }
}

/// A reduction of the part, the same in every thread.
Value SplitRows::reducePart(ReduceOp reduce) {
  Type element = getComputeType(typeOf(reduce.getInput()).getElementType());
  Type type = width == 1 ? element : Type(VectorType::get({width}, element));
  Value neutral = neutralElement(builder, loc, reduce.getKind(), type);
  Value partial = forChunks(neutral, [&](const Chunk &at, Value sum) {
    SmallVector<Value> values;
    for (Value place : at.places)
      values.push_back(emitter.emit(reduce.getInput(), emitter.delinearize(place, reduce.getInput()), width));
    for (auto [value, condition] : llvm::zip_equal(values, at.inside)) {
      if (condition)
        value = arith::SelectOp::create(builder, loc, condition, value, neutral);
      sum = emitCombine(builder, loc, reduce.getKind(), sum, value);
    }
    return sum;
  });
  return joinThreads(kernel, reduce.getKind(), partial, RowScope::Block);
}

void SplitRows::storeWideOutputs() {
  SmallVector<std::pair<unsigned, Value>> outputs;
  for (auto [output, stored] : llvm::enumerate(storedValues(kernel)))
    if (isWide(stored))
      outputs.push_back({output, stored});
  forChunks({}, [&](const Chunk &at, Value) {
    // Every load is before the first store, which the compiler could not move it over.
    for (Value place : at.places)
      for (auto [output, stored] : outputs)
        emitter.emit(stored, emitter.delinearize(place, stored), width);
    for (auto [place, condition] : llvm::zip_equal(at.places, at.inside))
      storeInside(kernel, condition, [&, place = place] {
        for (auto [output, stored] : outputs)
          storeOutput(emitter, kernel, output, place, width);
      });
    return Value();
  });
}

LogicalResult SplitRows::run(LaunchShape &launch) {
  const FusionStructure &structure = kernel.structure;
  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  row = whole ? block : math.div(block, split.parts);
  part = whole ? math.constant(0) : math.mod(block, split.parts);
  std::optional<int64_t> known = split.length.asConstant();
  extent = kernel.extent(split.length);
  Value partColumns = math.mul(math.ceilDiv(extent, split.parts * chunk), chunk);
  begin = math.mul(part, partColumns);
  end = math.min(math.add(begin, partColumns), extent);
  width = 8;
  int64_t factor = known ? *known : split.length.commonFactor();
  for (auto [reduction, reduce] : llvm::enumerate(SmallVector<ReduceOp>(structure.reductions)))
    if (split.levels[reduction] == stage)
      width = std::min(width, cudaVectorWidth(emitter, {reduce.getInput()}, factor));
  if (last)
    for (Value stored : storedValues(kernel))
      if (isWide(stored))
        width = std::min(width, cudaVectorWidth(emitter, {stored}, std::gcd(factor, lastExtent(stored))));
  emitGridWait(kernel);
  if (known && !whole && llvm::divideCeil(*known, split.parts * chunk) == 1) {
    only = chunkAt(begin);
    loadInputs();
  }
  for (unsigned reduction = 0; reduction < split.levels.size(); ++reduction)
    if (split.levels[reduction] < stage) {
      ReduceOp reduce = structure.reductions[reduction];
      emitter.define(reduce.getResult(), uniformSource(kernel, join(reduction)));
    }
  SmallVector<std::pair<unsigned, Value>> partials;
  for (unsigned reduction = 0; reduction < split.levels.size(); ++reduction) {
    if (split.levels[reduction] != stage)
      continue;
    ReduceOp reduce = structure.reductions[reduction];
    Value partial = reducePart(reduce);
    partials.push_back({reduction, partial});
    if (llvm::is_contained(split.maxima, reduce))
      emitter.define(reduce.getResult(), uniformSource(kernel, clamp(partial)));
  }
  if (!partials.empty())
    storeInside(kernel, math.less(thread, math.constant(1)), [&] {
      for (auto [reduction, partial] : partials)
        emitter.store(partial, bufferOf(reduction), math.join(row, math.constant(split.parts), part));
    });

  if (last && split.wideOutputs)
    storeWideOutputs();
  bool allWide = llvm::all_of(storedValues(kernel), [&](Value stored) { return isWide(stored); });
  if (last && !allWide)
    storeInside(kernel, whole ? Value() : math.less(part, math.constant(1)),
                [&] { emitOutputLoops(emitter, kernel, row, thread, threads, split.length); });

  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  launch.grid = {toLaunchExpr(kernel.fusion, whole ? structure.rows : split.elements), one, one};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerSplitForCuda(KernelBuilder &kernel, const CudaSplit &split, unsigned stage, LaunchShape &launch) {
  if (split.columns)
    return lowerColumnsForCuda(kernel, *split.columns, stage, launch);
  return SplitRows(kernel, split, stage).run(launch);
}
