//===- CudaDot.cpp - Fusions of dots for CUDA -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A block computes one tile of one dot group by a template of the device
// library; groups (query, key and value) stand side by side in the grid. Prologue and
// epilogue are regions of the kernel.contract. Reductions of the prologue are
// computed by each block for the rows of its tile and kept in shared memory.
//
// Products with experts: a block works for one expert, whose rows it lists in shared memory, a
// tile of rows at a time. blockIdx.y is the expert or, with fewer rows than experts, a row: the
// first of its expert stands for all of its expert's.
//
//===----------------------------------------------------------------------===//

#include "CudaDotEpilogue.h"
#include "CudaDotPrologue.h"
#include "CudaWgmma.h"

#include "mlsys/CodeGen/CacheLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
class DotLowering {
public:
  DotLowering(KernelBuilder &kernel, CudaDotPlan plan)
      : kernel(kernel), plan(std::move(plan)), builder(kernel.builder), loc(kernel.loc), emitter(kernel),
        math(emitter.index()), structure(kernel.structure), prologue(emitter, kernel, this->plan) {}

  LogicalResult run(LaunchShape &launch);

private:
  void emitGroups(Value rows, Value row0);
  void emitExpertTiles(int64_t listOffset);
  /// Products with experts: one slot of blocks for each row instead of one for each expert.
  bool goesByRows() const {
    CudaRows rows = getCudaRows(kernel.fusion, structure.rows);
    // When the rows vary, slots without one cost little.
    return rows.most && *rows.most <= (rows.known ? 1 : 2) * structure.numExperts;
  }
  /// A dot group, its tile, and the numbers of its blocks.
  struct Part {
    const DotGroup *group;
    const CudaDotTile *tile;
    int64_t first, end;
  };
  void emitTogether(ArrayRef<Part> parts, Value block, Value rows, Value row0);
  void forPart(ArrayRef<Part> parts, Value block, llvm::function_ref<void(const Part &)> emit);
  template <class Item>
  void forBlocks(ArrayRef<Item> items, Value block, llvm::function_ref<int64_t(const Item &)> endOf,
                 llvm::function_ref<void(const Item &)> emit);
  Value firstColumn(const Part &part, Value block);
  void emitEpilogue(kernel::ContractOp contract, ArrayRef<Part> parts, Value block);
  std::pair<Value, Value> placeInTile(Value row, Value column, Value row0, Value col0);
  void emitOutput(const DotGroup &group, unsigned output, ValueRange tileArguments);

  KernelBuilder &kernel;
  CudaDotPlan plan;
  OpBuilder &builder;
  Location loc;
  ElementEmitter emitter;
  IndexMath &math;
  const FusionStructure &structure;
  CudaDotPrologue prologue;
  /// The dimension of the grid that counts column blocks.
  int64_t columnDim = 0;
  /// The tile of the group at hand.
  const CudaDotTile *current = nullptr;
  /// Products with experts: the block's expert, the list of its rows, and, while an output
  /// is emitted, the row of the tile.
  Value expert, rowList, tileRow;
};
} // namespace

/// Stores one output of the group for the tile: the threads stride over its vectors.
void DotLowering::emitOutput(const DotGroup &group, unsigned output, ValueRange tileArguments) {
  Value row0 = tileArguments[0], col0 = tileArguments[1], rows = tileArguments[2],
        cols = tileArguments[3];
  Value yielded = kernel.fusion.getBody().front().getTerminator()->getOperand(output);
  Value stored = getStoredValue(yielded);
  int64_t width = std::min<int64_t>(
      4, cudaVectorWidth(emitter, {stored}, std::gcd(lastExtent(stored), group.columns)));
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  Value vectors = math.div(cols, width);
  auto loop = scf::ForOp::create(builder, loc, thread, math.mul(rows, vectors),
                                 math.constant(plan.threads));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value m = math.div(loop.getInductionVar(), vectors);
  Value n = math.mul(math.mod(loop.getInductionVar(), vectors), width);
  Value row = math.add(row0, m);
  if (rowList) {
    tileRow = row;
    row = arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                     memref::LoadOp::create(builder, loc, rowList, tileRow).getResult());
  }
  if (current->half) {
    // The second half of the tile's columns lies further on.
    int64_t columns = current->columns / 2;
    n = math.add(n, math.mul(math.div(n, columns), current->half - columns));
  }
  Value linear = math.join(row, math.constant(group.columns), math.add(col0, n));
  storeOutput(emitter, kernel, output, linear, width);
}

/// Where an element of the result is in the tile that begins at row0 and col0.
std::pair<Value, Value> DotLowering::placeInTile(Value row, Value column, Value row0, Value col0) {
  row = math.sub(rowList ? tileRow : row, row0);
  column = math.sub(column, col0);
  if (int64_t half = current->half)
    column = math.sub(column, math.mul(math.div(column, half), half - current->columns / 2));
  return {row, column};
}

void DotLowering::emitEpilogue(kernel::ContractOp contract, ArrayRef<Part> parts, Value number) {
  Block *block = createDotEpilogue(builder, loc, contract.getEpilogue());
  Value row0 = block->getArgument(0), col0 = block->getArgument(1);
  forPart(parts, number, [&](const Part &part) {
    current = part.tile;
    emitDotEpilogue(
        emitter, kernel, *part.group,
        [this, row0, col0](Value row, Value column) { return placeInTile(row, column, row0, col0); },
        [&](unsigned output) { emitOutput(*part.group, output, block->getArguments()); });
  });
}

/// Emits for each of `items`, which end with the blocks of these numbers, what its blocks do.
template <class Item>
void DotLowering::forBlocks(ArrayRef<Item> items, Value block, llvm::function_ref<int64_t(const Item &)> endOf,
                            llvm::function_ref<void(const Item &)> emit) {
  OpBuilder::InsertionGuard restore(builder);
  for (const Item &item : items.drop_back()) {
    auto choice = scf::IfOp::create(builder, loc, math.less(block, math.constant(endOf(item))), /*withElseRegion=*/true);
    builder.setInsertionPointToStart(choice.thenBlock());
    emit(item);
    builder.setInsertionPointToStart(choice.elseBlock());
  }
  emit(items.back());
}

void DotLowering::forPart(ArrayRef<Part> parts, Value block, llvm::function_ref<void(const Part &)> emit) {
  forBlocks<Part>(parts, block, [](const Part &part) { return part.end; }, emit);
}

Value DotLowering::firstColumn(const Part &part, Value block) {
  Value number = math.sub(block, math.constant(part.first));
  if (!part.tile->half)
    return math.mul(number, part.tile->columns);
  // Blocks stand side by side in the first half of a group of mixed columns.
  int64_t columns = part.tile->columns / 2, inHalf = part.tile->half / columns;
  return math.add(math.mul(math.div(number, inHalf), part.group->mixing), math.mul(math.mod(number, inHalf), columns));
}

/// One contraction for parts with equal constants: a block chooses the weights of its part, and the epilogue.
void DotLowering::emitTogether(ArrayRef<Part> parts, Value block, Value rows, Value row0) {
  auto choose = [&](llvm::function_ref<Value(const Part &)> of) {
    Value chosen = of(parts.back());
    for (const Part &part : llvm::reverse(parts.drop_back()))
      if (Value other = of(part); other != chosen)
        chosen = arith::SelectOp::create(builder, loc, math.less(block, math.constant(part.end)), other, chosen);
    return chosen;
  };
  const CudaDotTile &tile = *parts.front().tile;
  SmallVector<Value> weights;
  for (size_t product = 0; product < parts.front().group->dots.size(); ++product)
    weights.push_back(choose([&](const Part &part) {
      return kernel.bufferOf(cast<BlockArgument>(getRight(part.group->dots[product])));
    }));
  Value columns = choose([&](const Part &part) { return math.constant(part.group->columns); });
  Value col0 = choose([&](const Part &part) { return firstColumn(part, block); });
  Value lhs = prologue.directLhs(), offset, half;
  if (expert)
    offset = math.mul(math.mul(expert, structure.contracted), columns);
  if (llvm::any_of(parts, [](const Part &part) { return part.tile->half; }))
    half = choose([&](const Part &part) { return math.constant(part.tile->half); });
  auto contract = kernel::ContractOp::create(
      builder, loc, tile.method, tile.config, weights, lhs, rowList, structure.rowsPerLeft, offset, half, rows, columns,
      math.constant(structure.contracted), row0, col0);
  OpBuilder::InsertionGuard guard(builder);
  prologue.emit(contract, tile, rows, row0);
  emitEpilogue(contract, parts, block);
}

/// The tiles of one block of rows: `columnDim` of the block's number counts the column blocks of all groups.
void DotLowering::emitGroups(Value rows, Value row0) {
  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), columnDim);
  SmallVector<SmallVector<Part>> together;
  int64_t blocks = 0;
  for (auto [group, tile] : llvm::zip_equal(structure.groups, plan.tiles)) {
    int64_t first = blocks;
    blocks += llvm::divideCeil(group.columns, tile.columns);
    auto isSame = [&](const Part &other) {
      return other.tile->method == tile.method && other.tile->config == tile.config &&
             other.group->dots.size() == group.dots.size();
    };
    if (together.empty() || !isSame(together.back().front()))
      together.emplace_back();
    together.back().push_back({&group, &tile, first, blocks});
  }
  forBlocks<SmallVector<Part>>(
      together, block, [](const SmallVector<Part> &parts) { return parts.back().end; },
      [&](const SmallVector<Part> &parts) { emitTogether(parts, block, rows, row0); });
}

void DotLowering::emitExpertTiles(int64_t listOffset) {
  Type index = builder.getIndexType();
  Value slot = kernel::BlockIdOp::create(builder, loc, index, 1), none = math.constant(0);
  Value experts = kernel.bufferOf(cast<BlockArgument>(behindReshapes(structure.experts)));
  Value rows = kernel.extent(structure.rows);
  rowList = kernel::SharedOp::create(builder, loc, MemRefType::get({plan.rows}, builder.getI32Type()),
                                     listOffset);
  expert = slot;
  if (goesByRows())
    expert = arith::IndexCastOp::create(builder, loc, index,
                                        memref::LoadOp::create(builder, loc, experts, slot).getResult());
  auto collect = [&](Value skip) -> Value {
    return kernel::CollectRowsOp::create(builder, loc, index, experts, rows, expert, skip, rowList);
  };
  Value total = collect(none);
  if (goesByRows()) {
    // A negative number is a large one here.
    Value known = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, expert,
                                        math.constant(structure.numExperts));
    Value first = arith::IndexCastOp::create(
        builder, loc, index, memref::LoadOp::create(builder, loc, rowList, none).getResult());
    Value stands = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, first, slot);
    stands = arith::AndIOp::create(builder, loc, stands, known);
    total = arith::SelectOp::create(builder, loc, stands, total, none);
  }
  auto loop = scf::ForOp::create(builder, loc, none, total, math.constant(plan.rows));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value first = loop.getInductionVar();
  auto next = scf::IfOp::create(builder, loc, math.less(none, first), /*withElseRegion=*/false);
  builder.setInsertionPointToStart(next.thenBlock());
  collect(first);
  builder.setInsertionPointAfter(next);
  emitGroups(math.min(math.sub(total, first), math.constant(plan.rows)), none);
}

LogicalResult DotLowering::run(LaunchShape &launch) {
  MLIRContext *context = builder.getContext();
  AffineExpr one = getAffineConstantExpr(1, context), rowBlocks = one;
  const bool isMma = plan.isMma();
  int64_t sharedBytes = plan.sharedBytes;
  if (isMma && !structure.experts)
    kernel::GridLaunchOp::create(builder, loc); // waits when its first weights are under way
  else
    emitGridWait(kernel);
  if (structure.experts) {
    emitExpertTiles(sharedBytes);
    sharedBytes += llvm::alignTo(plan.rows * 4, 16);
    rowBlocks = goesByRows() ? toLaunchExpr(kernel.fusion, structure.rows)
                             : getAffineConstantExpr(structure.numExperts, context);
  } else {
    sharedBytes += prologue.allocStatistics(sharedBytes);
    // Staged rows are the end of shared memory: a launch takes as much as it has rows.
    if (isMma && !prologue.directLhs() && !structure.rows.asConstant()) {
      int64_t rowBytes = plan.tiles.front().stagedStride * 2;
      launch.shared = toLaunchExpr(kernel.fusion, structure.rows) * rowBytes + (sharedBytes - plan.rows * rowBytes);
    }
    Value row0 = math.constant(0);
    if (!isMma && !plan.isGemv()) {
      // Blocks that run at the same time share columns: weights are read once.
      columnDim = 1;
      row0 = math.mul(kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0), plan.rows);
      rowBlocks = toLaunchExpr(kernel.fusion, structure.rows).ceilDiv(plan.rows);
    }
    if (prologue.hasStatistics() && !isMma) {
      Value left = math.sub(kernel.extent(structure.rows), row0);
      prologue.emitStatistics(row0, math.min(left, math.constant(plan.rows)));
    }
    emitGroups(kernel.extent(structure.rows), row0);
  }
  int64_t blocks = 0;
  for (auto [group, tile] : llvm::zip_equal(structure.groups, plan.tiles))
    blocks += llvm::divideCeil(group.columns, tile.columns);
  AffineExpr columnBlocks = getAffineConstantExpr(blocks, context);
  launch.grid = {columnDim == 0 ? columnBlocks : rowBlocks, columnDim == 0 ? rowBlocks : columnBlocks, one};
  launch.block = {static_cast<int32_t>(plan.threads), 1, 1};
  launch.sharedBytes = sharedBytes;
  return failure(kernel.failed);
}

/// The tiles of all groups, by table, model or trial.
static FailureOr<CudaDotPlan> planTiles(KernelBuilder &kernel, const CudaTarget &target) {
  const FusionStructure &structure = kernel.structure;
  Type element = typeOf(getRight(structure.groups.front().dots.front())).getElementType();
  if (!element.isF32() && !element.isBF16() && !element.isF16() && !element.isInteger(8))
    return kernel.fusion.emitOpError("has a dot of ") << element
           << ", which no CUDA kernel computes: use f32, f16, bf16 or i8";
  CudaRows rows = getCudaRows(kernel.fusion, structure.rows);
  std::string shape = printCudaShape(structure, rows);
  int64_t count = 1;
  if (structure.experts) {
    // Rows are not spread evenly: twice the mean, but no more than there are tokens.
    int64_t chosen = std::max<int64_t>(1, typeOf(structure.experts).getShape().back());
    auto ofExpert = [&](int64_t rows) {
      int64_t tokens = std::max<int64_t>(1, llvm::divideCeil(rows, chosen));
      return std::clamp<int64_t>(llvm::divideCeil(2 * rows, structure.numExperts), 1, tokens);
    };
    count = std::min(rows.count, structure.numExperts);
    rows.count = ofExpert(rows.count);
    if (rows.most)
      rows.most = ofExpert(*rows.most);
  }
  auto argument = dyn_cast<BlockArgument>(behindReshapes(structure.lhs));
  bool direct = argument && typeOf(argument).getElementType() == element;
  SmallVector<CudaDotCandidate> candidates = listCudaPlans(structure, element, rows, count, direct, target);
  if (candidates.empty())
    return kernel.fusion.emitOpError("has groups of columns too wide for a CUDA tile");
  SmallVector<CudaCandidate> choices(candidates.begin(), candidates.end());
  return candidates[chooseCudaTiles(shape, choices, target, kernel.function)].plan;
}

LogicalResult mlsys::lowerDotForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  if (std::optional<WgmmaPlan> wgmma = selectWgmma(kernel, target))
    return lowerDotByWgmma(kernel, target, *wgmma, launch);
  FailureOr<CudaDotPlan> plan = planTiles(kernel, target);
  if (failed(plan))
    return failure();
  return DotLowering(kernel, std::move(*plan)).run(launch);
}
