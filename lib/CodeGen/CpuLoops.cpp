//===- CpuLoops.cpp - Kernels of kind loop on the CPU ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The elements of the first output, in rows of its last dimension. Tasks are
// runs of rows or, where there are few and long rows, pieces of rows.
//
//===----------------------------------------------------------------------===//

#include "CpuLoops.h"

#include "KernelOutliner.h"
#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// So many elements ahead of their use inputs are fetched.
static constexpr int64_t prefetchDistance = 2048;
/// Vectors of a step of a loop over long rows.
static constexpr int64_t vectorsPerStep = 4;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

int64_t mlsys::getElementsPerTask(FusionOp fusion) {
  bool slow = llvm::any_of(fusion.getBody().front(), [](Operation &op) {
    return isa<ExpOp, LogOp, TanhOp, SigmoidOp, ErfOp, SinOp, CosOp, PowOp>(op);
  });
  return slow ? 1024 : 4096;
}

SmallVector<Value>
mlsys::emitFor(KernelBuilder &kernel, Value begin, Value end, Value step, ValueRange carried,
               function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(kernel.builder, kernel.loc, begin, end, step, carried);
  OpBuilder::InsertionGuard guard(kernel.builder);
  Block *block = loop.getBody();
  if (block->mightHaveTerminator())
    block->getTerminator()->erase();
  kernel.builder.setInsertionPointToEnd(block);
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(kernel.builder, kernel.loc, next);
  return SmallVector<Value>(loop.getResults());
}

void mlsys::emitColumns(KernelBuilder &kernel, IndexMath &math, Value begin, Value end,
                        int64_t width, function_ref<void(Value, int64_t)> body,
                        const ColumnUnrolling &unrolling) {
  std::optional<int64_t> first = getConstantIntValue(begin), last = getConstantIntValue(end);
  if (first && last && (*last - *first) / width + (*last - *first) % width <= unrolling.whole) {
    int64_t column = *first;
    for (; column + width <= *last; column += width)
      body(math.constant(column), width);
    for (; column < *last; ++column)
      body(math.constant(column), 1);
    return;
  }
  // Steps of several vectors, then of one, then elements; each ends where less than one remains.
  Value at = begin;
  auto emitSteps = [&](int64_t step, function_ref<void(Value)> emitStep) {
    Value stop = math.add(at, math.mul(math.div(math.sub(end, at), step), step));
    if (stop == at)
      return;
    emitFor(kernel, at, stop, math.constant(step), {}, [&](Value column, ValueRange) {
      emitStep(column);
      return SmallVector<Value>();
    });
    at = stop;
  };
  if (unrolling.vectors > 1)
    emitSteps(unrolling.vectors * width, [&](Value column) {
      if (unrolling.before)
        unrolling.before(column);
      for (int64_t vector = 0; vector < unrolling.vectors; ++vector)
        body(math.add(column, vector * width), width);
    });
  if (at != end)
    emitSteps(width, [&](Value column) { body(column, width); });
  if (at != end && width > 1)
    emitSteps(1, [&](Value column) { body(column, 1); });
}

SmallVector<StoredValue> mlsys::getStoredValues(KernelBuilder &kernel) {
  SmallVector<StoredValue> result;
  Block &body = kernel.fusion.getBody().front();
  for (auto [position, value] : llvm::enumerate(body.getTerminator()->getOperands()))
    if (isa<RankedTensorType>(value.getType()))
      result.push_back({value, kernel.bufferOfOutput(position), {}});
  for (auto write : body.getOps<CacheWriteOp>())
    result.push_back({write.getInput(), {}, write});
  return result;
}

/// Whether vectors of an output can go past the caches. Such stores are not ordered with others, but no
/// fence is needed: a worker ends its share, and the caller starts the next job, with a locked instruction,
/// which waits until they are done.
static bool canStream(const StoredValue &stored, int64_t width) {
  constexpr int64_t minBits = 128;
  int64_t bits = getElementBits(typeOf(stored.value).getElementType());
  return !stored.write && bits > 1 && width * bits >= minBits;
}

void mlsys::emitStore(KernelBuilder &kernel, ElementEmitter &emitter, const StoredValue &stored,
                      ValueRange indices, Value linear, int64_t width, bool streaming) {
  Value element = emitter.emit(stored.value, indices, width);
  if (CacheWriteOp write = stored.write)
    emitCacheStore(emitter, kernel, write, element, indices, width);
  else
    emitter.store(element, stored.buffer, linear, streaming && canStream(stored, width));
}

/// The largest that a number can be; nothing when it has no bound.
static std::optional<int64_t> getUpperBound(FusionOp fusion, const DimExpr &dim) {
  auto function = fusion->getParentOfType<func::FuncOp>();
  bool bounded = true;
  int64_t value = dim.evaluate([&](StringRef name) -> int64_t {
    SymbolAttr symbol = function ? getSymbol(function, name) : SymbolAttr();
    bounded &= symbol && symbol.getMax() >= 0;
    return symbol ? symbol.getMax() : 0;
  });
  return bounded ? std::optional(value) : std::nullopt;
}

void mlsys::emitStreamingChoice(KernelBuilder &kernel, IndexMath &math, const CpuTarget &target,
                                const DimExpr &columns, int64_t width,
                                function_ref<void(bool)> body) {
  std::optional<int64_t> known = columns.asConstant();
  DimExpr bytes = estimateBytes(kernel.fusion);
  std::optional<int64_t> most = getUpperBound(kernel.fusion, bytes);
  bool possible = llvm::any_of(getStoredValues(kernel), [&](const StoredValue &stored) {
    return canStream(stored, width);
  });
  if (!possible || (known && *known % width != 0) || (most && *most <= target.l3Bytes))
    return body(false);
  if (known && bytes.asConstant())
    return body(true);
  Value condition = math.less(math.constant(target.l3Bytes), kernel.extent(bytes));
  if (!known) {
    Value rest = math.mod(kernel.extent(columns), math.constant(width));
    Value whole = arith::CmpIOp::create(kernel.builder, kernel.loc, arith::CmpIPredicate::eq, rest,
                                        math.constant(0));
    condition = arith::AndIOp::create(kernel.builder, kernel.loc, condition, whole);
  }
  auto branch = scf::IfOp::create(kernel.builder, kernel.loc, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(kernel.builder);
  kernel.builder.setInsertionPointToStart(branch.thenBlock());
  body(true);
  kernel.builder.setInsertionPointToStart(branch.elseBlock());
  body(false);
}

void mlsys::collectStreams(Value value, llvm::SetVector<BlockArgument> &inputs) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    inputs.insert(argument);
    return;
  }
  Operation *op = value.getDefiningOp();
  if (isElementwise(op) || isa<ReshapeOp>(op))
    for (Value operand : op->getOperands())
      collectStreams(operand, inputs);
}

void mlsys::emitPrefetch(KernelBuilder &kernel, IndexMath &math, Value buffer, Value linear,
                         int64_t count) {
  constexpr unsigned secondCache = 2;
  constexpr int64_t lineBits = 512;
  int64_t line = lineBits / getElementBits(cast<MemRefType>(buffer.getType()).getElementType());
  for (int64_t element = 0; element < count; element += line)
    memref::PrefetchOp::create(kernel.builder, kernel.loc, buffer, math.add(linear, element),
                               /*isWrite=*/false, secondCache, /*isDataCache=*/true);
}

int64_t mlsys::widestVector(KernelBuilder &kernel, const CpuTarget &target, const DimExpr &columns) {
  constexpr int64_t avx512Lanes = 16;
  int64_t wide = 2 * target.vectorWidth;
  std::optional<int64_t> known = columns.asConstant();
  bool whole = target.vectorWidth == avx512Lanes && known && *known % wide == 0;
  return whole && llvm::all_of(getStoredValues(kernel), [](const StoredValue &stored) {
           Type element = typeOf(stored.value).getElementType();
           return !stored.write && isa<FloatType>(element) && getElementBits(element) == 16;
         })
             ? wide
             : target.vectorWidth;
}

int64_t mlsys::chooseWidth(ElementEmitter &emitter, ArrayRef<Value> values, const DimExpr &columns,
                           int64_t vectorWidth) {
  std::optional<int64_t> known = columns.asConstant();
  auto works = [&](int64_t width) {
    return llvm::all_of(values, [&](Value value) {
      RankedTensorType type = typeOf(value);
      if (type.getRank() == 0)
        return false;
      DimExpr last = getDim(type, type.getRank() - 1);
      // Rows of another length are only met at multiples of the width.
      bool aligned = last == columns || (known && *known % width == 0 && last.asConstant() &&
                                         *last.asConstant() % width == 0);
      return aligned && emitter.canVectorize(value, width);
    });
  };
  constexpr int64_t minWidth = 4;
  for (int64_t width = vectorWidth; known && width >= minWidth; width /= 2)
    if (*known % width == 0 && works(width))
      return width;
  for (int64_t width = vectorWidth; width >= minWidth; width /= 2)
    if ((!known || *known >= width) && works(width))
      return width;
  return 1;
}

namespace {
/// The iteration space of a kernel of kind loop.
class LoopKernel {
public:
  LoopKernel(KernelBuilder &kernel, const CpuTarget &target)
      : kernel(kernel), target(target), emitter(kernel), math(emitter.index()) {}

  LogicalResult lower(LaunchShape &launch);

private:
  void emitRow(Value row, Value begin, Value end);
  void emitTasks(LaunchShape &launch);

  KernelBuilder &kernel;
  const CpuTarget &target;
  ElementEmitter emitter;
  IndexMath &math;
  SmallVector<StoredValue> stored;
  /// The extents of the first stored value without the last, which is `columns`.
  SmallVector<DimExpr> leading;
  DimExpr columns;
  DimExpr rows = DimExpr::constant(1);
  int64_t width = 1;
  bool streaming = false;
  /// Inputs that are fetched ahead of their use.
  llvm::SetVector<BlockArgument> streams;
};
} // namespace

/// Stores columns [begin, end) of one row.
void LoopKernel::emitRow(Value row, Value begin, Value end) {
  Value size = columns.asConstant() ? math.constant(*columns.asConstant()) : kernel.extent(columns);
  Type element = typeOf(stored.front().value).getElementType();
  // The leading indices are found once a row.
  SmallVector<Value> lead;
  RankedTensorType leadType = getTensorType(leading, element);
  Value rest = row;
  lead.resize(leading.size());
  for (int64_t dim = leadType.getRank() - 1; dim >= 0; --dim) {
    if (dim == 0) {
      lead[0] = rest;
      break;
    }
    std::optional<int64_t> known = leading[dim].asConstant();
    Value extent = known ? math.constant(*known) : kernel.extent(leading[dim]);
    lead[dim] = math.mod(rest, extent);
    rest = math.div(rest, extent);
  }
  RankedTensorType first = typeOf(stored.front().value);
  ColumnUnrolling unrolling;
  unrolling.vectors = vectorsPerStep;
  unrolling.before = [&](Value column) {
    if (streaming)
      for (BlockArgument input : streams)
        emitPrefetch(kernel, math, kernel.bufferOf(input),
                     math.add(math.join(row, size, column), prefetchDistance), vectorsPerStep * width);
  };
  auto emitElements = [&](Value column, int64_t step) {
    Value linear = math.join(row, size, column);
    for (const StoredValue &output : stored) {
      SmallVector<Value> indices;
      if (getDims(typeOf(output.value)) == getDims(first)) {
        indices = lead;
        if (first.getRank() > 0)
          indices.push_back(column);
      } else {
        indices = emitter.delinearize(linear, output.value);
      }
      emitStore(kernel, emitter, output, indices, linear, step, streaming);
    }
  };
  emitColumns(kernel, math, begin, end, width, emitElements, unrolling);
}

LogicalResult LoopKernel::lower(LaunchShape &launch) {
  stored = getStoredValues(kernel);
  leading = getDims(typeOf(stored.front().value));
  columns = leading.empty() ? DimExpr::constant(1) : leading.pop_back_val();
  for (const DimExpr &dim : leading)
    rows = rows * dim;
  SmallVector<Value> values;
  for (const StoredValue &output : stored)
    values.push_back(output.value);
  width = chooseWidth(emitter, values, columns, widestVector(kernel, target, columns));
  for (Value value : values)
    collectStreams(value, streams);
  // A single row's pieces start at multiples of every width.
  emitStreamingChoice(kernel, math, target, rows.asConstant() == 1 ? DimExpr::constant(width) : columns,
                      width, [&](bool choice) {
                        streaming = choice;
                        emitTasks(launch);
                      });
  return success(!kernel.failed);
}

void LoopKernel::emitTasks(LaunchShape &launch) {
  // Pieces of a row when rows are long, else runs of rows.
  int64_t perTask = getElementsPerTask(kernel.fusion);
  std::optional<int64_t> known = columns.asConstant();
  AffineExpr rowsExpr = toLaunchExpr(kernel.fusion, rows);
  AffineExpr columnsExpr = toLaunchExpr(kernel.fusion, columns);
  int64_t rowsPerTask = known ? std::max<int64_t>(1, perTask / std::max<int64_t>(1, *known)) : 1;
  Value zero = math.constant(0), one = math.constant(1);
  bool oneRow = rows.asConstant() == 1;
  if (known ? *known <= 2 * perTask : !oneRow) {
    Value columnEnd = known ? math.constant(*known) : kernel.extent(columns);
    launch.grid = {rowsExpr.ceilDiv(rowsPerTask)};
    if (oneRow) {
      emitRow(zero, zero, columnEnd);
    } else {
      Value end = math.min(math.mul(kernel.end, rowsPerTask), kernel.extent(rows));
      emitFor(kernel, math.mul(kernel.begin, rowsPerTask), end, one, {},
              [&](Value row, ValueRange) {
                emitRow(row, zero, columnEnd);
                return SmallVector<Value>();
              });
    }
  } else {
    Value size = known ? math.constant(*known) : kernel.extent(columns);
    Value pieces = math.ceilDiv(size, perTask);
    launch.grid = {rowsExpr * columnsExpr.ceilDiv(perTask)};
    emitFor(kernel, kernel.begin, kernel.end, one, {}, [&](Value task, ValueRange) {
      Value row = oneRow ? zero : math.div(task, pieces);
      Value begin = math.mul(oneRow ? task : math.mod(task, pieces), perTask);
      emitRow(row, begin, math.min(math.add(begin, perTask), size));
      return SmallVector<Value>();
    });
  }
}

LogicalResult mlsys::lowerLoopForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                     LaunchShape &launch) {
  return LoopKernel(kernel, target).lower(launch);
}
