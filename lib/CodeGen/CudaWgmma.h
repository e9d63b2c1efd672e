//===- CudaWgmma.h - Products by wgmma and TMA ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"

namespace mlsys {

/// The template of matmul_wgmma.cuh and its constants.
struct WgmmaPlan {
  bool swapped = false;
  /// WgmmaConfig: P, BN, stages, columns of a sub-tile. SwappedConfig: P, columns, rows, stages.
  llvm::SmallVector<int32_t> config;
  /// K is cut into so many parts, each computed by one block of a cluster.
  int64_t parts = 1;
  /// The two blocks of a cluster share the weights.
  bool pair = false;
  int64_t cluster() const { return pair ? 2 : parts; }
  /// Of a tile: rows of the left side and of a weight.
  int64_t leftRows = 0, weightRows = 0;
  int64_t threads = 0, sharedBytes = 0;
};

/// Chooses for the fusion by shape and type; nothing where wgmma cannot compute it or gemv is
/// better: other targets than Hopper, experts, a prologue, f32, 16 rows or fewer.
std::optional<WgmmaPlan> selectWgmma(KernelBuilder &kernel, const CudaTarget &target);

/// Writes the body of the kernel.
mlir::LogicalResult lowerDotByWgmma(KernelBuilder &kernel, const CudaTarget &target, const WgmmaPlan &plan,
                                    LaunchShape &launch);

} // namespace mlsys
