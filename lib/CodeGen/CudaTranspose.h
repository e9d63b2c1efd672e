//===- CudaTranspose.h - Transposes through shared memory -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"

namespace mlsys {

/// Transposes of a fusion of kind loop that exchange two groups of dimensions, across whose order its outputs are
/// written: all of them the same way.
struct CudaTranspose {
  llvm::SmallVector<graph::TransposeOp> transposes;
  /// Positions of dimensions of a result, in order: those that are neighbours in memory before, and those that are
  /// afterwards. The others count whole tiles.
  llvm::SmallVector<int64_t> from, to;
  /// Their extents.
  graph::DimExpr fromExtent, toExtent;
};

/// The transposes of `fusion` that are worth tiles; nothing when there are none.
std::optional<CudaTranspose> planCudaTranspose(graph::FusionOp fusion);

/// Writes a kernel whose blocks bring a tile of each transposed value to shared memory and compute that tile of the outputs.
mlir::LogicalResult lowerTransposeForCuda(KernelBuilder &kernel, const CudaTranspose &plan, LaunchShape &launch);

} // namespace mlsys
