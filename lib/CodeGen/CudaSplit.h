//===- CudaSplit.h - Reductions in parts on CUDA ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Reductions that several blocks compute together: each writes what it has of a part, and the next kernel joins the
// parts, in their order. How many parts there are depends on the length that is reduced (or its hint) and on types,
// never on the number of rows, so that a row gets the same bits in every batch. (For columns also on how many lie side
// by side, or the hint.)
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"

namespace mlsys {

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

/// Reductions along a dimension that is not the last in memory: elements [outer, length, inner] become
/// [outer, inner].
struct CudaColumns {
  graph::DimExpr outer, length, inner;
  /// For each reduction, the tensor in memory's order.
  llvm::SmallVector<mlir::Value> inputs;
  /// Parts of `length`.
  int64_t parts = 1;
};

/// How the reductions of `structure` are computed by columns; nothing when they lie along memory or depend on each other.
std::optional<CudaColumns> planCudaColumns(graph::FusionOp fusion, const graph::FusionStructure &structure,
                                           const CudaTarget &target);

/// Writes the kernel (of one part), or one of the two stages.
mlir::LogicalResult lowerColumnsForCuda(KernelBuilder &kernel, const CudaColumns &columns, unsigned stage,
                                        LaunchShape &launch);

//===----------------------------------------------------------------------===//
// Fusions in parts
//===----------------------------------------------------------------------===//

/// How the reductions of a fusion of kind row are cut. Stage s computes partial results of the reductions of level s
/// after joining those of the levels before; the last stage joins all and makes the outputs.
struct CudaSplit {
  /// Set when what is reduced lies apart in memory.
  std::optional<CudaColumns> columns;
  unsigned stages = 0;
  int64_t parts = 0;
  /// How many elements are reduced to one.
  graph::DimExpr length;
  /// For each reduction: its level, and the maximum of the same values that its terms are relative to (the sum of
  /// a softmax) or null. Such a sum is of the maximum's level: a part is relative to its own maximum.
  llvm::SmallVector<unsigned> levels;
  llvm::SmallVector<graph::ReduceOp> maxima;
  /// The partial results: `elements` of the computed type for each reduction.
  llvm::SmallVector<mlir::Type> temporaries;
  graph::DimExpr elements;
  /// Whether an output is as long as the rows that are reduced.
  bool wideOutputs = false;

  /// Whether `stage` writes the partial results of a reduction.
  bool isWrittenIn(unsigned reduction, unsigned stage) const { return levels[reduction] == stage; }
};

/// The split of a fusion; nothing when one kernel does it.
std::optional<CudaSplit> planCudaSplit(graph::FusionOp fusion, const graph::FusionStructure &structure,
                                       const CudaTarget &target);

/// Writes the body of one stage. The partial results are the last of `kernel.outputs`.
mlir::LogicalResult lowerSplitForCuda(KernelBuilder &kernel, const CudaSplit &split, unsigned stage, LaunchShape &launch);

} // namespace mlsys
