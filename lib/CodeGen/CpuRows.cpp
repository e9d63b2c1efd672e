//===- CpuRows.cpp - Kernels of kind row on the CPU -----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// One row at a time: passes over the row for its reductions (those that do not
// depend on each other share a pass), then passes for the outputs. A row is
// reduced by one thread in a fixed order, so results do not depend on the
// number of threads nor on that of rows.
//
//===----------------------------------------------------------------------===//

#include "CpuLoops.h"
#include "ElementMath.h"
#include "mlsys/CodeGen/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Vector accumulators of one reduction: they hide the latency of additions.
static constexpr int64_t numAccumulators = 4;
/// Rows of at most so many f32 are kept between passes.
static constexpr int64_t maxKept = 16384;
/// At most so many vectors of a row are unrolled: most of the registers of AVX-512.
static constexpr int64_t maxUnrolled = 24;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
class RowKernel {
public:
  RowKernel(KernelBuilder &kernel, const CpuTarget &target)
      : kernel(kernel), target(target), emitter(kernel), math(emitter.index()) {}

  LogicalResult lower(LaunchShape &launch);

private:
  /// Reductions of one pass: rows of equal length, none needs another.
  struct Pass {
    DimExpr columns;
    SmallVector<ReduceOp> reductions;
    /// Values that are slow to compute and needed again, with the row of memory that they are kept in.
    SmallVector<std::pair<Value, Value>> kept;
  };

  SmallVector<Pass> getPasses();
  void findKept(SmallVectorImpl<Pass> &passes);
  void findReciprocals();
  bool onlyRoundedExponentials();
  void emitPass(Pass &pass, Value row, bool streaming);
  /// Vectors of `width` elements that are unrolled at most.
  int64_t mostUnrolled(int64_t width) const {
    return width > target.vectorWidth ? maxUnrolled * target.vectorWidth / width : maxUnrolled;
  }
  void prefetch(Value row, Value column, int64_t count, int64_t half);
  void emitOutputs(Value row, bool streaming);
  SmallVector<Value> accumulate(Pass &pass, Value row, Value column, int64_t width,
                                int64_t accumulators, ValueRange carried);
  Value combine(ReduceOp reduce, Value lhs, Value rhs);
  Value combineLanes(ReduceOp reduce, Value vector);
  SmallVector<Value> indicesOf(Value value, Value row, const DimExpr &columns, Value column);
  Value sizeOf(const DimExpr &dim) {
    return dim.asConstant() ? math.constant(*dim.asConstant()) : kernel.extent(dim);
  }

  KernelBuilder &kernel;
  const CpuTarget &target;
  ElementEmitter emitter;
  IndexMath &math;
  /// Inputs that are read once a row, element by element.
  llvm::SetVector<BlockArgument> streams;
  /// Maxima that only a softmax reads.
  llvm::DenseSet<Operation *> softmaxMaxima;
  /// The longest of the passes' rows.
  DimExpr longest;
  /// The last pass takes long.
  bool slow = false;
  /// The elements of a vector at most.
  int64_t widest = 1;
};
} // namespace

/// The reductions that `value` needs, directly or not.
static void collectReductions(Value value, llvm::DenseSet<Operation *> &seen,
                              SmallVectorImpl<ReduceOp> &found) {
  Operation *op = value.getDefiningOp();
  if (!op || !seen.insert(op).second)
    return;
  if (auto reduce = dyn_cast<ReduceOp>(op))
    found.push_back(reduce);
  for (Value operand : op->getOperands())
    collectReductions(operand, seen, found);
}

SmallVector<RowKernel::Pass> RowKernel::getPasses() {
  // A reduction's level is one more than that of all that it needs.
  llvm::DenseMap<Operation *, int64_t> levels;
  std::map<std::pair<int64_t, std::string>, Pass> passes;
  for (ReduceOp reduce : kernel.structure.reductions) {
    llvm::DenseSet<Operation *> seen;
    SmallVector<ReduceOp> needed;
    collectReductions(reduce.getInput(), seen, needed);
    int64_t level = 0;
    for (ReduceOp other : needed)
      level = std::max(level, levels.lookup(other) + 1);
    levels[reduce] = level;
    RankedTensorType type = typeOf(reduce.getInput());
    DimExpr columns = getDim(type, type.getRank() - 1);
    Pass &pass = passes[{level, columns.str()}];
    pass.columns = columns;
    pass.reductions.push_back(reduce);
  }
  SmallVector<Pass> result;
  for (auto &[key, pass] : passes)
    result.push_back(pass);
  return result;
}

/// The indices of element `column` of the row's part of a value.
SmallVector<Value> RowKernel::indicesOf(Value value, Value row, const DimExpr &columns,
                                        Value column) {
  return emitter.delinearize(math.join(row, sizeOf(columns), column), value);
}

/// One step of a pass: `accumulators` vectors for each reduction.
SmallVector<Value> RowKernel::accumulate(Pass &pass, Value row, Value column, int64_t width,
                                         int64_t accumulators, ValueRange carried) {
  SmallVector<Value> next(carried);
  for (int64_t lane = 0; lane < accumulators; ++lane) {
    Value at = math.add(column, lane * width);
    for (auto [index, reduce] : llvm::enumerate(pass.reductions)) {
      Value element =
          emitter.emit(reduce.getInput(), indicesOf(reduce.getInput(), row, pass.columns, at), width);
      Value &total = next[index * accumulators + lane];
      total = combine(reduce, total, element);
    }
    for (auto [value, memory] : pass.kept)
      emitter.store(emitter.emit(value, indicesOf(value, row, pass.columns, at), width), memory, at);
  }
  return next;
}

/// Halves the vector until one element is left.
Value RowKernel::combineLanes(ReduceOp reduce, Value value) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type)
    return value;
  for (int64_t width = type.getDimSize(0); width > 1; width /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < width / 2; ++lane) {
      low.push_back(lane);
      high.push_back(lane + width / 2);
    }
    value = combine(reduce, vector::ShuffleOp::create(builder, loc, value, value, low),
                    vector::ShuffleOp::create(builder, loc, value, value, high));
  }
  return vector::ExtractOp::create(builder, loc, value, 0);
}

/// What `value` needs at its own element number and in its own row.
static void collectElementwise(Value value, llvm::SetVector<Value> &found) {
  Operation *op = value.getDefiningOp();
  if (!op || !isElementwise(op) || !found.insert(value))
    return;
  for (Value operand : op->getOperands())
    collectElementwise(operand, found);
}

/// The functions that a pass computes and another needs too are computed once, when a row has room.
void RowKernel::findKept(SmallVectorImpl<Pass> &passes) {
  llvm::SetVector<Value> needed;
  for (const StoredValue &output : getStoredValues(kernel))
    collectElementwise(output.value, needed);
  for (Pass &pass : llvm::reverse(passes)) {
    llvm::SetVector<Value> computed;
    for (ReduceOp reduce : pass.reductions)
      collectElementwise(reduce.getInput(), computed);
    std::optional<int64_t> known = pass.columns.asConstant();
    for (Value value : computed) {
      bool slow = isa<ExpOp, LogOp, TanhOp, ErfOp, SinOp, CosOp, PowOp, SigmoidOp, SiluOp>(
          value.getDefiningOp());
      RankedTensorType type = typeOf(value);
      if (slow && needed.contains(value) && known && *known <= maxKept &&
          getDim(type, type.getRank() - 1) == pass.columns &&
          getComputeType(type.getElementType()).isF32())
        pass.kept.push_back({value, kernel.allocScratch(*known, kernel.builder.getF32Type())});
    }
    needed.insert_range(computed);
  }
}

namespace {
/// The parts of a quotient whose divisor is the sum over a row of exponentials of differences to the row's
/// maximum: at least 1, so that its reciprocal is a normal number.
struct Softmax {
  ReduceOp sum, max;
  /// Its dividend is those exponentials, and nothing else reads them or what they are made of.
  bool alone = false;
};
} // namespace

static std::optional<Softmax> getSoftmax(DivOp divide) {
  auto broadcast = divide.getRhs().getDefiningOp<BroadcastOp>();
  auto sum = broadcast ? broadcast.getInput().getDefiningOp<ReduceOp>() : ReduceOp();
  auto exp = sum && sum.getKind() == ReduceKind::sum ? sum.getInput().getDefiningOp<ExpOp>() : ExpOp();
  auto shifted = exp ? exp.getInput().getDefiningOp<SubOp>() : SubOp();
  auto maximum = shifted ? shifted.getRhs().getDefiningOp<BroadcastOp>() : BroadcastOp();
  auto max = maximum ? maximum.getInput().getDefiningOp<ReduceOp>() : ReduceOp();
  bool matches = max && max.getKind() == ReduceKind::max && max.getInput() == shifted.getLhs();
  if (!matches || broadcast.getDims() != maximum.getDims())
    return std::nullopt;
  Softmax softmax{sum, max};
  auto usedOnce = [](Operation *op) { return op->hasOneUse(); };
  softmax.alone = divide.getLhs() == exp.getResult() && usedOnce(broadcast) && usedOnce(sum) &&
                  usedOnce(shifted) && usedOnce(maximum) && usedOnce(max) &&
                  llvm::all_of(exp->getUsers(), [&](Operation *user) { return user == divide || user == sum; });
  return softmax;
}

/// Softmax multiplies with the reciprocal of a row's sum.
void RowKernel::findReciprocals() {
  for (auto divide : kernel.fusion.getBody().front().getOps<DivOp>()) {
    std::optional<Softmax> softmax = getSoftmax(divide);
    if (!softmax)
      continue;
    if (softmax->alone)
      softmaxMaxima.insert(softmax->max);
    Value sum = softmax->sum.getResult();
    auto broadcast = divide.getRhs().getDefiningOp<BroadcastOp>();
    emitter.bind(divide.getResult(), [this, divide, broadcast, sum](ValueRange indices, int64_t width) mutable -> Value {
      OpBuilder &builder = kernel.builder;
      Location loc = kernel.loc;
      SmallVector<Value> inner;
      for (int64_t dim : broadcast.getDims())
        inner.push_back(indices[dim]);
      Value total = emitter.emit(sum, inner, 1);
      Value one = arith::ConstantOp::create(builder, loc, builder.getFloatAttr(total.getType(), 1));
      Value reciprocal = arith::DivFOp::create(builder, loc, one, total);
      if (width > 1)
        reciprocal = vector::BroadcastOp::create(
            builder, loc, VectorType::get({width}, total.getType()), reciprocal);
      return arith::MulFOp::create(builder, loc, emitter.emit(divide.getLhs(), indices, width),
                                   reciprocal);
    });
  }
}

static bool hasHalfType(Value value) {
  Type element = typeOf(value).getElementType();
  return isa<FloatType>(element) && getElementBits(element) == 16;
}

/// Whether all exponentials are a softmax's whose results have 16 bits: an error of an exponential is
/// then one of the result, in parts of it, and far below its rounding.
bool RowKernel::onlyRoundedExponentials() {
  Block &body = kernel.fusion.getBody().front();
  llvm::DenseSet<Operation *> rounded;
  for (auto divide : body.getOps<DivOp>()) {
    std::optional<Softmax> softmax = getSoftmax(divide);
    bool halves = hasHalfType(divide) || llvm::all_of(divide->getUsers(), [](Operation *user) {
                    return isa<ConvertOp>(user) && hasHalfType(user->getResult(0));
                  });
    if (softmax && softmax->alone && halves)
      rounded.insert(divide.getLhs().getDefiningOp());
  }
  return llvm::none_of(body, [&](Operation &op) {
    return isa<SigmoidOp, SiluOp>(op) || (isa<ExpOp>(op) && !rounded.contains(&op));
  });
}

/// The larger of a softmax's numbers: a NaN may be left out, since its exponential is in the sum.
Value RowKernel::combine(ReduceOp reduce, Value lhs, Value rhs) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  if (!softmaxMaxima.contains(reduce))
    return emitCombine(builder, loc, reduce.getKind(), lhs, rhs);
  Value greater = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, rhs, lhs);
  return arith::SelectOp::create(builder, loc, greater, rhs, lhs);
}

void RowKernel::emitPass(Pass &pass, Value row, bool streaming) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  for (auto [value, memory] : pass.kept)
    emitter.unbind(value);
  SmallVector<Value> inputs;
  for (ReduceOp reduce : pass.reductions)
    inputs.push_back(reduce.getInput());
  int64_t width = chooseWidth(emitter, inputs, pass.columns, widest);
  std::optional<int64_t> known = pass.columns.asConstant();
  bool unrolled = known && *known / width + *known % width <= mostUnrolled(width);
  int64_t accumulators = unrolled ? std::clamp<int64_t>(*known / width, 1, numAccumulators)
                                  : numAccumulators;
  int64_t step = accumulators * width;

  SmallVector<Value> totals;
  for (ReduceOp reduce : pass.reductions) {
    Type element = getComputeType(typeOf(reduce.getResult()).getElementType());
    TypedAttr neutral = getNeutral(builder, reduce.getKind(), element);
    if (width > 1)
      neutral = DenseElementsAttr::get(VectorType::get({width}, element), {Attribute(neutral)});
    Value start = arith::ConstantOp::create(builder, loc, neutral);
    totals.append(accumulators, start);
  }
  // Steps of all accumulators, ...
  Value size = sizeOf(pass.columns), zero = math.constant(0);
  Value wideEnd = math.mul(math.div(size, step), step);
  int64_t unrolledEnd = 0;
  if (unrolled) {
    for (; unrolledEnd + step <= *known; unrolledEnd += step)
      totals = accumulate(pass, row, math.constant(unrolledEnd), width, accumulators, totals);
  } else {
    totals = emitFor(kernel, zero, wideEnd, math.constant(step), totals,
                     [&](Value column, ValueRange carried) {
                       if (streaming)
                         prefetch(row, column, step, 0);
                       return accumulate(pass, row, column, width, accumulators, carried);
                     });
  }
  SmallVector<Value> single;
  for (auto [index, reduce] : llvm::enumerate(pass.reductions)) {
    SmallVector<Value> parts(ArrayRef(totals).slice(index * accumulators, accumulators));
    while (parts.size() > 1) {
      SmallVector<Value> halves;
      for (size_t part = 0; part + 1 < parts.size(); part += 2)
        halves.push_back(
            combine(reduce, parts[part], parts[part + 1]));
      if (parts.size() % 2)
        halves.push_back(parts.back());
      parts = halves;
    }
    single.push_back(parts.front());
  }
  // ... single vectors, ...
  Value vectorEnd = math.mul(math.div(size, width), width);
  if (unrolled) {
    for (; unrolledEnd + width <= *known; unrolledEnd += width)
      single = accumulate(pass, row, math.constant(unrolledEnd), width, 1, single);
  } else if (wideEnd != vectorEnd) {
    single = emitFor(kernel, wideEnd, vectorEnd, math.constant(width), single,
                     [&](Value column, ValueRange carried) {
                       return accumulate(pass, row, column, width, 1, carried);
                     });
  }
  // ... the lanes, and what remains of the row.
  for (auto [total, reduce] : llvm::zip_equal(single, pass.reductions))
    total = combineLanes(reduce, total);
  if (unrolled) {
    for (; unrolledEnd < *known; ++unrolledEnd)
      single = accumulate(pass, row, math.constant(unrolledEnd), 1, 1, single);
  } else if (vectorEnd != size) {
    single = emitFor(kernel, vectorEnd, size, math.constant(1), single,
                     [&](Value column, ValueRange carried) {
                       return accumulate(pass, row, column, 1, 1, carried);
                     });
  }
  for (auto [total, reduce] : llvm::zip_equal(single, pass.reductions))
    emitter.bind(reduce.getResult(), [&kernel = kernel, total = total](ValueRange, int64_t width) -> Value {
      if (width == 1)
        return total;
      return vector::BroadcastOp::create(kernel.builder, kernel.loc,
                                         VectorType::get({width}, total.getType()), total);
    });
  for (auto [value, memory] : pass.kept)
    emitter.bind(value, [this, memory = memory](ValueRange indices, int64_t width) {
      return emitter.load(memory, indices.back(), width);
    });
}

/// Outputs with equally long rows share a pass.
void RowKernel::emitOutputs(Value row, bool streaming) {
  std::map<std::string, SmallVector<StoredValue>> byLength;
  for (const StoredValue &output : getStoredValues(kernel)) {
    std::optional<DimExpr> columns =
        getNumElements(typeOf(output.value)).divideBy(kernel.structure.rows);
    byLength[columns->str()].push_back(output);
  }
  for (auto &[text, outputs] : byLength) {
    DimExpr columns = *DimExpr::parse(text);
    SmallVector<Value> values;
    for (const StoredValue &output : outputs)
      values.push_back(output.value);
    // A row of an output may be several of its last dimensions.
    int64_t width = 1;
    for (int64_t candidate = widest; candidate >= 4 && width == 1; candidate /= 2) {
      bool divides = llvm::all_of(values, [&](Value value) {
        RankedTensorType type = typeOf(value);
        DimExpr last = type.getRank() ? getDim(type, type.getRank() - 1) : DimExpr::constant(1);
        std::optional<int64_t> known = last.asConstant();
        return last == columns ? !known || *known >= candidate : known && *known % candidate == 0;
      });
      if (divides && columns != DimExpr::constant(1) &&
          llvm::all_of(values, [&](Value value) { return emitter.canVectorize(value, candidate); }))
        width = candidate;
    }
    bool past = streaming && columns == longest;
    ColumnUnrolling unrolling;
    unrolling.whole = mostUnrolled(width);
    unrolling.vectors = numAccumulators;
    unrolling.before = [&](Value column) {
      if (past)
        prefetch(row, column, width * numAccumulators, 1);
    };
    auto emitElements = [&](Value column, int64_t step) {
      Value linear = math.join(row, sizeOf(columns), column);
      for (const StoredValue &output : outputs)
        emitStore(kernel, emitter, output, indicesOf(output.value, row, columns, column), linear, step,
                  past);
    };
    emitColumns(kernel, math, math.constant(0), sizeOf(columns), width, emitElements, unrolling);
  }
}

/// A step of `count` columns from `column` on fetches its share of the next row, so that memory is not
/// idle in passes over the caches: all of the row in a pass that takes long, otherwise one half in the last
/// pass and one while the row is written.
void RowKernel::prefetch(Value row, Value column, int64_t count, int64_t half) {
  Value size = sizeOf(longest), next = math.add(row, 1);
  if (slow && half == 1)
    return;
  Value start = math.join(next, size, slow ? column : math.div(column, 2));
  if (half == 1)
    start = math.add(start, math.div(size, 2));
  for (BlockArgument input : streams)
    emitPrefetch(kernel, math, kernel.bufferOf(input), start, slow ? count : count / 2);
}

LogicalResult RowKernel::lower(LaunchShape &launch) {
  SmallVector<Pass> passes = getPasses();
  findKept(passes);
  findReciprocals();
  const DimExpr &rows = kernel.structure.rows;
  int64_t rowElements = 1;
  for (Pass &pass : passes) {
    int64_t elements = pass.columns.asConstant().value_or(getElementsPerTask(kernel.fusion));
    if (elements >= rowElements)
      longest = pass.columns;
    rowElements = std::max(rowElements, elements);
  }
  int64_t rowsPerTask = std::max<int64_t>(1, getElementsPerTask(kernel.fusion) / rowElements);
  launch.grid = {toLaunchExpr(kernel.fusion, rows).ceilDiv(rowsPerTask)};
  for (Pass &pass : passes)
    if (pass.columns == longest)
      for (ReduceOp reduce : pass.reductions)
        collectStreams(reduce.getInput(), streams);
  slow = !passes.empty() && !passes.back().kept.empty();
  // (Where rows are only moved and added up, wider steps are slower.)
  widest = slow ? widestVector(kernel, target, longest) : target.vectorWidth;
  auto markRough = [&] {
    if (onlyRoundedExponentials())
      kernel.function.walk([&](math::ExpOp exp) { exp->setAttr(roughAttrName, kernel.builder.getUnitAttr()); });
  };
  auto emitRow = [&](Value row, bool streaming) {
    for (Pass &pass : passes)
      emitPass(pass, row, streaming && pass.columns == longest && &pass == &passes.back());
    emitOutputs(row, streaming);
  };
  if (rows.asConstant() == 1) {
    emitRow(math.constant(0), false);
    markRough();
    return success(!kernel.failed);
  }
  emitStreamingChoice(kernel, math, target, longest, widest, [&](bool streaming) {
    Value end = math.min(math.mul(kernel.end, rowsPerTask), sizeOf(rows));
    emitFor(kernel, math.mul(kernel.begin, rowsPerTask), end, math.constant(1), {},
            [&](Value row, ValueRange) {
              emitRow(row, streaming);
              return SmallVector<Value>();
            });
  });
  markRough();
  return success(!kernel.failed);
}

LogicalResult mlsys::lowerRowForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                    LaunchShape &launch) {
  return RowKernel(kernel, target).lower(launch);
}
