//===- CpuExpertDot.cpp - Products with experts on the CPU ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A row is a pair of a token and one of its experts. A task is an expert and a block of columns;
// it finds the rows of its expert in the list of all, a tile of rows at a time:
//
//   for expert:
//     while there are rows:
//       list of the expert's next rows; their left sides -> scratch
//       for group of dots, column block: products, epilogue (which scatters)
//
// With fewer rows than experts (decode) the tasks go by rows instead: a row that is the first
// of its expert stands for all of its expert's, so nothing is spent on experts that nobody chose.
//
//===----------------------------------------------------------------------===//

#include "CpuDot.h"

#include "CpuDotTiles.h"
#include "CpuLoops.h"
#include "RowReductions.h"
#include "TileChoice.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
class ExpertDotLowering : CpuDotTiles {
public:
  using CpuDotTiles::CpuDotTiles;

  LogicalResult run();

private:
  void planTiles();
  void planLaunch();
  bool goesByRows() const {
    std::optional<int64_t> rows = structure.rows.asConstant();
    return rows && *rows <= structure.numExperts;
  }

  /// The expert of a row.
  Value expertOf(Value row);
  /// Whether `slot` is a row of a known expert that no row before it has.
  Value standsForExpert(Value slot);
  void emitExpert(Value firstRow, Value firstBlock, Value endBlock);
  /// Lists the expert's next rows from `row` on; gives the row after and how many were found.
  std::pair<Value, Value> emitRowList(Value row);
  void emitGather(Value count);
  /// `while (condition(values)) values = body(values)`; gives the last values.
  SmallVector<Value> emitWhile(ValueRange initial, function_ref<Value(ValueRange)> condition,
                               function_ref<SmallVector<Value>(ValueRange)> body);

  Value experts, rows;
};
} // namespace

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

void ExpertDotLowering::planTiles() {
  int64_t count = std::max<int64_t>(1, evaluateAtHints(structure.rows, kernel.fusion));
  // Rows are not spread evenly: twice the mean, but with few tokens no more than these.
  int64_t mean = llvm::divideCeil(2 * count, structure.numExperts);
  int64_t perToken = cast<RankedTensorType>(structure.experts.getType()).getShape().back();
  int64_t tokens = llvm::divideCeil(count, std::max<int64_t>(1, perToken));
  bool known = structure.rows.asConstant().has_value();
  // The rows of one expert are not cut for the sake of parallelism.
  CpuTarget oneThread = target;
  oneThread.threads = 1;
  tiles = chooseDotTiles(getShape(known, known ? std::min(mean, tokens) : mean), oneThread,
                         kernel.function);
}

void ExpertDotLowering::planLaunch() {
  int64_t slots = goesByRows() ? *structure.rows.asConstant() : structure.numExperts;
  launch.grid = {getAffineConstantExpr(slots * blocks, b.getContext())};
  // Experts have different numbers of rows: enough pieces that workers end together.
  constexpr int64_t minParts = 4, piecesPerThread = 8;
  int64_t parts = std::max<int64_t>(
      minParts, llvm::divideCeil(target.threads * piecesPerThread, std::max<int64_t>(1, slots)));
  launch.grain = llvm::divideCeil(blocks, std::min(parts, blocks));
}

//===----------------------------------------------------------------------===//
// Rows of an expert
//===----------------------------------------------------------------------===//

SmallVector<Value>
ExpertDotLowering::emitWhile(ValueRange initial, function_ref<Value(ValueRange)> condition,
                             function_ref<SmallVector<Value>(ValueRange)> body) {
  TypeRange types = initial.getTypes();
  auto loop = scf::WhileOp::create(b, loc, types, initial);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Location> locs(initial.size(), loc);
  mlir::Block *before = b.createBlock(&loop.getBefore(), {}, types, locs);
  Value goesOn = condition(before->getArguments());
  scf::ConditionOp::create(b, loc, goesOn, before->getArguments());
  mlir::Block *after = b.createBlock(&loop.getAfter(), {}, types, locs);
  SmallVector<Value> next = body(after->getArguments());
  scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(loop.getResults());
}

Value ExpertDotLowering::expertOf(Value row) {
  Value element = memref::LoadOp::create(b, loc, experts, row);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), element);
}

Value ExpertDotLowering::standsForExpert(Value slot) {
  // A negative number is a large one here.
  Value known = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, expert,
                                      constant(structure.numExperts));
  SmallVector<Value> result =
      emitFor(kernel, constant(0), slot, constant(1), known, [&](Value row, ValueRange carried) {
        Value other =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, expertOf(row), expert);
        Value first = arith::AndIOp::create(b, loc, carried.front(), other);
        return SmallVector<Value>{first};
      });
  return result.front();
}

std::pair<Value, Value> ExpertDotLowering::emitRowList(Value row) {
  SmallVector<Value> result = emitWhile(
      {row, constant(0)},
      [&](ValueRange values) -> Value {
        Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, values[0], rows);
        Value room = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, values[1],
                                           constant(tiles.rowBlock));
        return arith::AndIOp::create(b, loc, inside, room);
      },
      [&](ValueRange values) {
        // Written in any case, and counted when it is the expert's.
        Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), values[0]);
        memref::StoreOp::create(b, loc, number, rowList, values[1]);
        Value found =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, expertOf(values[0]), expert);
        Value one = arith::IndexCastUIOp::create(b, loc, b.getIndexType(), found);
        return SmallVector<Value>{arith::AddIOp::create(b, loc, values[0], constant(1)),
                                  arith::AddIOp::create(b, loc, values[1], one)};
      });
  return {result[0], result[1]};
}

void ExpertDotLowering::emitGather(Value count) {
  loop(constant(0), count, 1, [&](Value local) {
    Value number = memref::LoadOp::create(b, loc, rowList, local);
    Value row = arith::IndexCastOp::create(b, loc, b.getIndexType(), number);
    emitLeftRow(math.div(row, structure.rowsPerLeft), local);
  });
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

void ExpertDotLowering::emitExpert(Value firstRow, Value firstBlock, Value endBlock) {
  emitWhile(
      firstRow,
      [&](ValueRange values) -> Value {
        return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, values[0], rows);
      },
      [&](ValueRange values) {
        auto [next, count] = emitRowList(values[0]);
        Value any =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, count, constant(0));
        auto branch = scf::IfOp::create(b, loc, any, /*withElseRegion=*/false);
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(branch.thenBlock());
        emitGather(count);
        CpuDotTiles::Block block;
        block.firstRow = constant(0);
        block.rows = count;
        emitColumnBlocks(block, firstBlock, endBlock);
        return SmallVector<Value>{next};
      });
}

LogicalResult ExpertDotLowering::run() {
  if (failed(checkTypes()))
    return failure();
  planTiles();
  planGroups();
  planLaunch();
  allocLhs();
  rowList = kernel.allocScratch(tiles.rowBlock, b.getI64Type());
  experts = kernel.bufferOf(cast<BlockArgument>(behindReshapes(structure.experts)));
  rows = kernel.extent(structure.rows);
  forEachSlot([&](Value slot, Value begin, Value end) {
    if (!goesByRows()) {
      expert = slot;
      emitExpert(constant(0), begin, end);
      return;
    }
    expert = expertOf(slot);
    auto branch = scf::IfOp::create(b, loc, standsForExpert(slot), /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitExpert(slot, begin, end);
  });
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerExpertDotForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                          LaunchShape &launch) {
  return ExpertDotLowering(kernel, target, launch).run();
}
