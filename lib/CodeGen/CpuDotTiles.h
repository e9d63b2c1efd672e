//===- CpuDotTiles.h - Tiles of products on the CPU -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "SelectTiles.h"
#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// What a kernel of products does for a block of rows and one of columns: products of the rows,
/// which are in scratch or in place, with panels of the right sides, and the epilogue. Who uses
/// it says which rows and columns, and brings the rows there.
class CpuDotTiles {
public:
  CpuDotTiles(KernelBuilder &kernel, const CpuTarget &target, LaunchShape &launch)
      : kernel(kernel), target(target), launch(launch), structure(kernel.structure),
        b(kernel.builder), loc(kernel.loc), emitter(kernel), math(emitter.index()) {}

protected:
  /// One group of dots and where its columns lie among the tasks of a row block.
  struct Group {
    const graph::DotGroup *structure;
    /// Columns of a task, and the tasks of a row block: their number and the first one.
    int64_t columnBlock, blocks, firstBlock;
  };

  /// The part of the tasks that is computed at once. Values are indices.
  struct Block {
    /// The first row and how many there are.
    mlir::Value firstRow, rows;
    /// The first column and how many there are; not set while only rows are known.
    mlir::Value firstColumn, columns;
  };

  mlir::LogicalResult checkTypes();
  /// The shape of the products, with the rows that are given.
  DotShape getShape(bool rowsKnown, int64_t rows);
  /// Lists the groups, asks for packed weights and makes room for sums. `tiles` are chosen.
  void planGroups();
  /// Rows in scratch, as `tiles` wants them.
  void allocLhs();

  /// Writes left row `row` to row `local` of the scratch, with the prologue.
  void emitLeftRow(mlir::Value row, mlir::Value local);

  /// Splits the kernel's tasks, `blocks` for each slot (a row block, an expert, ...): calls `body`
  /// with a slot and its tasks [begin, end).
  void forEachSlot(
      llvm::function_ref<void(mlir::Value slot, mlir::Value begin, mlir::Value end)> body);

  /// The tasks [firstBlock, endBlock) of the rows of `block`.
  void emitColumnBlocks(const Block &block, mlir::Value firstBlock, mlir::Value endBlock);

  /// Products of i8, whose sums are i32.
  bool isInteger() const;
  /// The elements of left rows and of the tiles of sums.
  mlir::Type leftType() const;
  mlir::Type sumType() const;
  /// Left rows that are read where they are have a multiple of so many elements.
  int64_t leftStep() const { return isInteger() ? 4 : readsBf16() ? 2 : 1; }
  bool readsBf16() const {
    return tiles.product == CpuProduct::Bf16Dot || (tiles.product == CpuProduct::Amx && !isInteger());
  }
  /// Writes what the sums of row `local`, whose left side begins at element `base` of `lhs`, start
  /// with, where that is not zero (CpuIntegerSteps.h).
  void emitRowStart(mlir::Value base, mlir::Value local);
  /// A loop, or just its body when it is known to run once.
  void loop(mlir::Value begin, mlir::Value end, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  mlir::Value constant(int64_t value) { return math.constant(value); }

  KernelBuilder &kernel;
  const CpuTarget &target;
  LaunchShape &launch;
  const graph::FusionStructure &structure;
  mlir::OpBuilder &b;
  mlir::Location loc;
  ElementEmitter emitter;
  IndexMath &math;

  DotTiles tiles;
  llvm::SmallVector<Group> groups;
  /// Tasks of one row block.
  int64_t blocks = 0;
  /// Left rows, in scratch or in place, and the distance of two of them.
  mlir::Value lhs;
  int64_t lhsStride = 0;
  bool inPlace = false;
  /// Products with experts: the expert whose matrices are multiplied, and the row of the result
  /// for each row of the block (a buffer of i64). Null otherwise.
  mlir::Value expert, rowList;

private:
  /// Rows that the AMX register tile covers.
  static constexpr int64_t amxRows = 32;

  void emitColumnBlock(const Group &group, mlir::Value number, Block block);
  void emitEpilogue(const Group &group, const Block &block);
  void emitOutputs(const Group &group, mlir::Value row, mlir::Value column, int64_t width);

  /// The buffer of a dot's right side.
  static mlir::BlockArgument rightArgument(mlir::Operation *dot) {
    return mlir::cast<mlir::BlockArgument>(graph::getRight(dot));
  }
  bool isPacked(mlir::Operation *dot);
  /// The elements of K that vpdpbusd multiplies begin here: AMX takes the others.
  int64_t firstByteDot() const;
  /// An element or a vector in the type of left rows.
  mlir::Value toLeftType(mlir::Value element);
  int64_t panelsAtOnce(const graph::DotGroup &group);
  /// Rows that tiles in scratch have room for.
  int64_t scratchRows() const;

  // CpuDotProducts.cpp.
  void emitPanels(const Group &group, const Block &block);
  void emitPanel(const Group &group, mlir::Operation *dot, mlir::Value sum, mlir::Value panel,
                 mlir::Value column, const Block &block);
  /// A part of K: its first element, how many there are, whether to add to the tile, and whether
  /// sums get what their row starts with.
  struct Contraction {
    mlir::Value first;
    int64_t count;
    bool accumulate, start = false;
  };
  void emitRegisterTiles(mlir::Value rhs, mlir::Value rhsOffset, mlir::Value sum,
                         mlir::Value column, const Group &group, const Block &block,
                         const Contraction &contraction);
  /// Register tiles for one block of K after the other.
  void emitBlocksOfK(mlir::Value rhs, mlir::Value rhsOffset, mlir::Value sum, mlir::Value column,
                     const Group &group, const Block &block);
  void emitAmxTiles(mlir::Value rhs, mlir::Value rhsOffset, mlir::Value sum, mlir::Value column,
                    const Group &group, const Block &block);
  /// Copies a panel of a right side that is not a constant into order; gives its buffer.
  mlir::Value emitPackedPanel(const Group &group, mlir::Operation *dot, mlir::Value panel);
  /// A flat buffer as rows of `columns` elements.
  mlir::Value asMatrix(mlir::Value buffer, int64_t columns);

  /// The sums of each dot of a group: rows x the group's column block.
  llvm::SmallVector<mlir::Value> sums;
  /// What the sums of each row of the block start with; null: with zero.
  mlir::Value rowStarts;
  /// Where a panel of a right side that is not a constant is put.
  llvm::DenseMap<mlir::Type, mlir::Value> packScratch;
  /// While an epilogue is emitted: the row among those of the block.
  mlir::Value sumRow;
};

} // namespace mlsys
