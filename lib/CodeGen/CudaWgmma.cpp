//===- CudaWgmma.cpp - Products by wgmma and TMA --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Fusions of dots for Hopper whose left side is a buffer as it stands: one kernel.wgmma for
// all dot groups. Its blocks, one a multiprocessor, walk over the tiles; or, where tiles are few, the blocks of a cluster
// compute parts of K of one tile; or, where they are many, the two blocks of a cluster share the weights' tiles.
//
//===----------------------------------------------------------------------===//

#include "CudaDotEpilogue.h"
#include "CudaTileChoice.h"
#include "CudaWgmma.h"

#include "mlsys/CodeGen/CacheLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Columns of a tile in shared memory: K of a step.
static constexpr int64_t stepColumns = 64;
static constexpr int64_t maxStages = 8, maxSwappedStages = 16;
/// Bytes of operands that TMA brings to a multiprocessor in a clock.
static constexpr double wgmmaOperandBytes = 53;
/// How much of the time that operands take shows beside the products.
static constexpr double operandsShown = 0.05;
/// Microseconds that the barriers of a cluster and its start take in addition.
static constexpr double ofCluster = 1;
/// Into how many parts K may be cut: blocks of a cluster.
static constexpr int64_t partCounts[] = {1, 2, 3, 4, 6, 8};
/// Steps of K that each part has at least.
static constexpr int64_t minPartSteps = 4;
/// Parts of swapped tiles are chosen for so many rows, whatever there are: the order of the sums, and so their bits, are
/// the same in the decode steps of all batches.
static constexpr int64_t typicalSwappedRows = 64;

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

/// Rows of a sub-tile of SwappedConfig.
static int64_t stagedRowsOf(const WgmmaPlan &plan) {
  for (int64_t rows : {32, 16})
    if (plan.leftRows % rows == 0 && plan.leftRows >= rows * plan.parts)
      return rows;
  return 8;
}

/// Config::sharedBytes for a number of stages; nothing when they do not hold the sums of a part of K.
static std::optional<int64_t> sharedBytesOf(const WgmmaPlan &plan, int64_t products, int64_t stages) {
  int64_t ring = stages * (plan.leftRows + products * plan.weightRows) * 128, staging, sums;
  if (plan.swapped) {
    int64_t staged = stagedRowsOf(plan);
    staging = products * staged * (plan.weightRows + 4) * 4;
    sums = plan.leftRows / staged * staging;
  } else {
    staging = 2 * products * 64 * (plan.config[3] + 8) * 4;
    sums = plan.weightRows / plan.config[3] * staging;
  }
  if (plan.parts > 1 && sums > ring)
    return std::nullopt;
  return ring + staging + 16 * stages;
}

/// As many stages as fit; false when fewer than 2 do.
static bool chooseStages(WgmmaPlan &plan, int64_t products, const CudaTarget &target) {
  for (int64_t stages = plan.swapped ? maxSwappedStages : maxStages; stages > 1; --stages) {
    std::optional<int64_t> bytes = sharedBytesOf(plan, products, stages);
    // The alignment of dynamic shared memory takes up to 1024 bytes.
    if (!bytes || *bytes > target.blockSharedBytes - 1024)
      continue;
    plan.config[plan.swapped ? 3 : 2] = static_cast<int32_t>(stages);
    plan.sharedBytes = *bytes;
    if (plan.parts > 1 || plan.pair)
      plan.config.push_back(static_cast<int32_t>(plan.parts));
    if (plan.pair)
      plan.config.push_back(1);
    return true;
  }
  return false;
}

/// Multiprocessors that clusters of so many blocks can fill: those of a processing cluster, of which there are 16 or
/// 18, work together.
static int64_t countSlots(int64_t cluster, const CudaTarget &target) {
  return target.multiprocessors * (16 / cluster * cluster) / 16;
}

/// Microseconds in which the blocks of a cluster exchange the sums of a tile: each reads as much as one has.
static double exchangeTime(const WgmmaPlan &plan, int64_t products, const CudaRates &rates) {
  if (plan.parts == 1)
    return 0;
  return ofCluster + plan.leftRows * products * plan.weightRows * 4 / (rates.cache * rates.clock * 1e3);
}

namespace {
struct WgmmaCandidate : CudaCandidate {
  WgmmaPlan plan;
};
} // namespace

static void addCandidate(SmallVectorImpl<WgmmaCandidate> &candidates, std::string text, double time,
                         const WgmmaPlan &plan) {
  if (plan.parts > 1)
    text += llvm::formatv(" parts={0}", plan.parts).str();
  if (plan.pair)
    text += " pair";
  candidates.push_back({{std::move(text), time}, plan});
}

/// Few rows: they become the N side of wgmma, and the weights are streamed.
static void listSwapped(SmallVectorImpl<WgmmaCandidate> &candidates, const FusionStructure &structure,
                        int64_t products, int64_t mixing, int64_t rows, const CudaTarget &target) {
  const CudaRates rates = CudaRates::get(target);
  const double cache = rates.cache * rates.clock * 1e3; // bytes per us of a multiprocessor
  const int64_t steps = llvm::divideCeil(structure.contracted, stepColumns);
  for (int64_t tileRows : {24, 32, 48, 64, 96, 128})
    for (int64_t columns : {64, 128})
      for (int64_t parts : partCounts) {
        if (tileRows < rows || columns % mixing != 0 || products * columns * tileRows > 16384 ||
            (parts > 1 && steps < parts * minPartSteps))
          continue;
        WgmmaPlan plan;
        plan.swapped = true;
        plan.leftRows = tileRows;
        plan.weightRows = columns;
        plan.threads = 256;
        plan.parts = parts;
        plan.config = {static_cast<int32_t>(products), static_cast<int32_t>(columns), static_cast<int32_t>(tileRows), 0};
        if (!chooseStages(plan, products, target))
          continue;
        int64_t tiles = 0;
        for (const DotGroup &group : structure.groups)
          tiles += llvm::divideCeil(group.columns, columns);
        // A multiprocessor brings its tiles' operands; all of them together no more than memory gives.
        double brought = (tileRows + products * columns) * llvm::divideCeil(steps, parts) * stepColumns * 2.0;
        double waves = llvm::divideCeil(tiles * parts, countSlots(parts, target));
        double weights = tiles * products * columns * structure.contracted * 2.0;
        double time = std::max(waves * brought / cache, weights / rates.memory) + exchangeTime(plan, products, rates);
        addCandidate(candidates,
                     llvm::formatv("wgmma swapped rows={0} columns={1} stages={2}", tileRows, columns, plan.config[3]),
                     time, plan);
      }
}

/// Candidates of swapped tiles with other parts than those for typicalSwappedRows stand behind: they are tried only.
static void preferTypicalParts(MutableArrayRef<WgmmaCandidate> candidates, ArrayRef<WgmmaCandidate> typical) {
  auto byTime = [](const WgmmaCandidate &a, const WgmmaCandidate &b) { return a.time < b.time; };
  if (candidates.empty() || typical.empty())
    return;
  int64_t parts = llvm::min_element(typical, byTime)->plan.parts;
  double best = std::numeric_limits<double>::infinity();
  for (const WgmmaCandidate &candidate : candidates)
    if (candidate.plan.parts == parts)
      best = std::min(best, candidate.time);
  for (WgmmaCandidate &candidate : candidates)
    if (candidate.plan.parts != parts && best < std::numeric_limits<double>::infinity())
      candidate.time = std::max(candidate.time, best * 1.0001);
}

/// Microseconds of tiles of 128 rows.
static double tilesTime(const FusionStructure &structure, const WgmmaPlan &plan, int64_t products, int64_t rows,
                        const CudaTarget &target) {
  const CudaRates rates = CudaRates::get(target);
  int64_t columns = plan.weightRows, rowBlocks = llvm::divideCeil(rows, plan.leftRows), tiles = 0;
  for (const DotGroup &group : structure.groups)
    tiles += llvm::divideCeil(group.columns, columns);
  tiles *= plan.pair ? llvm::alignTo(rowBlocks, 2) : rowBlocks;
  // A step of 64 of K takes as long as its products, and no less than bringing its operands.
  double brought = (128 + products * columns / (plan.pair ? 2.0 : 1.0)) * 128 / wgmmaOperandBytes;
  double step = std::max<double>(128 * products * columns * 64 / rates.wgmma, brought) + operandsShown * brought;
  int64_t steps = llvm::divideCeil(llvm::divideCeil(structure.contracted, stepColumns), plan.parts);
  double waves = llvm::divideCeil(tiles * plan.parts, countSlots(plan.cluster(), target));
  double time = waves * (static_cast<double>(steps) * step / (rates.clock * 1e3) + exchangeTime(plan, products, rates));
  if (plan.pair)
    time += ofCluster;
  // Of two that take the same time the wider one reads less.
  return time * (1 + 0.01 * (256 - products * columns) / 256.0);
}

/// Many rows: wide tiles, or narrower ones or parts of K where they fill the multiprocessors better.
static void listTiles(SmallVectorImpl<WgmmaCandidate> &candidates, const FusionStructure &structure, int64_t products,
                      int64_t mixing, const CudaRows &rows, const CudaTarget &target) {
  const int64_t steps = llvm::divideCeil(structure.contracted, stepColumns);
  SmallVector<double> whenMany;
  for (int64_t columns : {256, 192, 128, 96, 64, 32}) {
    int64_t part = products == 1 ? 32 : 16;
    while (part % mixing != 0 && part < columns)
      part += products == 1 ? 32 : 16;
    if (products * columns > 256 || part % mixing != 0 || columns % part != 0)
      continue;
    auto add = [&](int64_t parts, bool pair) {
      WgmmaPlan plan;
      plan.leftRows = 128;
      plan.weightRows = columns;
      plan.threads = 384;
      plan.parts = parts;
      plan.pair = pair;
      plan.config = {static_cast<int32_t>(products), static_cast<int32_t>(columns), 0, static_cast<int32_t>(part)};
      if (!chooseStages(plan, products, target))
        return;
      addCandidate(candidates, llvm::formatv("wgmma columns={0} stages={1}", columns, plan.config[2]),
                   tilesTime(structure, plan, products, rows.count, target), plan);
      whenMany.push_back(tilesTime(structure, plan, products, 4 * rows.count, target));
    };
    for (int64_t parts : partCounts)
      if (parts == 1 || steps >= parts * minPartSteps)
        add(parts, false);
    // Two blocks of rows, and halves of the weights' tiles that are whole units of the swizzle.
    if (rows.count > 128 && products * columns >= 192 && columns % 16 == 0)
      add(1, true);
  }
  if (rows.known)
    return;
  // With open rows parts of K must not cost much when there are many rows.
  double best = std::numeric_limits<double>::infinity();
  for (auto [candidate, time] : llvm::zip_equal(candidates, whenMany))
    if (candidate.plan.parts == 1)
      best = std::min(best, time);
  for (auto [candidate, time] : llvm::zip_equal(candidates, whenMany))
    if (candidate.plan.parts > 1)
      candidate.time *= std::max(1.0, time / best);
}

std::optional<WgmmaPlan> mlsys::selectWgmma(KernelBuilder &kernel, const CudaTarget &target) {
  const FusionStructure &structure = kernel.structure;
  auto lhs = dyn_cast<BlockArgument>(behindReshapes(structure.lhs));
  if (!target.isHopper() || structure.experts || !lhs || !structure.reductions.empty())
    return std::nullopt;
  Type element = typeOf(lhs).getElementType();
  // Rows of the maps are multiples of 16 bytes.
  if ((!element.isBF16() && !element.isF16()) || structure.contracted % 8 != 0 || structure.contracted < 8)
    return std::nullopt;
  CudaRows all = getCudaRows(kernel.fusion, structure.rows);
  if (all.most && *all.most <= maxGemvRows)
    return std::nullopt;
  int64_t products = structure.groups.front().dots.size(), mixing = 1;
  for (const DotGroup &group : structure.groups) {
    if (static_cast<int64_t>(group.dots.size()) != products)
      return std::nullopt;
    for (Operation *dot : group.dots) {
      auto right = dyn_cast<BlockArgument>(getRight(dot));
      if (!right || typeOf(right).getElementType() != element)
        return std::nullopt;
    }
    mixing = std::lcm(mixing, group.mixing);
  }
  SmallVector<WgmmaCandidate> candidates;
  if (all.known && all.count <= 128) {
    listSwapped(candidates, structure, products, mixing, all.count, target);
    SmallVector<WgmmaCandidate> typical;
    listSwapped(typical, structure, products, mixing, typicalSwappedRows, target);
    preferTypicalParts(candidates, typical);
  }
  if (candidates.empty())
    listTiles(candidates, structure, products, mixing, all, target);
  if (candidates.empty())
    return std::nullopt;
  SmallVector<CudaCandidate> choices(candidates.begin(), candidates.end());
  return candidates[chooseCudaTiles(printCudaShape(structure, all), choices, target, kernel.function)].plan;
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

namespace {
class WgmmaLowering {
public:
  WgmmaLowering(KernelBuilder &kernel)
      : kernel(kernel), builder(kernel.builder), loc(kernel.loc), emitter(kernel), math(emitter.index()) {}

  LogicalResult run(const CudaTarget &target, const WgmmaPlan &plan, LaunchShape &launch);

private:
  void emitEpilogue(Region &region, const DotGroup &group);
  void emitOutput(const DotGroup &group, unsigned output, ValueRange tileArguments);

  KernelBuilder &kernel;
  OpBuilder &builder;
  Location loc;
  ElementEmitter emitter;
  IndexMath &math;
  int64_t subTileColumns = 0;
};
} // namespace

/// Stores one output of the group for the sub-tile: the warpgroup's threads stride over its vectors.
void WgmmaLowering::emitOutput(const DotGroup &group, unsigned output, ValueRange tileArguments) {
  Value row0 = tileArguments[0], col0 = tileArguments[1], rows = tileArguments[2], cols = tileArguments[3];
  Value stored = getStoredValue(kernel.fusion.getBody().front().getTerminator()->getOperand(output));
  int64_t width = cudaVectorWidth(emitter, {stored}, std::gcd(lastExtent(stored), group.columns));
  while (subTileColumns % width != 0)
    width /= 2;
  Value thread = math.mod(kernel::ThreadIdOp::create(builder, loc, builder.getIndexType()), 128);
  // As many as in a whole sub-tile: division by a constant costs little.
  int64_t vectors = subTileColumns / width;
  auto loop = scf::ForOp::create(builder, loc, thread, math.mul(rows, vectors), math.constant(128));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value row = math.add(row0, math.div(loop.getInductionVar(), vectors));
  Value column = math.mul(math.mod(loop.getInductionVar(), vectors), width);
  auto inside = scf::IfOp::create(builder, loc, math.less(column, cols), /*withElseRegion=*/false);
  builder.setInsertionPointToStart(inside.thenBlock());
  storeOutput(emitter, kernel, output, math.join(row, math.constant(group.columns), math.add(col0, column)), width);
}

void WgmmaLowering::emitEpilogue(Region &region, const DotGroup &group) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = createDotEpilogue(builder, loc, region);
  Value row0 = block->getArgument(0), col0 = block->getArgument(1);
  emitDotEpilogue(
      emitter, kernel, group,
      [this, row0, col0](Value row, Value column) {
        return std::pair<Value, Value>{math.sub(row, row0), math.sub(column, col0)};
      },
      [&](unsigned output) { emitOutput(group, output, block->getArguments()); });
}

LogicalResult WgmmaLowering::run(const CudaTarget &target, const WgmmaPlan &plan, LaunchShape &launch) {
  const FusionStructure &structure = kernel.structure;
  auto lhs = cast<BlockArgument>(behindReshapes(structure.lhs));
  subTileColumns = plan.swapped ? plan.config[1] : plan.config[3];
  Value rows = kernel.extent(structure.rows);
  emitGridWait(kernel);
  SmallVector<int64_t> columns;
  MLIRContext *context = builder.getContext();
  AffineExpr rowsExpr = toLaunchExpr(kernel.fusion, structure.rows);
  launch.tensorMaps.push_back({lhs.getArgNumber(), structure.contracted, rowsExpr, stepColumns, plan.leftRows});
  int64_t columnBlocks = 0;
  for (const DotGroup &group : structure.groups) {
    columns.push_back(group.columns);
    columnBlocks += llvm::divideCeil(group.columns, plan.weightRows);
    for (Operation *dot : group.dots)
      launch.tensorMaps.push_back({cast<BlockArgument>(getRight(dot)).getArgNumber(), structure.contracted,
                                   getAffineConstantExpr(group.columns, context), stepColumns, plan.weightRows / (plan.pair ? 2 : 1)});
  }
  auto wgmma = kernel::WgmmaOp::create(builder, loc, plan.swapped, plan.config, typeOf(lhs).getElementType(), rows,
                                       math.constant(structure.contracted), columns, structure.groups.size());
  for (auto [group, region] : llvm::zip_equal(structure.groups, wgmma.getEpilogues()))
    emitEpilogue(region, group);
  builder.setInsertionPointAfter(wgmma);
  AffineExpr one = getAffineConstantExpr(1, context);
  AffineExpr rowBlocks = rowsExpr.ceilDiv(plan.leftRows * (plan.pair ? 2 : 1));
  launch.grid = {rowBlocks * (columnBlocks * plan.cluster()), one, one};
  // Parts of K are not walked over: a cluster computes one tile.
  if (plan.parts == 1)
    launch.maxBlocks = target.multiprocessors / plan.cluster() * plan.cluster();
  if (plan.cluster() > 1)
    kernel.function->setAttr(kernel::clusterAttrName, builder.getI64IntegerAttr(plan.cluster()));
  kernel.function->setAttr(kernel::tensorMapsAttrName, builder.getI64IntegerAttr(launch.tensorMaps.size()));
  launch.block = {static_cast<int32_t>(plan.threads), 1, 1};
  launch.sharedBytes = plan.sharedBytes;
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerDotByWgmma(KernelBuilder &kernel, const CudaTarget &target, const WgmmaPlan &plan,
                                     LaunchShape &launch) {
  return WgmmaLowering(kernel).run(target, plan, launch);
}
