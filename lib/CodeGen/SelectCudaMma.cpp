//===- SelectCudaMma.cpp - Tiles of products by mma.sync ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The tiles of matmul.cuh that are possible for a product of 16-bit floats, and a static model of their time. It
// counts, for the blocks that a multiprocessor has at the same time, clocks of the tensor cores, bytes through
// shared memory and from the L2 cache; bytes from memory; and waves over the multiprocessors.
//
//===----------------------------------------------------------------------===//

#include "SelectCudaTiles.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
/// MatmulConfig but for what follows from a group's mixed columns.
struct Shape {
  int64_t rows, columns, warpsM, warpsN;
};
struct Depth {
  int64_t step, stages;
};

/// What a block of a plan takes, of the largest group.
struct Cost {
  /// Registers of a thread, as an estimate.
  int64_t registers = 0;
  /// For 16 of K: clocks of the tensor cores, of shared memory, and of what the L2 cache brings.
  double mma = 0, shared = 0, cache = 0;
  /// Bytes of a step, and clocks of the epilogue.
  double stepBytes = 0, epilogue = 0;
};
} // namespace

// From those that read memory least to those that fill a GPU best. Warps have at most 128 sums a thread.
static constexpr Shape shapes[] = {
    {32, 64, 1, 4},   {32, 128, 1, 4},  {64, 64, 2, 2},   {64, 128, 2, 2},  {128, 64, 2, 2},  {64, 256, 1, 4},
    {128, 128, 2, 2}, {128, 128, 2, 4}, {256, 64, 4, 1},  {256, 128, 4, 2}, {128, 256, 2, 4},
};
static constexpr Depth depths[] = {{32, 3}, {32, 4}, {64, 3}, {64, 4}};
static constexpr int64_t maxColumns = 256, maxProducts = 4;
/// Sums of a thread, and all its registers by the estimate. A thread has 255; NVRTC's log says that none of these
/// tiles spills (scripts/cuda-gates).
static constexpr int64_t maxSums = 128, maxRegisters = 240;
/// Registers beside sums and fragments: 26 to 44 in the logs of NVRTC 13.0.
static constexpr int64_t otherRegisters = 44;
/// What a computed left side, and an epilogue that mixes columns (rope), ask for in addition.
static constexpr int64_t prologueRegisters = 24, mixingRegisters = 16;
/// Clocks until what was asked for comes from memory, and of a barrier with its waits.
static constexpr double latency = 800, barrier = 40;
/// Bytes on their way to a multiprocessor that keep memory busy (Little's law with loaded memory).
static constexpr double busyBytes = 40e3;
/// Shared memory that the driver takes for a block.
static constexpr int64_t reservedBytes = 1024;
/// Clocks for an element of the left side that a prologue computes, in one of 128 lanes.
static constexpr double prologueClocks = 16;

/// Config::sharedBytes of matmul.cuh.
static int64_t sharedBytesOf(ArrayRef<int32_t> config, int64_t products) {
  int64_t pipeline = config[3] * (config[0] + products * config[1]) * config[2] * 2;
  int64_t part = products * 16 * config[4] * (config[1] + 8) * 4;
  return std::max(pipeline, part);
}

/// The largest group decides, since all have blocks of the same size.
static void addCost(Cost &cost, ArrayRef<int32_t> config, int64_t products, const CudaRates &rates) {
  int64_t rows = config[0], columns = config[1] * products, warpsM = config[4], warpsN = config[5];
  int64_t fragmentsM = rows / warpsM / 16, fragmentsN = columns / warpsN / 8;
  int64_t sums = fragmentsM * fragmentsN * 4, fragments = 2 * (fragmentsM * 4 + fragmentsN * 2);
  cost.registers = std::max(cost.registers, sums > maxSums ? maxRegisters + 1 : sums + fragments + otherRegisters);
  cost.mma = std::max(cost.mma, rows * columns * 16 / rates.mma);
  double read = warpsM * warpsN * (fragmentsM * 512 + fragmentsN * 256), brought = (rows + columns) * 32;
  cost.shared = std::max(cost.shared, (read + brought) / rates.shared);
  cost.cache = std::max(cost.cache, brought / rates.cache);
  cost.stepBytes = std::max(cost.stepBytes, brought * (config[2] / 16.0));
  // Sums go through shared memory once, results to the cache.
  cost.epilogue = std::max(cost.epilogue, rows * columns * (8 / rates.shared + 2 / rates.cache));
}

/// A plan of this shape; nothing when a group does not fit.
static std::optional<CudaDotPlan> makePlan(const FusionStructure &structure, Shape shape, Depth depth) {
  CudaDotPlan plan;
  plan.threads = shape.warpsM * shape.warpsN * 32;
  plan.rows = shape.rows;
  for (const DotGroup &group : structure.groups) {
    int64_t products = group.dots.size(), whole = std::lcm(group.mixing, 16 * shape.warpsN);
    CudaDotTile tile;
    tile.columns = llvm::alignTo(shape.columns, whole);
    if (tile.columns > maxColumns || products > maxProducts)
      return std::nullopt;
    for (int64_t constant : {shape.rows, tile.columns, depth.step, depth.stages, shape.warpsM, shape.warpsN})
      tile.config.push_back(static_cast<int32_t>(constant));
    plan.sharedBytes = std::max(plan.sharedBytes, sharedBytesOf(tile.config, products));
    plan.tiles.push_back(tile);
  }
  return plan;
}

/// Microseconds; nothing when registers or shared memory do not suffice. `rows`: of one product, of which there are `count`.
static std::optional<double> estimateTime(const FusionStructure &structure, int64_t rows, int64_t count, bool direct,
                                          const CudaDotPlan &plan, const CudaTarget &target) {
  const CudaRates rates = CudaRates::get(target);
  Cost cost;
  bool mixes = false;
  int64_t columnBlocks = 0;
  double bytes = static_cast<double>(rows) * count * structure.contracted * 2;
  for (auto [group, tile] : llvm::zip_equal(structure.groups, plan.tiles)) {
    int64_t products = group.dots.size();
    addCost(cost, tile.config, products, rates);
    mixes |= group.mixing > 1;
    columnBlocks += llvm::divideCeil(group.columns, tile.columns);
    bytes += static_cast<double>(group.columns) * products * 2 * (structure.contracted * count + rows * count);
  }
  cost.registers += (direct ? 0 : prologueRegisters) + (mixes ? mixingRegisters : 0);
  if (cost.registers > maxRegisters)
    return std::nullopt;
  int64_t stages = plan.tiles.front().config[3], step = plan.tiles.front().config[2];
  int64_t together = std::min<int64_t>(target.sharedBytes / (plan.sharedBytes + reservedBytes),
                                       target.registers / (llvm::alignTo(cost.registers, 8) * plan.threads));
  if (together < 1)
    return std::nullopt;

  double steps = llvm::divideCeil(structure.contracted, step), sixteens = structure.contracted / 16.0;
  double prologue = direct ? 0 : plan.rows * 16 * prologueClocks / 128;
  // Each block reads its rows once more for the reductions.
  double start = latency + (structure.reductions.empty() ? 0 : plan.rows * structure.contracted * 2 / rates.cache);
  int64_t blocks = llvm::divideCeil(rows, plan.rows) * count * columnBlocks, left = blocks;
  const double memory = rates.memory / (rates.clock * 1e3 * target.multiprocessors);
  double clocks = 0;
  while (left > 0) {
    int64_t wave = std::min(left, together * target.multiprocessors);
    int64_t resident = llvm::divideCeil(wave, target.multiprocessors);
    int64_t same = wave == left ? 1 : left / wave;
    // One warp for each of the four schedulers does not hide its own waits.
    double busy = std::min(1.0, 0.6 + 0.2 * static_cast<double>(resident * plan.threads) / 128);
    double work = resident * sixteens * (std::max({cost.mma / busy, cost.shared, cost.cache}) + prologue);
    double waits = steps * (barrier / resident + std::max(0.0, latency / (stages - 1) - work / steps));
    double inFlight = std::min(1.0, resident * (stages - 1) * cost.stepBytes / busyBytes);
    double spread = std::min<double>(wave, target.multiprocessors);
    double fromMemory = bytes * wave / blocks / std::min(memory * target.multiprocessors, rates.cache * spread) / inFlight;
    clocks += same * (std::max(work + waits, fromMemory) + start / resident + cost.epilogue);
    left -= same * wave;
  }
  return clocks / (rates.clock * 1e3);
}

SmallVector<CudaDotCandidate> mlsys::listMmaPlans(const FusionStructure &structure, int64_t rows, int64_t count,
                                                  bool direct, const CudaTarget &target) {
  SmallVector<CudaDotCandidate> candidates;
  // What the caller adds: reductions and lists of rows.
  constexpr int64_t added = 4096;
  for (Shape shape : shapes)
    for (Depth depth : depths) {
      std::optional<CudaDotPlan> plan = makePlan(structure, shape, depth);
      if (!plan || plan->sharedBytes + added > target.blockSharedBytes)
        continue;
      std::optional<double> time = estimateTime(structure, rows, count, direct, *plan, target);
      if (!time)
        continue;
      // Groups that mix columns may have wider tiles than the shape says.
      int64_t columns = 0;
      for (const CudaDotTile &tile : plan->tiles)
        columns = std::max(columns, tile.columns);
      std::string text = llvm::formatv("mma rows={0} columns={1} step={2} stages={3} warps_m={4} warps_n={5}",
                                       shape.rows, columns, depth.step, depth.stages, shape.warpsM, shape.warpsN)
                             .str();
      if (llvm::none_of(candidates, [&](const CudaDotCandidate &other) { return other.text == text; }))
        candidates.push_back({{text, *time}, *plan});
    }
  return candidates;
}
