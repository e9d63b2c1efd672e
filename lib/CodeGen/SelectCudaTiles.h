//===- SelectCudaTiles.h - Tiles of CUDA matrix products --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/FusionAnalysis.h"

namespace mlsys {

/// The template of the device library and its constants for one dot group.
struct CudaDotTile {
  bool gemv = false;
  /// gemv: rows, BN, warps, chunk. matmul: BM, BN, BK, stages, warpsM, warpsN.
  llvm::SmallVector<int32_t> config;
  /// BN: a multiple of the group's mixing.
  int64_t columns = 0;
};

/// The tiles of all groups of a fusion, which run in blocks of the same size.
struct CudaDotPlan {
  llvm::SmallVector<CudaDotTile> tiles;
  int64_t threads = 0;
  /// The rows of a tile.
  int64_t rows = 0;
  /// Shared memory of the largest tile.
  int64_t sharedBytes = 0;
};

/// Chooses by shape and type alone: gemv when `rows` is known and small, matmul otherwise.
/// `element` is f32, f16 or bf16. Fails when a group mixes more columns than a tile has.
llvm::FailureOr<CudaDotPlan> selectCudaTiles(const graph::FusionStructure &structure,
                                             mlir::Type element, std::optional<int64_t> rows);

} // namespace mlsys
