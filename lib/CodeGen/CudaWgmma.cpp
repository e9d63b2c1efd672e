//===- CudaWgmma.cpp - Products by wgmma and TMA --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Fusions of dots for Hopper whose left side is a buffer as it stands: one kernel.wgmma for
// all dot groups. Its blocks, one a multiprocessor, walk over the tiles.
//
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

/// Config::sharedBytes for a number of stages.
static int64_t sharedBytesOf(const WgmmaPlan &plan, int64_t products, int64_t stages) {
  int64_t stage = (plan.leftRows + products * plan.weightRows) * 128, staging;
  if (plan.swapped) {
    int64_t staged = plan.leftRows % 32 == 0 ? 32 : plan.leftRows % 16 == 0 ? 16 : 8;
    staging = products * staged * (plan.weightRows + 4) * 4;
  } else {
    staging = 2 * products * 64 * (plan.config[3] + 8) * 4;
  }
  return stages * stage + staging + 16 * stages;
}

/// As many stages as fit; false when fewer than 2 do.
static bool chooseStages(WgmmaPlan &plan, int64_t products, const CudaTarget &target) {
  int64_t stages = plan.swapped ? maxSwappedStages : maxStages;
  // The alignment of dynamic shared memory takes up to 1024 bytes.
  while (stages > 1 && sharedBytesOf(plan, products, stages) > target.blockSharedBytes - 1024)
    --stages;
  plan.config[plan.swapped ? 3 : 2] = static_cast<int32_t>(stages);
  plan.sharedBytes = sharedBytesOf(plan, products, stages);
  return stages > 1;
}

namespace {
struct WgmmaCandidate : CudaCandidate {
  WgmmaPlan plan;
};
} // namespace

/// Few rows: they become the N side of wgmma, and the weights are streamed.
static void listSwapped(SmallVectorImpl<WgmmaCandidate> &candidates, const FusionStructure &structure,
                        int64_t products, int64_t mixing, int64_t rows, const CudaTarget &target) {
  const CudaRates rates = CudaRates::get(target);
  const double cache = rates.cache * rates.clock * 1e3; // bytes per us of a multiprocessor
  for (int64_t tileRows : {24, 32, 48, 64, 96, 128})
    for (int64_t columns : {64, 128}) {
      if (tileRows < rows || columns % mixing != 0 || products * columns * tileRows > 16384)
        continue;
      WgmmaPlan plan;
      plan.swapped = true;
      plan.leftRows = tileRows;
      plan.weightRows = columns;
      plan.threads = 256;
      plan.config = {static_cast<int32_t>(products), static_cast<int32_t>(columns), static_cast<int32_t>(tileRows), 0};
      if (!chooseStages(plan, products, target))
        continue;
      int64_t tiles = 0;
      for (const DotGroup &group : structure.groups)
        tiles += llvm::divideCeil(group.columns, columns);
      // A multiprocessor brings its tiles' operands; all of them together no more than memory gives.
      double brought = (tileRows + products * columns) * structure.contracted * 2.0;
      double waves = llvm::divideCeil(tiles, target.multiprocessors);
      double weights = tiles * products * columns * structure.contracted * 2.0;
      double time = std::max(waves * brought / cache, weights / rates.memory);
      candidates.push_back(
          {{llvm::formatv("wgmma swapped rows={0} columns={1} stages={2}", tileRows, columns, plan.config[3]).str(),
            time},
           plan});
    }
}

/// Many rows: wide tiles, or narrower ones where they fill the multiprocessors better.
static void listTiles(SmallVectorImpl<WgmmaCandidate> &candidates, const FusionStructure &structure, int64_t products,
                      int64_t mixing, int64_t rows, const CudaTarget &target) {
  const CudaRates rates = CudaRates::get(target);
  for (int64_t columns : {256, 192, 128, 96, 64, 32}) {
    int64_t part = products == 1 ? 32 : 16;
    while (part % mixing != 0 && part < columns)
      part += products == 1 ? 32 : 16;
    if (products * columns > 256 || part % mixing != 0 || columns % part != 0)
      continue;
    WgmmaPlan plan;
    plan.leftRows = 128;
    plan.weightRows = columns;
    plan.threads = 384;
    plan.config = {static_cast<int32_t>(products), static_cast<int32_t>(columns), 0, static_cast<int32_t>(part)};
    if (!chooseStages(plan, products, target))
      continue;
    int64_t tiles = 0;
    for (const DotGroup &group : structure.groups)
      tiles += llvm::divideCeil(group.columns, columns);
    tiles *= llvm::divideCeil(rows, plan.leftRows);
    // A step of 64 of K takes as long as its products, and no less than bringing its operands.
    double step = std::max<double>(128 * products * columns * 64 / rates.wgmma,
                                   (128 + products * columns) * 128 / wgmmaOperandBytes);
    double clocks = llvm::divideCeil(tiles, target.multiprocessors) *
                    static_cast<double>(llvm::divideCeil(structure.contracted, stepColumns)) * step;
    // Of two that take the same time the wider one reads less.
    clocks *= 1 + 0.01 * (256 - products * columns) / 256.0;
    candidates.push_back(
        {{llvm::formatv("wgmma columns={0} stages={1}", columns, plan.config[2]).str(), clocks / (rates.clock * 1e3)},
         plan});
  }
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
  if (all.known && all.count <= 128)
    listSwapped(candidates, structure, products, mixing, all.count, target);
  if (candidates.empty())
    listTiles(candidates, structure, products, mixing, all.count, target);
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
  SmallVector<Type> types(4, builder.getIndexType());
  SmallVector<Location> locs(4, loc);
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region, {}, types, locs);
  Value row0 = block->getArgument(0), col0 = block->getArgument(1);
  for (int64_t product = 0; product < static_cast<int64_t>(group.dots.size()); ++product) {
    Value result = group.dots[product]->getResult(0);
    emitter.bind(result, [this, row0, col0, product, type = typeOf(result)](ValueRange indices, int64_t width) -> Value {
      SmallVector<DimExpr> lead = getDims(type);
      lead.pop_back();
      Value row = emitter.linearize(indices.drop_back(), getTensorType(lead, type.getElementType()));
      Type f32 = builder.getF32Type();
      return kernel::TileLoadOp::create(builder, loc, width == 1 ? f32 : Type(VectorType::get({width}, f32)), product,
                                        math.sub(row, row0), math.sub(indices.back(), col0));
    });
  }
  emitter.clearCache();
  for (unsigned output : group.outputs)
    emitOutput(group, output, block->getArguments());
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
                                   getAffineConstantExpr(group.columns, context), stepColumns, plan.weightRows});
  }
  auto wgmma = kernel::WgmmaOp::create(builder, loc, plan.swapped, plan.config, typeOf(lhs).getElementType(), rows,
                                       math.constant(structure.contracted), columns, structure.groups.size());
  for (auto [group, region] : llvm::zip_equal(structure.groups, wgmma.getEpilogues()))
    emitEpilogue(region, group);
  builder.setInsertionPointAfter(wgmma);
  AffineExpr one = getAffineConstantExpr(1, context);
  launch.grid = {rowsExpr.ceilDiv(plan.leftRows) * columnBlocks, one, one};
  launch.maxBlocks = target.multiprocessors;
  kernel.function->setAttr(kernel::tensorMapsAttrName, builder.getI64IntegerAttr(launch.tensorMaps.size()));
  launch.block = {static_cast<int32_t>(plan.threads), 1, 1};
  launch.sharedBytes = plan.sharedBytes;
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerDotByWgmma(KernelBuilder &kernel, const CudaTarget &target, const WgmmaPlan &plan,
                                     LaunchShape &launch) {
  return WgmmaLowering(kernel).run(target, plan, launch);
}
