//===- SelectCudaGemv.cpp - Tiles of products with few rows ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What decides is that memory is busy all the time. A block of 256 threads has 32 KB to 64 KB of loads in
// flight (half of it with more than eight rows that come straight from memory). Two such blocks share a
// multiprocessor, and a block's start (its left side, its reductions) and end are hidden behind the other's loads. So
// it matters how many blocks there are: too few leave multiprocessors without work, too many start and end often,
// and read the left side often.
//
//===----------------------------------------------------------------------===//

#include "SelectCudaTiles.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// The columns that one mma computes.
static constexpr int64_t fragmentColumns = 16;
/// More columns do not lessen what is read noticeably.
static constexpr int64_t maxBlockColumns = 256;

namespace {
/// What the groups of a fusion have in common.
struct Shape {
  /// As many as a block has room for, and as many as are expected.
  int64_t rows, typical;
  int64_t contracted, warps;
  bool direct;
  int64_t leftInputs;
  int64_t highRows() const { return rows > 8 ? 2 : 1; }
};
} // namespace

/// How many elements of tensors that have some for each element of the left side (other inputs are shared by its rows)
/// one element of the left side is computed from.
static int64_t countLeftInputs(const FusionStructure &structure) {
  int64_t count = 0;
  DimExpr elements = structure.rows * DimExpr::constant(structure.contracted);
  SmallVector<Value> work{structure.lhs};
  llvm::DenseSet<Value> seen;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (!isa<RankedTensorType>(value.getType()) || !seen.insert(value).second)
      continue;
    if (Operation *op = value.getDefiningOp())
      work.append(op->operand_begin(), op->operand_end());
    else if (std::optional<DimExpr> each = getNumElements(cast<RankedTensorType>(value.getType())).divideBy(elements))
      count += each->asConstant().value_or(2);
  }
  return count;
}

/// A function of K alone, since the order of the sums depends on it: warps that have at least a group
/// of 128 elements each.
static int64_t selectWarps(int64_t contracted) {
  return std::clamp<int64_t>(llvm::bit_floor(static_cast<uint64_t>(contracted / 128)), 2, 8);
}

/// A tile with about `tiles` times the columns of the smallest; nothing when none suits.
static std::optional<CudaDotTile> makeTile(const FusionStructure &structure, const DotGroup &group,
                                           const Shape &shape, int64_t tiles) {
  int64_t products = group.dots.size();
  if (products > 4)
    return std::nullopt;
  // Rows that come straight from memory are used for two tiles at once when there are many.
  int64_t wide = shape.direct && shape.highRows() == 2 && products == 1 ? 2 : 1;
  int64_t unroll = llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, 4 / (wide * products))));
  if (shape.direct && shape.highRows() == 2)
    unroll = 1; // the registers hold twice as many rows
  // What computes the left side while the first weights come needs registers, too.
  if (shape.leftInputs > 1)
    unroll = std::min<int64_t>(unroll, 2);
  CudaDotTile tile;
  tile.method = "gemv_mma";
  int64_t least = fragmentColumns * wide;
  if (group.mixing > 1) {
    if (group.mixing % (2 * least) == 0 && readsPairsOfColumns(structure, group)) {
      while (group.mixing % (least * tiles) != 0)
        --tiles;
      tile.half = group.mixing / 2;
    } else {
      int64_t together = std::lcm(group.mixing, least) / least;
      tiles = std::max(together, tiles / together * together);
    }
  }
  tile.columns = least * tiles;
  if (tile.columns > maxBlockColumns)
    return std::nullopt;
  for (int64_t constant : {shape.rows, wide, tiles, shape.warps, unroll})
    tile.config.push_back(static_cast<int32_t>(constant));
  // As in GemvMmaConfig.
  int64_t groups = llvm::divideCeil(shape.contracted, 32);
  tile.stagedStride = groups % 2 == 1 ? groups * 32 : groups * 32 + 32;
  tile.stagedOffset = products * shape.rows * (tile.columns + 4) * 4 +
                      tiles * wide * products * shape.highRows() * shape.warps * 512;
  return tile;
}

static std::optional<CudaDotPlan> makePlan(const FusionStructure &structure, const Shape &shape, int64_t tiles) {
  CudaDotPlan plan;
  plan.threads = shape.warps * 32;
  plan.rows = shape.rows;
  for (const DotGroup &group : structure.groups) {
    std::optional<CudaDotTile> tile = makeTile(structure, group, shape, tiles);
    if (!tile)
      return std::nullopt;
    int64_t bytes = tile->stagedOffset + (shape.direct ? 0 : shape.rows * tile->stagedStride * 2);
    plan.sharedBytes = std::max(plan.sharedBytes, bytes);
    plan.tiles.push_back(*tile);
  }
  return plan;
}

/// The time that a plan takes, in microseconds on a GPU of the family.
static double estimateTime(const FusionStructure &structure, const Shape &shape, const CudaDotPlan &plan,
                           const CudaTarget &target) {
  constexpr double ofStart = 1.5, ofMultiprocessor = 60e3; // us; bytes per us
  const double ofMemory = 25e3 * target.multiprocessors;
  int64_t blocks = 0, bytes = 0, most = 0;
  for (auto [group, tile] : llvm::zip_equal(structure.groups, plan.tiles)) {
    int64_t products = group.dots.size();
    blocks += llvm::divideCeil(group.columns, tile.columns);
    bytes += group.columns * products * shape.contracted * 2;
    most = std::max(most, tile.columns * products * shape.contracted * 2);
  }
  // A launch takes shared memory for the rows that there are.
  int64_t unused = shape.direct ? 0 : (shape.rows - shape.typical) * plan.tiles.front().stagedStride * 2;
  int64_t together =
      std::max<int64_t>(1, std::min(512 / plan.threads, target.sharedBytes / (plan.sharedBytes - unused + 1536)));
  int64_t slots = target.multiprocessors * together;
  double start = ofStart + (shape.direct ? 0 : shape.typical * shape.contracted * 2 / ofMultiprocessor);
  double rounds = static_cast<double>(llvm::divideCeil(blocks, slots));
  // Starts are hidden behind the other blocks of the multiprocessor.
  double starts = start * (1 + (rounds - 1) / together);
  double alone = most / (ofMultiprocessor * plan.threads / 256);
  // Blocks of the last round alone do not keep memory busy.
  double idle = blocks % slots == 0 ? 0 : std::max(0.0, alone - (blocks % slots) * most / ofMemory);
  return starts + bytes / ofMemory + idle;
}

SmallVector<CudaDotCandidate> mlsys::listGemvMmaPlans(const FusionStructure &structure, CudaRows rows, bool direct,
                                                     const CudaTarget &target) {
  SmallVector<CudaDotCandidate> candidates;
  if (structure.contracted % 8 != 0 || structure.contracted > (1 << 20))
    return candidates;
  Shape shape{*rows.most, std::min(rows.count, *rows.most), structure.contracted, selectWarps(structure.contracted), direct,
              countLeftInputs(structure)};
  for (int64_t tiles : {1, 2, 3, 4, 6, 8}) {
    std::optional<CudaDotPlan> plan = makePlan(structure, shape, tiles);
    // What the caller adds: reductions and lists of rows.
    if (!plan || plan->sharedBytes + 2048 > target.blockSharedBytes)
      continue;
    candidates.push_back({{"gemv_mma tiles=" + std::to_string(tiles), estimateTime(structure, shape, *plan, target)},
                          *plan});
  }
  return candidates;
}
