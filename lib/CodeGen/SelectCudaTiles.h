//===- SelectCudaTiles.h - Tiles of CUDA matrix products --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "CudaTileChoice.h"

namespace mlsys {

/// The template of the device library and its constants for one dot group.
struct CudaDotTile {
  /// "gemv_mma", "gemv", "matmul" or "matmul_int8", as in kernel.contract.
  llvm::StringRef method = "matmul";
  /// gemv_mma: rows, tiles at once, tiles one after the other, warps, unroll, bytes before the staged rows. gemv: rows, BN,
  /// warps, chunk. matmul: BM, BN, BK, stages, warpsM, warpsN. matmul_int8: BM, BN, warpsM, warpsN, unsigned.
  llvm::SmallVector<int32_t> config;
  /// BN: a multiple of the group's mixing, unless `half` is not 0.
  int64_t columns = 0;
  /// gemv_mma, not 0: the tile has columns / 2 columns and those that lie `half` further on.
  int64_t half = 0;
  /// gemv_mma: where a computed left side is in shared memory, whose end it is, and from row to row, in elements.
  int64_t stagedOffset = 0, stagedStride = 0;
};

/// The tiles of all groups of a fusion, which run in blocks of the same size.
struct CudaDotPlan {
  llvm::SmallVector<CudaDotTile> tiles;
  int64_t threads = 0;
  /// The rows of a tile.
  int64_t rows = 0;
  /// Shared memory of the largest tile.
  int64_t sharedBytes = 0;

  /// Whether its tiles are those of gemv_mma; of gemv. With either a block has all rows.
  bool isMma() const { return tiles.front().method == "gemv_mma"; }
  bool isGemv() const { return tiles.front().method == "gemv"; }
};

/// A plan that is possible.
struct CudaDotCandidate : CudaCandidate {
  CudaDotPlan plan;
};

/// The plans that are possible, by shape, type and target alone: of gemv when the rows are known to be few, of matmul
/// otherwise. `element` is f32, f16, bf16 or i8; `count`: so many matrices have `rows` rows each (experts); `direct`: the
/// left side is a buffer of this type. None when a group mixes more columns than a tile has.
llvm::SmallVector<CudaDotCandidate> listCudaPlans(const graph::FusionStructure &structure, mlir::Type element,
                                                  CudaRows rows, int64_t count, bool direct,
                                                  const CudaTarget &target);

/// Those of gemv_mma.cuh; none when they do not suit. There are at most 16 rows.
llvm::SmallVector<CudaDotCandidate> listGemvMmaPlans(const graph::FusionStructure &structure, CudaRows rows,
                                                     bool direct, const CudaTarget &target);

/// Those of matmul.cuh for 16-bit floats.
llvm::SmallVector<CudaDotCandidate> listMmaPlans(const graph::FusionStructure &structure, int64_t rows, int64_t count,
                                                 bool direct, const CudaTarget &target);

/// True when an output of the group at a column reads the dots at this column and, in the same
/// aligned group of `mixing`, at the one half of the group away: a rotary embedding of whole heads.
bool readsPairsOfColumns(const graph::FusionStructure &structure, const graph::DotGroup &group);

} // namespace mlsys
