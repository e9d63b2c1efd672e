//===- CpuDotTiles.cpp - Tiles of products on the CPU ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CpuDotTiles.h"

#include "CpuIntegerSteps.h"
#include "CpuLoops.h"
#include "CpuMicroKernel.h"
#include "RowReductions.h"
#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Rows that the AMX register tile covers.
static constexpr int64_t amxRows = 32;
/// Bytes of K that an AMX tile holds.
static constexpr int64_t amxBytes = 64;

static int64_t pairOf(Type rhsType) { return getPanelPair(rhsType); }

/// Register tiles that share what they bring to the cache ahead of its use: more would bring less than a
/// line each.
static constexpr int64_t maxAheadParts = 16;

/// The buffer of a dot's right side.
static BlockArgument rightArgument(Operation *dot) { return cast<BlockArgument>(getRight(dot)); }

void CpuDotTiles::loop(Value begin, Value end, int64_t step,
                       llvm::function_ref<void(Value)> body) {
  emitLoop(b, loc, begin, end, step, body);
}

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

LogicalResult CpuDotTiles::checkTypes() {
  auto supported = [](Type type) {
    return type.isF32() || type.isBF16() || type.isF16() || type.isInteger(8);
  };
  for (const DotGroup &group : structure.groups)
    for (Operation *dot : group.dots)
      for (Value operand : {getLeft(dot), getRight(dot)})
        if (Type type = getElementTypeOrSelf(operand.getType()); !supported(type))
          return dot->emitOpError("has elements of type ")
                 << type << "; the CPU multiplies f32, f16, bf16 and i8";
  return success();
}

bool CpuDotTiles::isPacked(Operation *dot) {
  BlockArgument argument = rightArgument(dot);
  return llvm::any_of(launch.panels, [&](const LaunchShape::Panels &panels) {
    return panels.input == argument.getArgNumber();
  });
}

DotShape CpuDotTiles::getShape(bool rowsKnown, int64_t rows) {
  DotShape shape;
  shape.rowsKnown = rowsKnown;
  shape.rows = rows;
  shape.contracted = structure.contracted;
  shape.lhsType = getElementTypeOrSelf(structure.lhs.getType());
  shape.columns = 0;
  for (const DotGroup &group : structure.groups) {
    shape.columns += group.columns;
    shape.dots = std::max<int64_t>(shape.dots, group.dots.size());
    for (Operation *dot : group.dots) {
      Type type = getElementTypeOrSelf(getRight(dot).getType());
      // One left side serves all: only if all are bf16 is it kept in bf16.
      if (!shape.rhsType || shape.rhsType.isBF16())
        shape.rhsType = type;
    }
  }
  return shape;
}

int64_t CpuDotTiles::scratchRows() const {
  return tiles.product == CpuProduct::Amx ? llvm::alignTo(tiles.rowBlock, amxRows)
                                          : tiles.rowBlock;
}

bool CpuDotTiles::isInteger() const { return isa<IntegerType>(getElementTypeOrSelf(structure.lhs.getType())); }

Type CpuDotTiles::leftType() const {
  if (isInteger())
    return tiles.product == CpuProduct::Widened ? b.getI16Type() : b.getI8Type();
  return readsBf16() ? Type(b.getBF16Type()) : Type(b.getF32Type());
}

Type CpuDotTiles::sumType() const { return isInteger() ? Type(b.getI32Type()) : Type(b.getF32Type()); }

void CpuDotTiles::allocLhs() {
  lhsStride = tiles.lhsStride;
  lhs = kernel.allocScratch(scratchRows() * lhsStride, leftType());
}

int64_t CpuDotTiles::firstByteDot() const {
  return tiles.product == CpuProduct::Amx ? structure.contracted / amxBytes * amxBytes : 0;
}

/// With few rows the weights come from memory, and short panels of several weights in turn
/// read more slowly than several panels of each: the panels that make a block of columns.
int64_t CpuDotTiles::panelsAtOnce(const DotGroup &group) {
  if (!tiles.oneRowBlock || tiles.columnParts != 0 || group.dots.size() == 1)
    return 1;
  constexpr int64_t wantedBytes = 128 << 10, minBlocksPerThread = 4;
  Type type = getElementTypeOrSelf(getRight(group.dots.front()).getType());
  int64_t panelBytes = structure.contracted * panelColumns * getElementBits(type) / 8;
  int64_t panels = llvm::divideCeil(group.columns, panelColumns);
  int64_t count = std::min<int64_t>(llvm::divideCeil(wantedBytes, panelBytes),
                                    panels / (minBlocksPerThread * target.threads));
  // Blocks that share out evenly.
  for (; count > 1; --count)
    if (panels % (count * target.threads) == 0)
      return count;
  return 1;
}

void CpuDotTiles::planGroups() {
  int64_t mostColumns = 0;
  size_t mostDots = 0;
  for (const DotGroup &structureOfGroup : structure.groups) {
    Group &group = groups.emplace_back();
    group.structure = &structureOfGroup;
    group.columnBlock = std::lcm(panelColumns, structureOfGroup.mixing) * panelsAtOnce(structureOfGroup);
    group.blocks = llvm::divideCeil(structureOfGroup.columns, group.columnBlock);
    group.firstBlock = blocks;
    blocks += group.blocks;
    mostColumns = std::max(mostColumns, group.columnBlock);
    for (Operation *dot : structureOfGroup.dots) {
      BlockArgument argument = rightArgument(dot);
      Operation *producer = kernel.fusion.getInputs()[argument.getArgNumber()].getDefiningOp();
      if (isa_and_nonnull<WeightOp, ConstantOp>(producer) && !isPacked(dot))
        launch.panels.push_back({argument.getArgNumber(), panelColumns,
                                 pairOf(getElementTypeOrSelf(argument.getType()))});
    }
    mostDots = std::max(mostDots, structureOfGroup.dots.size());
  }
  // The groups take turns with the same tiles.
  while (sums.size() < mostDots)
    sums.push_back(kernel.allocScratch(scratchRows() * mostColumns, sumType()));
  bool isUnsigned = getElementTypeOrSelf(structure.lhs.getType()).isUnsignedInteger();
  if (isInteger() && !isUnsigned && tiles.product != CpuProduct::Widened && firstByteDot() < structure.contracted)
    rowStarts = kernel.allocScratch(scratchRows(), sumType());
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

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
  micro.pair = pairOf(rhsType);
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
  int64_t pair = pairOf(type), contracted = structure.contracted;
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
  int64_t pair = pairOf(cast<MemRefType>(rhs.getType()).getElementType());
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

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

void CpuDotTiles::emitOutputs(const Group &group, Value row, Value column, int64_t width) {
  Value linear = math.join(row, constant(group.structure->columns), column);
  for (unsigned position : group.structure->outputs)
    storeOutput(emitter, kernel, position, linear, width);
}

void CpuDotTiles::emitEpilogue(const Group &group, const Block &block) {
  auto yield = cast<YieldOp>(kernel.fusion.getBody().front().getTerminator());
  int64_t mixing = group.structure->mixing, width = tiles.width;
  SmallVector<Value> stored;
  for (unsigned position : group.structure->outputs)
    stored.push_back(getStoredValue(yield.getValues()[position]));
  for (auto [dot, sum] : llvm::zip(group.structure->dots, sums))
    emitter.bind(dot->getResult(0), [&, sum = sum](ValueRange indices, int64_t width) {
      Value column = math.sub(indices.back(), block.firstColumn);
      return emitter.load(sum, math.add(math.mul(sumRow, group.columnBlock), column), width);
    });
  // A vector must not cross a row of an output of another shape.
  auto splits = [&](Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    std::optional<int64_t> last = getDim(type, type.getRank() - 1).asConstant();
    return last != group.structure->columns && (!last || *last % width != 0);
  };
  while (width > 1 && (llvm::any_of(stored, splits) || (mixing > 1 && mixing % width != 0)))
    width /= 2;
  width = commonWidth(emitter, stored, width);
  loop(constant(0), block.rows, 1, [&](Value local) {
    sumRow = local;
    Value row;
    if (rowList)
      row = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                       memref::LoadOp::create(b, loc, rowList, local).getResult());
    else
      row = math.add(block.firstRow, local);
    // Too long a group of columns is a loop like all others.
    constexpr int64_t mostUnrolled = 32;
    if (mixing == 1 || mixing / width > mostUnrolled) {
      emitColumns(kernel, math, constant(0), block.columns, width, [&](Value column, int64_t width) {
        emitOutputs(group, row, math.add(block.firstColumn, column), width);
      });
      return;
    }
    // Columns inside a group are constants, so that it is known which are mixed.
    Value firstGroup = math.div(block.firstColumn, mixing);
    loop(constant(0), math.div(block.columns, mixing), 1, [&](Value number) {
      for (int64_t column = 0; column < mixing; column += width)
        emitOutputs(group, row,
                    math.join(math.add(firstGroup, number), constant(mixing), constant(column)),
                    width);
    });
  });
}

//===----------------------------------------------------------------------===//
// Blocks of columns
//===----------------------------------------------------------------------===//

void CpuDotTiles::emitColumnBlock(const Group &group, Value number, Block block) {
  int64_t columns = group.structure->columns;
  block.firstColumn = math.mul(number, group.columnBlock);
  block.columns = constant(group.columnBlock);
  if (columns % group.columnBlock != 0)
    block.columns = math.min(block.columns, math.sub(constant(columns), block.firstColumn));
  emitPanels(group, block);
  emitEpilogue(group, block);
}

void CpuDotTiles::emitLeftRow(Value row, Value local) {
  Value contracted = constant(structure.contracted);
  int64_t width = commonWidth(emitter, {structure.lhs}, tiles.width);
  Value base = math.mul(local, lhsStride);
  emitColumns(kernel, math, constant(0), contracted, width, [&](Value column, int64_t width) {
    Value linear = math.join(row, contracted, column);
    Value element = emitter.emit(structure.lhs, emitter.delinearize(linear, structure.lhs), width);
    emitter.store(toLeftType(element), lhs, math.add(base, column));
  });
  // The rest of the last step.
  for (int64_t k = structure.contracted; k % (isInteger() ? 4 : 2) != 0; ++k) {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(leftType()));
    memref::StoreOp::create(b, loc, zero, lhs, math.add(base, k));
  }
  emitRowStart(base, local);
}

Value CpuDotTiles::toLeftType(Value element) {
  if (!isInteger() || tiles.product != CpuProduct::Widened)
    return element;
  auto vector = dyn_cast<VectorType>(element.getType());
  Type wide = vector ? Type(VectorType::get(vector.getShape(), leftType())) : leftType();
  if (getElementTypeOrSelf(structure.lhs.getType()).isUnsignedInteger())
    return arith::ExtUIOp::create(b, loc, wide, element);
  return arith::ExtSIOp::create(b, loc, wide, element);
}

void CpuDotTiles::emitRowStart(Value base, Value local) {
  if (!rowStarts)
    return;
  int64_t first = firstByteDot();
  Value sum = emitByteSum(b, loc, lhs, math.add(base, first), structure.contracted - first);
  Value factor = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-128));
  memref::StoreOp::create(b, loc, arith::MulIOp::create(b, loc, sum, factor).getResult(), rowStarts, local);
}

void CpuDotTiles::forEachSlot(llvm::function_ref<void(Value, Value, Value)> body) {
  Value firstSlot = math.div(kernel.begin, blocks), endSlot = math.ceilDiv(kernel.end, blocks);
  loop(firstSlot, endSlot, 1, [&](Value slot) {
    Value base = math.mul(slot, blocks);
    Value begin = arith::SubIOp::create(
        b, loc, arith::MaxUIOp::create(b, loc, kernel.begin, base).getResult(), base);
    Value end = math.min(math.sub(kernel.end, base), constant(blocks));
    body(slot, begin, end);
  });
}

void CpuDotTiles::emitColumnBlocks(const Block &block, Value firstBlock, Value endBlock) {
  for (const Group &group : groups) {
    // The part of the range that lies in this group.
    auto inGroup = [&](Value number) -> Value {
      if (groups.size() == 1)
        return number;
      Value first = constant(group.firstBlock);
      Value above = arith::MaxUIOp::create(b, loc, number, first);
      return math.min(arith::SubIOp::create(b, loc, above, first), constant(group.blocks));
    };
    loop(inGroup(firstBlock), inGroup(endBlock), 1,
         [&](Value number) { emitColumnBlock(group, number, block); });
  }
}

