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

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Bytes of K that an AMX tile holds.
static constexpr int64_t amxBytes = 64;

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
                                 getPanelPair(getElementTypeOrSelf(argument.getType()))});
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
