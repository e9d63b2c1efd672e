//===- CudaDotPrologue.h - The left side of dots on CUDA --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"
#include "SelectCudaTiles.h"

namespace mlsys {

/// The left side of the kernel.contract of a fusion of dots: a buffer as it stands, or rows that each block computes
/// for its tile, with their reductions in shared memory.
class CudaDotPrologue {
public:
  CudaDotPrologue(ElementEmitter &emitter, KernelBuilder &kernel, CudaDotPlan &plan)
      : emitter(emitter), kernel(kernel), plan(plan), builder(kernel.builder), loc(kernel.loc), math(emitter.index()),
        structure(kernel.structure) {}

  /// The buffer of the left side when it is one as it stands; null when there is a
  /// prologue to compute.
  mlir::Value directLhs() const;

  /// Makes room for the reductions of a tile's rows, if there are any, in shared memory from `offset` on, or, where
  /// gemv_mma has computed rows, before these, which it moves in the plan. Gives the bytes.
  int64_t allocStatistics(int64_t offset);
  bool hasStatistics() const { return statistics != nullptr; }
  /// Computes the prologue's reductions for rows [row0, row0 + rows) of the tile.
  void emitStatistics(mlir::Value row0, mlir::Value rows);

  /// Fills the regions of `contract` before the epilogue, for `rows` rows from `row0` on.
  void emit(kernel::ContractOp contract, const CudaDotTile &tile, mlir::Value rows, mlir::Value row0);

private:
  /// The 16-bit tensor from whose rows a prologue is computed element by element (but for reductions of
  /// whole rows): its rows are read once, and what is computed takes their place. Null when there is none.
  mlir::BlockArgument rawRows() const;
  /// Elements of the raw rows come from shared memory, where they lie in the staged rows' place.
  void bindRawRows(const CudaDotTile &tile);
  /// What a block of gemv_mma does while its first weights come.
  void emitPrepare(kernel::ContractOp contract, const CudaDotTile &tile, mlir::Value rows);
  /// The elements of the left side.
  void emitElements(kernel::ContractOp contract, mlir::Value row0);

  ElementEmitter &emitter;
  KernelBuilder &kernel;
  CudaDotPlan &plan;
  mlir::OpBuilder &builder;
  mlir::Location loc;
  IndexMath &math;
  const graph::FusionStructure &structure;
  /// Reductions of the tile's rows: [row][reduction] in shared memory.
  mlir::Value statistics;
};

} // namespace mlsys
