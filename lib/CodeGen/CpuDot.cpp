//===- CpuDot.cpp - Fusions of dots on the CPU ----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A task is a block of rows and a block of columns; row blocks are outermost, so a worker's
// range of tasks computes the left side of a row block once and then streams panels of
// the right sides:
//
//   for row block:
//     prologue: left side -> scratch (unless it can be read in place)
//     for group of dots, column block:
//       for panel, dot, register tile: sums -> tile in scratch
//       epilogue: outputs from the tile
//
//===----------------------------------------------------------------------===//

#include "CpuDot.h"

#include "CpuDotTiles.h"
#include "CpuLoops.h"
#include "RowReductions.h"
#include "TileChoice.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
class DotLowering : CpuDotTiles {
public:
  using CpuDotTiles::CpuDotTiles;

  LogicalResult run();

private:
  void planTiles();
  void planLaunch();
  /// The buffer of the left side when its rows can be read where they are.
  Value lhsInPlace();

  void emitRowBlock(Value rowBlock, Value firstBlock, Value endBlock);
  void emitPrologue(const Block &block);
};
} // namespace

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

void DotLowering::planTiles() {
  int64_t rows = evaluateAtHints(structure.rows, kernel.fusion);
  tiles = chooseDotTiles(
      getShape(structure.rows.asConstant().has_value(), std::max<int64_t>(1, rows)), target,
      kernel.function);
}

void DotLowering::planLaunch() {
  MLIRContext *context = b.getContext();
  AffineExpr rowBlocks = getAffineConstantExpr(1, context);
  if (!tiles.oneRowBlock) {
    rowBlocks = toLaunchExpr(kernel.fusion, structure.rows).ceilDiv(tiles.rowBlock);
  }
  launch.grid = {rowBlocks * blocks};
  launch.grain = tiles.columnParts == 0 ? 0 : llvm::divideCeil(blocks, tiles.columnParts);
}

Value DotLowering::lhsInPlace() {
  auto argument = dyn_cast<BlockArgument>(behindReshapes(structure.lhs));
  if (!argument)
    return {};
  Value buffer = kernel.bufferOf(argument);
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (element != leftType() || structure.contracted % leftStep() != 0)
    return {};
  // AMX computes whole tiles of rows, which only scratch has.
  if (tiles.product == CpuProduct::Amx)
    return {};
  // Rows of a register tile that fall into the same set of the L1 cache are copied apart.
  int64_t rowBytes = structure.contracted * getElementBits(element) / 8;
  if (tiles.rows > 4 && rowBytes % 1024 == 0)
    return {};
  return buffer;
}

//===----------------------------------------------------------------------===//
// Prologue
//===----------------------------------------------------------------------===//

void DotLowering::emitPrologue(const Block &block) {
  loop(constant(0), block.rows, 1, [&](Value local) {
    Value row = math.add(block.firstRow, local);
    emitRowReductions(emitter, kernel, row, tiles.width);
    emitLeftRow(row, local);
  });
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

void DotLowering::emitRowBlock(Value rowBlock, Value firstBlock, Value endBlock) {
  Block block;
  block.firstRow = math.mul(rowBlock, tiles.rowBlock);
  block.rows = constant(tiles.rowBlock);
  std::optional<int64_t> known = structure.rows.asConstant();
  if (!known || *known % tiles.rowBlock != 0) {
    // Blocks of equal size, in whole register tiles, so that the last worker has no less to do.
    Value rows = kernel.extent(structure.rows);
    Value number = math.ceilDiv(rows, tiles.rowBlock);
    Value even = math.div(math.sub(math.add(rows, number), constant(1)), number);
    even = math.min(math.mul(math.ceilDiv(even, tiles.rows), tiles.rows), constant(tiles.rowBlock));
    block.firstRow = math.mul(rowBlock, even);
    block.rows = math.min(even, math.sub(rows, block.firstRow));
  }
  if (!inPlace)
    emitPrologue(block);
  else
    loop(constant(0), block.rows, 1,
         [&](Value local) { emitRowStart(math.mul(math.add(block.firstRow, local), lhsStride), local); });
  emitColumnBlocks(block, firstBlock, endBlock);
}

LogicalResult DotLowering::run() {
  if (failed(checkTypes()))
    return failure();
  planTiles();
  planGroups();
  planLaunch();
  lhs = lhsInPlace();
  inPlace = lhs != nullptr;
  lhsStride = structure.contracted;
  if (!inPlace)
    allocLhs();
  if (tiles.oneRowBlock) {
    emitRowBlock(constant(0), kernel.begin, kernel.end);
    return failure(kernel.failed);
  }
  forEachSlot([&](Value rowBlock, Value begin, Value end) { emitRowBlock(rowBlock, begin, end); });
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerDotForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                    LaunchShape &launch) {
  if (kernel.structure.experts)
    return lowerExpertDotForCpu(kernel, target, launch);
  return DotLowering(kernel, target, launch).run();
}
