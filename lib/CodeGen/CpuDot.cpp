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

#include "CpuLoops.h"
#include "CpuMicroKernel.h"
#include "RowReductions.h"
#include "SelectTiles.h"
#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Rows that the AMX register tile covers.
static constexpr int64_t amxRows = 32;

namespace {
/// One group of dots and where its columns lie among the tasks of a row block.
struct Group {
  const DotGroup *structure;
  /// Columns of a task, and the tasks of a row block: their number and the first one.
  int64_t columnBlock, blocks, firstBlock;
};

/// The part of the tasks that is computed at once. Values are indices.
struct Block {
  /// The first row and how many there are.
  Value firstRow, rows;
  /// The first column and how many there are; not set while only rows are known.
  Value firstColumn, columns;
};

class DotLowering {
public:
  DotLowering(KernelBuilder &kernel, const CpuTarget &target, LaunchShape &launch)
      : kernel(kernel), target(target), launch(launch), structure(kernel.structure),
        b(kernel.builder), loc(kernel.loc), emitter(kernel), math(emitter.index()) {}

  LogicalResult run();

private:
  LogicalResult checkTypes();
  void selectTiles();
  void planGroups();
  void planLaunch();
  /// The buffer of the left side when its rows can be read where they are.
  Value lhsInPlace();

  void emitRowBlock(Value rowBlock, Value firstBlock, Value endBlock);
  void emitPrologue(const Block &block);
  void emitColumnBlock(const Group &group, Value number, Block block);
  void emitPanels(const Group &group, const Block &block);
  void emitPanel(const Group &group, DotOp dot, Value sum, Value panel, Value column,
                 const Block &block);
  void emitRegisterTiles(Value rhs, Value rhsOffset, Value sum, Value column, const Group &group,
                         const Block &block, int64_t firstContracted);
  void emitAmxTiles(Value rhs, Value rhsOffset, Value sum, Value column, const Group &group,
                    const Block &block);
  /// Copies a panel of a right side that is not a constant into order; gives its buffer.
  Value emitPackedPanel(const Group &group, DotOp dot, Value panel);
  void emitEpilogue(const Group &group, const Block &block);
  void emitOutputs(const Group &group, Value row, Value column, int64_t width);

  bool isPacked(DotOp dot);
  static int64_t pairOf(Type rhsType) { return rhsType.isF32() ? 1 : 2; }
  bool readsBf16() const { return tiles.product != CpuProduct::Fma; }
  /// Rows that tiles in scratch have room for.
  int64_t scratchRows() const {
    return tiles.product == CpuProduct::Amx ? llvm::alignTo(tiles.rowBlock, amxRows)
                                            : tiles.rowBlock;
  }
  /// A loop, or just its body when it is known to run once.
  void loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
    emitLoop(b, loc, begin, end, step, body);
  }
  Value constant(int64_t value) { return math.constant(value); }
  /// A flat buffer as rows of `columns` elements.
  Value asMatrix(Value buffer, int64_t columns);

  KernelBuilder &kernel;
  const CpuTarget &target;
  LaunchShape &launch;
  const FusionStructure &structure;
  OpBuilder &b;
  Location loc;
  ElementEmitter emitter;
  IndexMath &math;

  DotTiles tiles;
  SmallVector<Group> groups;
  /// Tasks of one row block.
  int64_t blocks = 0;
  /// Left rows, in scratch or in place, and the distance of two of them.
  Value lhs;
  int64_t lhsStride = 0;
  bool inPlace = false;
  /// The sums of each dot of a group: rows x the group's column block.
  SmallVector<Value> sums;
  /// Where a panel of a right side that is not a constant is put.
  llvm::DenseMap<Type, Value> packScratch;
  /// While an epilogue is emitted: the row among those of the block.
  Value sumRow;
};
} // namespace

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

LogicalResult DotLowering::checkTypes() {
  auto supported = [](Type type) { return type.isF32() || type.isBF16() || type.isF16(); };
  for (const DotGroup &group : structure.groups)
    for (DotOp dot : group.dots)
      for (Value operand : {dot.getLhs(), dot.getRhs()})
        if (Type type = getElementTypeOrSelf(operand.getType()); !supported(type))
          return dot->emitOpError("has elements of type ")
                 << type << "; the CPU multiplies f32, f16 and bf16";
  return success();
}

bool DotLowering::isPacked(DotOp dot) {
  auto argument = cast<BlockArgument>(dot.getRhs());
  return llvm::any_of(launch.panels, [&](const LaunchShape::Panels &panels) {
    return panels.input == argument.getArgNumber();
  });
}

void DotLowering::selectTiles() {
  DotShape shape;
  shape.rowsKnown = structure.rows.asConstant().has_value();
  auto function = kernel.fusion->getParentOfType<func::FuncOp>();
  shape.rows = std::max<int64_t>(1, structure.rows.evaluate([&](StringRef name) {
    return function ? getSymbolHint(function, name) : 128;
  }));
  shape.contracted = structure.contracted;
  shape.lhsType = getElementTypeOrSelf(structure.lhs.getType());
  shape.columns = 0;
  for (const DotGroup &group : structure.groups) {
    shape.columns += group.columns;
    shape.dots = std::max<int64_t>(shape.dots, group.dots.size());
    for (DotOp dot : group.dots) {
      Type type = getElementTypeOrSelf(dot.getRhs().getType());
      // One left side serves all: only if all are bf16 is it kept in bf16.
      if (!shape.rhsType || shape.rhsType.isBF16())
        shape.rhsType = type;
    }
  }
  tiles = selectDotTiles(shape, target);
}

void DotLowering::planGroups() {
  int64_t mostColumns = 0;
  size_t mostDots = 0;
  for (const DotGroup &structureOfGroup : structure.groups) {
    Group &group = groups.emplace_back();
    group.structure = &structureOfGroup;
    group.columnBlock = std::lcm(panelColumns, structureOfGroup.mixing);
    group.blocks = llvm::divideCeil(structureOfGroup.columns, group.columnBlock);
    group.firstBlock = blocks;
    blocks += group.blocks;
    mostColumns = std::max(mostColumns, group.columnBlock);
    for (DotOp dot : structureOfGroup.dots) {
      auto argument = cast<BlockArgument>(dot.getRhs());
      Operation *producer = kernel.fusion.getInputs()[argument.getArgNumber()].getDefiningOp();
      if (isa_and_nonnull<WeightOp, ConstantOp>(producer) && !isPacked(dot))
        launch.panels.push_back({argument.getArgNumber(), panelColumns,
                                 pairOf(getElementTypeOrSelf(argument.getType()))});
    }
    mostDots = std::max(mostDots, structureOfGroup.dots.size());
  }
  // The groups take turns with the same tiles.
  while (sums.size() < mostDots)
    sums.push_back(kernel.allocScratch(scratchRows() * mostColumns, b.getF32Type()));
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
  Value value = structure.lhs;
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getInput();
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument)
    return {};
  Value buffer = kernel.bufferOf(argument);
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Type wanted = readsBf16() ? Type(b.getBF16Type()) : Type(b.getF32Type());
  if (element != wanted || structure.contracted % (readsBf16() ? 2 : 1) != 0)
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
  Value contracted = constant(structure.contracted);
  loop(constant(0), block.rows, 1, [&](Value local) {
    Value row = math.add(block.firstRow, local);
    emitRowReductions(emitter, kernel, row, tiles.width);
    int64_t width = commonWidth(emitter, {structure.lhs}, tiles.width);
    Value base = math.mul(local, lhsStride);
    emitColumns(kernel, math, constant(0), contracted, width, [&](Value column, int64_t width) {
      Value linear = math.join(row, contracted, column);
      Value element = emitter.emit(structure.lhs, emitter.delinearize(linear, structure.lhs), width);
      emitter.store(element, lhs, math.add(base, column));
    });
    // The other half of the last pair.
    if (structure.contracted % 2 != 0) {
      Type type = cast<MemRefType>(lhs.getType()).getElementType();
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
      memref::StoreOp::create(b, loc, zero, lhs, math.add(base, structure.contracted));
    }
  });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Value DotLowering::asMatrix(Value buffer, int64_t columns) {
  auto flat = cast<MemRefType>(buffer.getType());
  auto type = MemRefType::get({ShapedType::kDynamic, columns}, flat.getElementType());
  Value size = memref::DimOp::create(b, loc, buffer, 0);
  OpFoldResult rows = math.div(size, columns);
  return memref::ReinterpretCastOp::create(
      b, loc, type, buffer, /*offset=*/b.getIndexAttr(0),
      ArrayRef<OpFoldResult>{rows, b.getIndexAttr(columns)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(columns), b.getIndexAttr(1)});
}

void DotLowering::emitRegisterTiles(Value rhs, Value rhsOffset, Value sum, Value column,
                                    const Group &group, const Block &block,
                                    int64_t firstContracted) {
  Type rhsType = cast<MemRefType>(rhs.getType()).getElementType();
  MicroKernel micro;
  micro.vectors = tiles.vectors;
  micro.width = tiles.width;
  micro.rhsType = rhsType;
  micro.pair = pairOf(rhsType);
  micro.bf16Dot = readsBf16();
  micro.unroll = tiles.unroll;
  micro.prefetchBytes = tiles.prefetchBytes;
  int64_t groupRows = tiles.product == CpuProduct::Amx ? 8 : tiles.rows;
  emitRowGroups(b, loc, block.rows, groupRows, [&](Value local, int64_t rows) {
    micro.rows = rows;
    Value lhsRow = inPlace ? math.add(block.firstRow, local) : local;
    for (int64_t first = 0; first < panelColumns; first += micro.columns()) {
      MicroOperands operands;
      operands.lhs = lhs;
      operands.lhsOffset = math.add(math.mul(lhsRow, lhsStride), firstContracted);
      operands.lhsStride = lhsStride;
      operands.rhs = rhs;
      operands.rhsOffset =
          math.add(rhsOffset, firstContracted * panelColumns + first * micro.pair);
      operands.rhsStride = panelColumns * micro.pair;
      operands.steps =
          constant(llvm::divideCeil(structure.contracted - firstContracted, micro.pair));
      operands.tile = sum;
      operands.tileOffset =
          math.add(math.add(math.mul(local, group.columnBlock), column), first);
      operands.tileStride = group.columnBlock;
      operands.accumulate = firstContracted != 0;
      emitMicroKernel(b, loc, micro, operands);
    }
  });
}

/// Two by two tiles of 16 rows and columns. The rows behind the last one are computed
/// too, from whatever scratch holds, and not used.
void DotLowering::emitAmxTiles(Value rhs, Value rhsOffset, Value sum, Value column,
                               const Group &group, const Block &block) {
  constexpr int64_t tileRows = 16, tileContracted = 32;
  auto sumType = amx::TileType::get({tileRows, tileRows}, b.getF32Type());
  auto operandType = amx::TileType::get({tileRows, tileContracted}, b.getBF16Type());
  int64_t pairRow = panelColumns * 2;
  Value left = asMatrix(lhs, lhsStride), right = asMatrix(rhs, pairRow);
  Value result = asMatrix(sum, group.columnBlock);
  Value rhsRow = math.div(rhsOffset, pairRow);
  int64_t whole = structure.contracted / tileContracted * tileContracted;
  loop(constant(0), block.rows, amxRows, [&](Value local) {
    Value zero = amx::TileZeroOp::create(b, loc, sumType);
    SmallVector<Value> rows{local, math.add(local, tileRows)};
    SmallVector<Value> columns{constant(0), constant(pairRow / 2)};
    auto steps = scf::ForOp::create(b, loc, constant(0), constant(whole), constant(tileContracted),
                                    SmallVector<Value>(4, zero));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(steps.getBody());
      Value step = steps.getInductionVar();
      Value panelRow = math.add(rhsRow, math.div(step, 2));
      SmallVector<Value> a, w, next;
      for (Value row : rows)
        a.push_back(amx::TileLoadOp::create(b, loc, operandType, left, ValueRange{row, step}));
      for (Value first : columns)
        w.push_back(
            amx::TileLoadOp::create(b, loc, operandType, right, ValueRange{panelRow, first}));
      for (int64_t tile = 0; tile < 4; ++tile)
        next.push_back(amx::TileMulFOp::create(b, loc, sumType, a[tile / 2], w[tile % 2],
                                               steps.getRegionIterArg(tile)));
      scf::YieldOp::create(b, loc, next);
    }
    for (int64_t tile = 0; tile < 4; ++tile)
      amx::TileStoreOp::create(
          b, loc, result,
          ValueRange{rows[tile / 2], math.add(column, tile % 2 * tileRows)}, steps.getResult(tile));
  });
  if (whole != structure.contracted)
    emitRegisterTiles(rhs, rhsOffset, sum, column, group, block, whole);
}

Value DotLowering::emitPackedPanel(const Group &group, DotOp dot, Value panel) {
  Value buffer = kernel.bufferOf(cast<BlockArgument>(dot.getRhs()));
  Type type = cast<MemRefType>(buffer.getType()).getElementType();
  int64_t pair = pairOf(type), contracted = structure.contracted;
  Value &packed = packScratch[type];
  if (!packed)
    packed = kernel.allocScratch(llvm::alignTo(contracted, pair) * panelColumns, type);
  Value first = math.mul(panel, panelColumns);
  Value columns =
      math.min(constant(panelColumns), math.sub(constant(group.structure->columns), first));
  loop(constant(0), columns, 1, [&](Value column) {
    Value source = math.mul(math.add(first, column), contracted);
    loop(constant(0), constant(contracted), 1, [&](Value k) {
      Value element = memref::LoadOp::create(b, loc, buffer, math.add(source, k));
      Value place = math.join(math.join(math.div(k, pair), constant(panelColumns), column),
                              constant(pair), math.mod(k, pair));
      memref::StoreOp::create(b, loc, element, packed, place);
    });
    if (contracted % pair != 0) {
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
      Value place = math.add(math.mul(column, pair),
                             contracted / pair * panelColumns * pair + contracted % pair);
      memref::StoreOp::create(b, loc, zero, packed, place);
    }
  });
  return packed;
}

void DotLowering::emitPanel(const Group &group, DotOp dot, Value sum, Value panel, Value column,
                            const Block &block) {
  Value rhs = kernel.bufferOf(cast<BlockArgument>(dot.getRhs()));
  int64_t pair = pairOf(cast<MemRefType>(rhs.getType()).getElementType());
  Value offset = constant(0);
  if (isPacked(dot))
    offset = math.mul(panel, llvm::alignTo(structure.contracted, pair) * panelColumns);
  else
    rhs = emitPackedPanel(group, dot, panel);
  if (tiles.product == CpuProduct::Amx)
    emitAmxTiles(rhs, offset, sum, column, group, block);
  else
    emitRegisterTiles(rhs, offset, sum, column, group, block, 0);
}

void DotLowering::emitPanels(const Group &group, const Block &block) {
  Value firstPanel = math.div(block.firstColumn, panelColumns);
  Value panels = math.ceilDiv(block.columns, panelColumns);
  loop(constant(0), panels, 1, [&](Value local) {
    Value panel = math.add(firstPanel, local), column = math.mul(local, panelColumns);
    for (auto [dot, sum] : llvm::zip(group.structure->dots, sums))
      emitPanel(group, dot, sum, panel, column, block);
  });
}

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

void DotLowering::emitOutputs(const Group &group, Value row, Value column, int64_t width) {
  Value linear = math.join(row, constant(group.structure->columns), column);
  for (unsigned position : group.structure->outputs)
    storeOutput(emitter, kernel, position, linear, width);
}

void DotLowering::emitEpilogue(const Group &group, const Block &block) {
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
    Value row = math.add(block.firstRow, local);
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
// Tasks
//===----------------------------------------------------------------------===//

void DotLowering::emitColumnBlock(const Group &group, Value number, Block block) {
  int64_t columns = group.structure->columns;
  block.firstColumn = math.mul(number, group.columnBlock);
  block.columns = constant(group.columnBlock);
  if (columns % group.columnBlock != 0)
    block.columns = math.min(block.columns, math.sub(constant(columns), block.firstColumn));
  emitPanels(group, block);
  emitEpilogue(group, block);
}

void DotLowering::emitRowBlock(Value rowBlock, Value firstBlock, Value endBlock) {
  Block block;
  block.firstRow = math.mul(rowBlock, tiles.rowBlock);
  block.rows = constant(tiles.rowBlock);
  std::optional<int64_t> known = structure.rows.asConstant();
  if (!known || *known % tiles.rowBlock != 0)
    block.rows =
        math.min(block.rows, math.sub(kernel.extent(structure.rows), block.firstRow));
  if (!inPlace)
    emitPrologue(block);
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

LogicalResult DotLowering::run() {
  if (failed(checkTypes()))
    return failure();
  selectTiles();
  planGroups();
  planLaunch();
  lhs = lhsInPlace();
  inPlace = lhs != nullptr;
  lhsStride = inPlace ? structure.contracted : tiles.lhsStride;
  if (!inPlace)
    lhs = kernel.allocScratch(scratchRows() * lhsStride,
                              readsBf16() ? Type(b.getBF16Type()) : Type(b.getF32Type()));
  if (tiles.oneRowBlock) {
    emitRowBlock(constant(0), kernel.begin, kernel.end);
    return failure(kernel.failed);
  }
  Value firstRowBlock = math.div(kernel.begin, blocks);
  Value endRowBlock = math.ceilDiv(kernel.end, blocks);
  loop(firstRowBlock, endRowBlock, 1, [&](Value rowBlock) {
    Value base = math.mul(rowBlock, blocks);
    Value begin = arith::SubIOp::create(
        b, loc, arith::MaxUIOp::create(b, loc, kernel.begin, base).getResult(), base);
    Value end = math.min(math.sub(kernel.end, base), constant(blocks));
    emitRowBlock(rowBlock, begin, end);
  });
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerDotForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                    LaunchShape &launch) {
  return DotLowering(kernel, target, launch).run();
}
