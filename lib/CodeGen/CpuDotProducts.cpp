//===- CpuDotProducts.cpp - Products of rows with a panel on the CPU ------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CpuDotTiles.h"

#include "CpuMicroKernel.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Register tiles that share what they bring to the cache ahead of its use: more would bring less than a
/// line each.
static constexpr int64_t maxAheadParts = 16;

Value CpuDotTiles::asMatrix(Value buffer, int64_t columns) {
  auto flat = cast<MemRefType>(buffer.getType());
  auto type = MemRefType::get({ShapedType::kDynamic, columns}, flat.getElementType());
  Value size = memref::DimOp::create(b, loc, buffer, 0);
  OpFoldResult rows = math.div(size, columns);
  return memref::ReinterpretCastOp::create(
      b, loc, type, buffer, /*offset=*/b.getIndexAttr(0),
      ArrayRef<OpFoldResult>{rows, b.getIndexAttr(columns)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(columns), b.getIndexAttr(1)});
}

void CpuDotTiles::emitRegisterTiles(Value rhs, Value rhsOffset, Value sum, Value column,
                                    const Group &group, const Block &block,
                                    const Contraction &contraction) {
  Type rhsType = cast<MemRefType>(rhs.getType()).getElementType();
  MicroKernel micro;
  micro.vectors = tiles.vectors;
  micro.width = tiles.width;
  micro.rhsType = rhsType;
  micro.pair = getPanelPair(rhsType);
  micro.bf16Dot = readsBf16();
  micro.byteDot = isInteger() && tiles.product != CpuProduct::Widened;
  micro.unsignedLhs = getElementTypeOrSelf(structure.lhs.getType()).isUnsignedInteger();
  micro.unroll = tiles.unroll;
  micro.prefetchBytes = tiles.prefetchBytes;
  int64_t groupRows = tiles.product == CpuProduct::Amx ? 8 : tiles.rows;
  // What is multiplied next lies behind what is multiplied now. Its way from memory is as long as many
  // steps, so the register tiles of a block bring a part of it each.
  bool inMemory = rhs != packScratch.lookup(rhsType);
  int64_t parts = llvm::bit_floor<uint64_t>(
      std::min<uint64_t>(tiles.rowBlock / groupRows * (panelColumns / micro.columns()), maxAheadParts));
  emitRowGroups(b, loc, block.rows, groupRows, [&](Value local, int64_t rows) {
    micro.rows = rows;
    micro.aheadParts = inMemory && !tiles.oneRowBlock && rows == groupRows ? parts : 0;
    Value lhsRow = inPlace ? math.add(block.firstRow, local) : local;
    for (int64_t first = 0; first < panelColumns; first += micro.columns()) {
      MicroOperands operands;
      operands.lhs = lhs;
      operands.lhsOffset = math.add(math.mul(lhsRow, lhsStride), contraction.first);
      operands.lhsStride = lhsStride;
      operands.rhs = rhs;
      operands.rhsOffset = math.add(math.add(rhsOffset, math.mul(contraction.first, panelColumns)),
                                    first * micro.pair);
      operands.rhsStride = panelColumns * micro.pair;
      int64_t steps = llvm::divideCeil(contraction.count, micro.pair);
      operands.steps = constant(steps);
      if (micro.aheadParts) {
        int64_t part = steps * operands.rhsStride / parts;
        Value number = math.add(math.mul(math.div(local, rows), panelColumns / micro.columns()),
                                first / micro.columns());
        Value begin = math.add(math.add(rhsOffset, math.mul(contraction.first, panelColumns)),
                               steps * operands.rhsStride);
        operands.ahead = math.add(begin, math.mul(number, part));
      }
      operands.tile = sum;
      operands.tileOffset =
          math.add(math.add(math.mul(local, group.columnBlock), column), first);
      operands.tileStride = group.columnBlock;
      operands.accumulate = contraction.accumulate;
      if (contraction.start) {
        operands.rowStarts = rowStarts;
        operands.firstRow = local;
      }
      emitMicroKernel(b, loc, micro, operands);
    }
  });
}

void CpuDotTiles::emitBlocksOfK(Value rhs, Value rhsOffset, Value sum, Value column,
                                const Group &group, const Block &block) {
  int64_t contracted = structure.contracted, step = tiles.contractedBlock;
  if (step >= contracted)
    return emitRegisterTiles(rhs, rhsOffset, sum, column, group, block,
                             {constant(0), contracted, /*accumulate=*/false, /*start=*/true});
  // All blocks add to the tile, so that they share their code.
  auto vectorType = VectorType::get(tiles.width, sumType());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(vectorType));
  loop(constant(0), block.rows, 1, [&](Value local) {
    Value place = math.add(math.mul(local, group.columnBlock), column), start = zero;
    if (rowStarts)
      start = vector::BroadcastOp::create(b, loc, vectorType,
                                          memref::LoadOp::create(b, loc, rowStarts, local).getResult());
    for (int64_t first = 0; first < panelColumns; first += tiles.width)
      vector::StoreOp::create(b, loc, start, sum, math.add(place, first));
  });
  int64_t whole = contracted / step * step;
  loop(constant(0), constant(whole), step, [&](Value first) {
    emitRegisterTiles(rhs, rhsOffset, sum, column, group, block, {first, step, true});
  });
  if (whole != contracted)
    emitRegisterTiles(rhs, rhsOffset, sum, column, group, block,
                      {constant(whole), contracted - whole, true});
}

/// Two by two tiles of 16 rows and columns. The rows behind the last one are computed
/// too, from whatever scratch holds, and not used.
void CpuDotTiles::emitAmxTiles(Value rhs, Value rhsOffset, Value sum, Value column,
                               const Group &group, const Block &block) {
  constexpr int64_t tileRows = 16;
  int64_t pair = isInteger() ? 4 : 2, tileContracted = tileRows * pair;
  auto resultType = amx::TileType::get({tileRows, tileRows}, sumType());
  auto operandType = amx::TileType::get({tileRows, tileContracted}, leftType());
  bool isUnsigned = getElementTypeOrSelf(structure.lhs.getType()).isUnsignedInteger();
  int64_t pairRow = panelColumns * pair;
  Value left = asMatrix(lhs, lhsStride), right = asMatrix(rhs, pairRow);
  Value result = asMatrix(sum, group.columnBlock);
  Value rhsRow = math.div(rhsOffset, pairRow);
  int64_t whole = structure.contracted / tileContracted * tileContracted;
  loop(constant(0), block.rows, amxRows, [&](Value local) {
    Value zero = amx::TileZeroOp::create(b, loc, resultType);
    SmallVector<Value> rows{local, math.add(local, tileRows)};
    SmallVector<Value> columns{constant(0), constant(pairRow / 2)};
    auto steps = scf::ForOp::create(b, loc, constant(0), constant(whole), constant(tileContracted),
                                    SmallVector<Value>(4, zero));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(steps.getBody());
      Value step = steps.getInductionVar();
      Value panelRow = math.add(rhsRow, math.div(step, pair));
      SmallVector<Value> a, w, next;
      for (Value row : rows)
        a.push_back(amx::TileLoadOp::create(b, loc, operandType, left, ValueRange{row, step}));
      for (Value first : columns)
        w.push_back(
            amx::TileLoadOp::create(b, loc, operandType, right, ValueRange{panelRow, first}));
      for (int64_t tile = 0; tile < 4; ++tile) {
        Value left = a[tile / 2], right = w[tile % 2], sums = steps.getRegionIterArg(tile);
        next.push_back(isInteger() ? amx::TileMulIOp::create(b, loc, resultType, left, right, sums, isUnsigned,
                                                             /*isZextRhs=*/false)
                                         .getResult()
                                   : amx::TileMulFOp::create(b, loc, resultType, left, right, sums).getResult());
      }
      scf::YieldOp::create(b, loc, next);
    }
    for (int64_t tile = 0; tile < 4; ++tile)
      amx::TileStoreOp::create(
          b, loc, result,
          ValueRange{rows[tile / 2], math.add(column, tile % 2 * tileRows)}, steps.getResult(tile));
  });
  if (whole != structure.contracted)
    emitRegisterTiles(rhs, rhsOffset, sum, column, group, block,
                      {constant(whole), structure.contracted - whole, /*accumulate=*/true, /*start=*/true});
}

Value CpuDotTiles::emitPackedPanel(const Group &group, Operation *dot, Value panel) {
  Value buffer = kernel.bufferOf(rightArgument(dot));
  Type type = cast<MemRefType>(buffer.getType()).getElementType();
  int64_t pair = getPanelPair(type), contracted = structure.contracted;
  Value &packed = packScratch[type];
  if (!packed)
    packed = kernel.allocScratch(llvm::alignTo(contracted, pair) * panelColumns, type);
  Value inMatrix = math.mul(panel, panelColumns);
  Value columns =
      math.min(constant(panelColumns), math.sub(constant(group.structure->columns), inMatrix));
  Value first = expert ? math.add(math.mul(expert, group.structure->columns), inMatrix) : inMatrix;
  loop(constant(0), columns, 1, [&](Value column) {
    Value source = math.mul(math.add(first, column), contracted);
    loop(constant(0), constant(contracted), 1, [&](Value k) {
      Value element = memref::LoadOp::create(b, loc, buffer, math.add(source, k));
      Value place = math.join(math.join(math.div(k, pair), constant(panelColumns), column),
                              constant(pair), math.mod(k, pair));
      memref::StoreOp::create(b, loc, element, packed, place);
    });
    for (int64_t last = contracted % pair; last != 0 && last < pair; ++last) {
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
      Value place = math.add(math.mul(column, pair), contracted / pair * panelColumns * pair + last);
      memref::StoreOp::create(b, loc, zero, packed, place);
    }
  });
  return packed;
}

void CpuDotTiles::emitPanel(const Group &group, Operation *dot, Value sum, Value panel, Value column,
                            const Block &block) {
  Value rhs = kernel.bufferOf(rightArgument(dot));
  int64_t pair = getPanelPair(cast<MemRefType>(rhs.getType()).getElementType());
  Value offset = constant(0);
  if (isPacked(dot)) {
    int64_t matrixPanels = llvm::divideCeil(group.structure->columns, panelColumns);
    if (expert)
      panel = math.add(math.mul(expert, matrixPanels), panel);
    offset = math.mul(panel, llvm::alignTo(structure.contracted, pair) * panelColumns);
  } else {
    rhs = emitPackedPanel(group, dot, panel);
  }
  if (tiles.product == CpuProduct::Amx)
    emitAmxTiles(rhs, offset, sum, column, group, block);
  else
    emitBlocksOfK(rhs, offset, sum, column, group, block);
}

void CpuDotTiles::emitPanels(const Group &group, const Block &block) {
  Value firstPanel = math.div(block.firstColumn, panelColumns);
  Value panels = math.ceilDiv(block.columns, panelColumns);
  for (auto [dot, sum] : llvm::zip(group.structure->dots, sums))
    loop(constant(0), panels, 1, [&, dot = dot, sum = sum](Value local) {
      Value panel = math.add(firstPanel, local), column = math.mul(local, panelColumns);
      emitPanel(group, dot, sum, panel, column, block);
    });
}
