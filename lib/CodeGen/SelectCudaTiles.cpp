//===- SelectCudaTiles.cpp - Tiles of CUDA matrix products ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "SelectCudaTiles.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Sums that a thread can hold beside what it loads without spilling.
static constexpr int64_t maxThreadSums = 64;
static constexpr int64_t maxTileColumns = 256;

/// Config::sharedBytes of gemv.cuh.
static int64_t gemvSharedBytes(ArrayRef<int32_t> config, int64_t products) {
  return config[0] * config[3] * 4 + products * config[0] * (config[1] + 4) * 4;
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

/// f32: one tile for all.
static std::optional<CudaDotPlan> planSimt(const FusionStructure &structure) {
  constexpr int32_t rows = 64, step = 16, stages = 2;
  CudaDotPlan plan;
  plan.threads = 128;
  plan.rows = rows;
  for (const DotGroup &group : structure.groups) {
    int64_t products = group.dots.size(), columns = llvm::alignTo(64, std::lcm(group.mixing, 32));
    if (columns > maxTileColumns || products > 4)
      return std::nullopt;
    CudaDotTile tile;
    tile.columns = columns;
    tile.config = {rows, static_cast<int32_t>(columns), step, stages, 2, 2};
    // Config::sharedBytes of matmul.cuh.
    int64_t pipeline = stages * (rows + products * columns) * (step + 4) * 4;
    plan.sharedBytes = std::max({plan.sharedBytes, pipeline, products * rows * (columns + 4) * 4});
    plan.tiles.push_back(tile);
  }
  return plan;
}

/// i8: few rows or many.
static std::optional<CudaDotPlan> planInt8(const FusionStructure &structure, bool few) {
  constexpr int64_t stages = 3, rowBytes = 80, maxColumns = 256;
  CudaDotPlan plan;
  plan.threads = 128;
  plan.rows = few ? 16 : 64;
  int32_t warpsM = few ? 1 : 2, warpsN = few ? 4 : 2;
  bool isUnsigned = cast<RankedTensorType>(structure.lhs.getType()).getElementType().isUnsignedInteger();
  for (const DotGroup &group : structure.groups) {
    int64_t products = group.dots.size(), columns = llvm::alignTo(64, std::lcm<int64_t>(group.mixing, 16 * warpsN));
    if (columns * products > maxColumns || products > 4)
      return std::nullopt;
    CudaDotTile tile;
    tile.method = "matmul_int8";
    tile.columns = columns;
    tile.config = {static_cast<int32_t>(plan.rows), static_cast<int32_t>(columns), warpsM, warpsN, isUnsigned};
    // Int8Config::sharedBytes.
    int64_t pipeline = stages * (plan.rows + products * columns) * rowBytes;
    plan.sharedBytes = std::max({plan.sharedBytes, pipeline, products * plan.rows * (columns + 4) * 4});
    plan.tiles.push_back(tile);
  }
  return plan;
}

SmallVector<CudaDotCandidate> mlsys::listCudaPlans(const FusionStructure &structure, Type element, CudaRows rows,
                                                   int64_t count, bool direct, const CudaTarget &target) {
  SmallVector<CudaDotCandidate> candidates;
  bool few = rows.most && *rows.most >= 1 && *rows.most <= maxGemvRows;
  if (element.isInteger(8)) {
    if (std::optional<CudaDotPlan> plan = planInt8(structure, few))
      candidates.push_back({{"int8", 0}, *plan});
    return candidates;
  }
  if (few && !element.isF32() && (direct || !structure.experts))
    candidates = listGemvMmaPlans(structure, rows, direct, target);
  if (few && candidates.empty())
    if (std::optional<CudaDotPlan> plan = planGemv(structure, *rows.most))
      candidates.push_back({{"gemv", 0}, *plan});
  if (!candidates.empty())
    return candidates;
  if (!element.isF32())
    return listMmaPlans(structure, rows.count, count, direct, target);
  if (std::optional<CudaDotPlan> plan = planSimt(structure))
    candidates.push_back({{"simt", 0}, *plan});
  return candidates;
}
