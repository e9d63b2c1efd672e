//===- SelectCudaTiles.cpp - Tiles of CUDA matrix products ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "SelectCudaTiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Rows up to which a block keeps all of them in registers and reads weights once.
static constexpr int64_t maxGemvRows = 16;
/// Sums that a thread can hold beside what it loads without spilling.
static constexpr int64_t maxThreadSums = 64;
static constexpr int64_t maxTileColumns = 256;

/// Config::sharedBytes of gemv.cuh.
static int64_t gemvSharedBytes(ArrayRef<int32_t> config, int64_t products) {
  return config[0] * config[3] * 4 + products * config[0] * (config[1] + 4) * 4;
}

/// Config::sharedBytes of matmul.cuh.
static int64_t matmulSharedBytes(ArrayRef<int32_t> config, int64_t products, int64_t elementBytes) {
  int64_t pad = elementBytes == 4 ? 4 : 0;
  int64_t pipeline =
      config[3] * (config[0] + products * config[1]) * (config[2] + pad) * elementBytes;
  int64_t tile = products * config[0] * (config[1] + 4) * 4;
  return std::max(pipeline, tile);
}

/// gemv for every group, or nothing when the sums of one do not fit into registers.
static std::optional<CudaDotPlan> planGemv(const FusionStructure &structure, int64_t rows) {
  int64_t tileRows = llvm::PowerOf2Ceil(rows);
  for (int64_t warps : {8, 16}) {
    CudaDotPlan plan;
    plan.threads = warps * 32;
    plan.rows = tileRows;
    bool fits = true;
    for (const DotGroup &group : structure.groups) {
      int64_t products = group.dots.size();
      int64_t columns = std::max<int64_t>(2 * warps, group.mixing);
      // Whole groups of mixed columns, and the same number for each warp.
      while (columns % group.mixing != 0 || columns % warps != 0)
        ++columns;
      fits &= columns <= maxTileColumns && columns / warps * tileRows * products <= maxThreadSums;
      int32_t chunk = tileRows >= 8 ? 512 : 1024;
      CudaDotTile tile;
      tile.method = "gemv";
      tile.columns = columns;
      tile.config = {static_cast<int32_t>(tileRows), static_cast<int32_t>(columns),
                     static_cast<int32_t>(warps), chunk};
      plan.sharedBytes = std::max(plan.sharedBytes, gemvSharedBytes(tile.config, products));
      plan.tiles.push_back(tile);
    }
    if (fits)
      return plan;
  }
  return std::nullopt;
}

FailureOr<CudaDotPlan> mlsys::selectCudaTiles(const FusionStructure &structure, Type element,
                                              std::optional<int64_t> rows, bool direct,
                                              const CudaTarget &target) {
  bool few = rows && *rows >= 1 && *rows <= maxGemvRows;
  if (few && !element.isF32() && (direct || !structure.experts))
    if (std::optional<CudaDotPlan> plan = planGemvMma(structure, *rows, direct, target))
      return *plan;
  if (few)
    if (std::optional<CudaDotPlan> plan = planGemv(structure, *rows))
      return *plan;

  bool isHalf = !element.isF32();
  CudaDotPlan plan;
  plan.threads = 128;
  plan.rows = 64;
  for (const DotGroup &group : structure.groups) {
    int64_t products = group.dots.size();
    int64_t columns = std::max<int64_t>(64, group.mixing);
    while (columns % group.mixing != 0 || columns % 32 != 0)
      ++columns;
    if (columns > maxTileColumns || products > 4)
      return failure();
    CudaDotTile tile;
    tile.columns = columns;
    if (isHalf)
      tile.config = {64, static_cast<int32_t>(columns), 32, 3, 2, 2};
    else
      tile.config = {64, static_cast<int32_t>(columns), 16, 2, 2, 2};
    plan.sharedBytes = std::max(plan.sharedBytes,
                                matmulSharedBytes(tile.config, products, isHalf ? 2 : 4));
    plan.tiles.push_back(tile);
  }
  return plan;
}
