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

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// At most so many steps over columns are unrolled.
static constexpr int64_t maxUnrolled = 8;

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
                        int64_t width, function_ref<void(Value, int64_t)> body) {
  std::optional<int64_t> first = getConstantIntValue(begin), last = getConstantIntValue(end);
  if (first && last && (*last - *first) / width + (*last - *first) % width <= maxUnrolled) {
    int64_t column = *first;
    for (; column + width <= *last; column += width)
      body(math.constant(column), width);
    for (; column < *last; ++column)
      body(math.constant(column), 1);
    return;
  }
  // The vectors end where less than one remains.
  Value vectorEnd = math.add(begin, math.mul(math.div(math.sub(end, begin), width), width));
  if (first && last)
    vectorEnd = math.constant(*first + (*last - *first) / width * width);
  emitFor(kernel, begin, vectorEnd, math.constant(width), {}, [&](Value column, ValueRange) {
    body(column, width);
    return SmallVector<Value>();
  });
  if (vectorEnd != end && width > 1)
    emitFor(kernel, vectorEnd, end, math.constant(1), {}, [&](Value column, ValueRange) {
      body(column, 1);
      return SmallVector<Value>();
    });
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

void mlsys::emitStore(KernelBuilder &kernel, ElementEmitter &emitter, const StoredValue &stored,
                      ValueRange indices, Value linear, int64_t width) {
  Value element = emitter.emit(stored.value, indices, width);
  if (CacheWriteOp write = stored.write)
    emitCacheStore(emitter, kernel, write, element, indices, width);
  else
    emitter.store(element, stored.buffer, linear);
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

  KernelBuilder &kernel;
  const CpuTarget &target;
  ElementEmitter emitter;
  IndexMath &math;
  SmallVector<StoredValue> stored;
  /// The extents of the first stored value without the last, which is `columns`.
  SmallVector<DimExpr> leading;
  DimExpr columns;
  int64_t width = 1;
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
  emitColumns(kernel, math, begin, end, width, [&](Value column, int64_t step) {
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
      emitStore(kernel, emitter, output, indices, linear, step);
    }
  });
}

LogicalResult LoopKernel::lower(LaunchShape &launch) {
  stored = getStoredValues(kernel);
  leading = getDims(typeOf(stored.front().value));
  columns = leading.empty() ? DimExpr::constant(1) : leading.pop_back_val();
  DimExpr rows = DimExpr::constant(1);
  for (const DimExpr &dim : leading)
    rows = rows * dim;
  SmallVector<Value> values;
  for (const StoredValue &output : stored)
    values.push_back(output.value);
  width = chooseWidth(emitter, values, columns, target.vectorWidth);

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
  return success(!kernel.failed);
}

LogicalResult mlsys::lowerLoopForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                     LaunchShape &launch) {
  return LoopKernel(kernel, target).lower(launch);
}
