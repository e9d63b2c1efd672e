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

#include "CudaWgmma.h"
#include "LowerForCuda.h"
#include "SelectCudaTiles.h"

#include "mlsys/CodeGen/CacheLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
class DotLowering {
public:
  DotLowering(KernelBuilder &kernel, const CudaTarget &target)
      : kernel(kernel), target(target), builder(kernel.builder), loc(kernel.loc), emitter(kernel),
        math(emitter.index()), structure(kernel.structure) {}

  LogicalResult run(LaunchShape &launch);

private:
  FailureOr<CudaDotPlan> planTiles();
  void emitGroups(const CudaDotPlan &plan, Value rows, Value row0);
  void emitExpertTiles(const CudaDotPlan &plan, int64_t listOffset);
  /// Products with experts: one slot of blocks for each row instead of one for each expert.
  bool goesByRows() const {
    CudaRows rows = getCudaRows(kernel.fusion, structure.rows);
    // When the rows vary, slots without one cost little.
    return rows.most && *rows.most <= (rows.known ? 1 : 2) * structure.numExperts;
  }
  Value directLhs() const;
  void emitRowStatistics(Value row0, Value rows);
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
  BlockArgument rawRows() const;
  void bindRawRows(const CudaDotTile &tile);
  void emitPrepare(kernel::ContractOp contract, const CudaDotTile &tile, Value rows);
  void emitPrologue(kernel::ContractOp contract, Value row0);
  void emitEpilogue(kernel::ContractOp contract, ArrayRef<Part> parts, Value block);
  void bindSums(const DotGroup &group, Value row0, Value col0);
  void emitOutput(const DotGroup &group, unsigned output, ValueRange tileArguments);

  KernelBuilder &kernel;
  const CudaTarget &target;
  OpBuilder &builder;
  Location loc;
  ElementEmitter emitter;
  IndexMath &math;
  const FusionStructure &structure;
  /// Reductions of the tile's rows: [row][reduction] in shared memory.
  Value statistics;
  int64_t threads = 0, tileRows = 0;
  /// The dimension of the grid that counts column blocks.
  int64_t columnDim = 0;
  /// gemv or gemv_mma: a block has all rows.
  bool isGemv = false, isMma = false;
  /// The tile of the group at hand.
  const CudaDotTile *current = nullptr;
  /// Products with experts: the block's expert, the list of its rows, and, while an output
  /// is emitted, the row of the tile.
  Value expert, rowList, tileRow;
};
} // namespace

/// The buffer of the left side when it is one as it stands; null when there is a
/// prologue to compute.
Value DotLowering::directLhs() const {
  auto argument = dyn_cast<BlockArgument>(behindReshapes(structure.lhs));
  if (!argument)
    return Value();
  // gemv_mma takes rows of the weights' type only as they stand.
  Type element = typeOf(getRight(structure.groups.front().dots.front())).getElementType();
  if (isMma && typeOf(argument).getElementType() != element)
    return Value();
  return kernel.inputs[argument.getArgNumber()];
}

/// The 16-bit tensor from whose rows a prologue is computed element by element (but for reductions of
/// whole rows): its rows are read once, and what is computed takes their place. Null when there is none.
BlockArgument DotLowering::rawRows() const {
  auto isRows = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && (type.getElementType().isBF16() || type.getElementType().isF16()) &&
           getNumElements(type) == structure.rows * DimExpr::constant(structure.contracted);
  };
  for (BlockArgument argument : kernel.fusion.getBody().front().getArguments()) {
    if (!isRows(argument))
      continue;
    bool elementwise = true, reaches = false;
    SmallVector<Value> work{argument};
    llvm::DenseSet<Value> seen;
    while (!work.empty() && elementwise) {
      Value value = work.pop_back_val();
      if (!seen.insert(value).second)
        continue;
      reaches |= value == structure.lhs;
      for (Operation *user : value.getUsers()) {
        // What follows the dots is not the prologue's.
        if (isDot(user) || isa<ReduceOp>(user) || user->hasTrait<OpTrait::IsTerminator>())
          continue;
        elementwise &= isElementwise(user) || isa<ReshapeOp>(user);
        work.append(user->result_begin(), user->result_end());
      }
    }
    if (elementwise && reaches)
      return argument;
  }
  return {};
}

/// Computes the prologue's reductions for rows [row0, row0 + rows) of the tile.
void DotLowering::emitRowStatistics(Value row0, Value rows) {
  RowScope scope = isGemv && !isMma ? RowScope::Block : RowScope::Warp;
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  Value first = math.constant(0), step = math.constant(1);
  if (scope == RowScope::Warp) {
    first = math.div(thread, 32);
    step = math.constant(threads / 32);
  }
  auto loop = scf::ForOp::create(builder, loc, first, rows, step);
  builder.setInsertionPointToStart(loop.getBody());
  Value row = loop.getInductionVar();
  SmallVector<Value> values =
      emitCudaRowReductions(emitter, kernel, math.add(row0, row), scope, threads);
  // Every thread has the values; one writes them.
  Value lane = scope == RowScope::Warp ? math.mod(thread, 32) : thread;
  auto writer = scf::IfOp::create(builder, loc, math.less(lane, math.constant(1)), false);
  builder.setInsertionPointToStart(writer.thenBlock());
  int64_t count = structure.reductions.size();
  for (auto [index, value] : llvm::enumerate(values))
    memref::StoreOp::create(builder, loc, value, statistics,
                            ValueRange{math.add(math.mul(row, count), index)});
  builder.setInsertionPointAfter(loop);
  kernel::BarrierOp::create(builder, loc);

  // From here on each row reads its own.
  for (int64_t index = 0; index < count; ++index) {
    ReduceOp reduce = structure.reductions[index];
    emitter.bind(reduce.getResult(), [this, row0, count, index, type = typeOf(reduce.getResult())](
                                         ValueRange indices, int64_t width) -> Value {
      Value row = emitter.linearize(indices, type);
      Value at = math.add(math.mul(math.sub(row, row0), count), index);
      Value value = memref::LoadOp::create(builder, loc, statistics, ValueRange{at});
      if (width == 1)
        return value;
      return vector::BroadcastOp::create(builder, loc, VectorType::get({width}, value.getType()), value);
    });
  }
}

/// Elements of the raw rows come from shared memory, where they lie in the staged rows' place.
void DotLowering::bindRawRows(const CudaDotTile &tile) {
  BlockArgument raw = rawRows();
  if (!raw)
    return;
  RankedTensorType type = typeOf(raw);
  Value shared = kernel::SharedOp::create(
      builder, loc, MemRefType::get({tileRows * tile.stagedStride}, type.getElementType()),
      tile.stagedOffset);
  emitter.bind(raw, [this, shared, type, stride = tile.stagedStride](ValueRange indices, int64_t width) {
    Value linear = emitter.linearize(indices, type), columns = math.constant(structure.contracted);
    Value at = math.add(math.mul(math.div(linear, columns), stride), math.mod(linear, columns));
    return emitter.load(shared, at, width);
  });
}

/// What a block of gemv_mma does while its first weights come.
void DotLowering::emitPrepare(kernel::ContractOp contract, const CudaDotTile &tile, Value rows) {
  builder.createBlock(&contract.getPrepare());
  kernel::GridWaitOp::create(builder, loc);
  if (contract.getLhs())
    return;
  if (BlockArgument raw = rawRows()) {
    Value shared = kernel::SharedOp::create(
        builder, loc, MemRefType::get({tileRows * tile.stagedStride}, typeOf(raw).getElementType()),
        tile.stagedOffset);
    kernel::FetchRowsOp::create(builder, loc, kernel.bufferOf(raw), math.min(rows, math.constant(tileRows)),
                                math.constant(structure.contracted), shared, tile.stagedStride);
  }
  bindRawRows(tile);
  if (statistics)
    emitRowStatistics(math.constant(0), math.min(rows, math.constant(tileRows)));
}

void DotLowering::emitPrologue(kernel::ContractOp contract, Value row0) {
  Block *block = builder.createBlock(&contract.getPrologue(), {},
                                     {builder.getIndexType(), builder.getIndexType()}, {loc, loc});
  emitter.clearCache();
  Value linear = math.join(block->getArgument(0), math.constant(structure.contracted),
                           block->getArgument(1));
  int64_t width = 1;
  if (isMma && cudaVectorWidth(emitter, {structure.lhs}, structure.contracted) == 8)
    width = 8;
  Value value = emitter.emit(structure.lhs, emitter.delinearize(linear, structure.lhs), width);
  Type f32 = builder.getF32Type();
  if (Type element = typeOf(structure.lhs).getElementType(); isa<IntegerType>(element)) {
    // Exact: the template makes bytes of them again.
    value = arith::ExtSIOp::create(builder, loc, builder.getI32Type(), value);
    if (element.isUnsignedInteger())
      value = arith::AndIOp::create(builder, loc, value,
                                    arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(0xff)));
    value = arith::SIToFPOp::create(builder, loc, f32, value);
  } else if (!getElementTypeOrSelf(value.getType()).isF32())
    value = arith::TruncFOp::create(builder, loc, width == 1 ? f32 : Type(VectorType::get({width}, f32)), value);
  kernel::YieldOp::create(builder, loc, value);
}

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
                                 math.constant(threads));
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

/// The group's dots are the sums of the tile that begins at row0 and col0.
void DotLowering::bindSums(const DotGroup &group, Value row0, Value col0) {
  for (int64_t product = 0; product < static_cast<int64_t>(group.dots.size()); ++product) {
    Value result = group.dots[product]->getResult(0);
    emitter.bind(result, [this, row0, col0, product, type = typeOf(result)](
                                      ValueRange indices, int64_t width) -> Value {
      SmallVector<DimExpr> lead = getDims(type);
      lead.pop_back();
      Value row = emitter.linearize(indices.drop_back(), getTensorType(lead, type.getElementType()));
      row = math.sub(rowList ? tileRow : row, row0);
      Type sum = isa<IntegerType>(type.getElementType()) ? Type(builder.getI32Type()) : Type(builder.getF32Type());
      Value column = math.sub(indices.back(), col0);
      if (int64_t half = current->half)
        column = math.sub(column, math.mul(math.div(column, half), half - current->columns / 2));
      return kernel::TileLoadOp::create(
          builder, loc, width == 1 ? sum : Type(VectorType::get({width}, sum)), product,
          row, column);
    });
  }
}

void DotLowering::emitEpilogue(kernel::ContractOp contract, ArrayRef<Part> parts, Value number) {
  SmallVector<Type> types(4, builder.getIndexType());
  SmallVector<Location> locs(4, loc);
  Block *block = builder.createBlock(&contract.getEpilogue(), {}, types, locs);
  forPart(parts, number, [&](const Part &part) {
    current = part.tile;
    bindSums(*part.group, block->getArgument(0), block->getArgument(1));
    emitter.clearCache();
    for (unsigned output : part.group->outputs)
      emitOutput(*part.group, output, block->getArguments());
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
  Value lhs = directLhs(), offset, half;
  if (expert)
    offset = math.mul(math.mul(expert, structure.contracted), columns);
  if (llvm::any_of(parts, [](const Part &part) { return part.tile->half; }))
    half = choose([&](const Part &part) { return math.constant(part.tile->half); });
  auto contract = kernel::ContractOp::create(
      builder, loc, tile.method, tile.config, weights, lhs, rowList, structure.rowsPerLeft, offset, half, rows, columns,
      math.constant(structure.contracted), row0, col0);
  OpBuilder::InsertionGuard guard(builder);
  if (isMma && !structure.experts)
    emitPrepare(contract, tile, rows);
  if (!lhs) {
    if (isMma) {
      builder.setInsertionPoint(contract);
      bindRawRows(tile);
    }
    emitPrologue(contract, row0);
  }
  if (BlockArgument raw = isMma ? rawRows() : BlockArgument())
    emitter.unbind(raw);
  emitEpilogue(contract, parts, block);
}

/// The tiles of one block of rows: `columnDim` of the block's number counts the column blocks of all groups.
void DotLowering::emitGroups(const CudaDotPlan &plan, Value rows, Value row0) {
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

void DotLowering::emitExpertTiles(const CudaDotPlan &plan, int64_t listOffset) {
  Type index = builder.getIndexType();
  Value slot = kernel::BlockIdOp::create(builder, loc, index, 1), none = math.constant(0);
  Value experts = kernel.bufferOf(cast<BlockArgument>(behindReshapes(structure.experts)));
  Value rows = kernel.extent(structure.rows);
  rowList = kernel::SharedOp::create(builder, loc, MemRefType::get({tileRows}, builder.getI32Type()),
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
  auto loop = scf::ForOp::create(builder, loc, none, total, math.constant(tileRows));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value first = loop.getInductionVar();
  auto next = scf::IfOp::create(builder, loc, math.less(none, first), /*withElseRegion=*/false);
  builder.setInsertionPointToStart(next.thenBlock());
  collect(first);
  builder.setInsertionPointAfter(next);
  emitGroups(plan, math.min(math.sub(total, first), math.constant(tileRows)), none);
}

FailureOr<CudaDotPlan> DotLowering::planTiles() {
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

/// Makes room before the staged rows of all tiles, and gives its offset.
static int64_t reserveBeforeStagedRows(CudaDotPlan &plan, int64_t bytes) {
  int64_t offset = 0;
  for (const CudaDotTile &tile : plan.tiles)
    offset = std::max(offset, tile.stagedOffset);
  for (CudaDotTile &tile : plan.tiles) {
    tile.config.push_back(static_cast<int32_t>(offset + bytes - tile.stagedOffset));
    tile.stagedOffset = offset + bytes;
  }
  return offset;
}

LogicalResult DotLowering::run(LaunchShape &launch) {
  FailureOr<CudaDotPlan> plan = planTiles();
  if (failed(plan))
    return failure();
  threads = plan->threads;
  tileRows = plan->rows;
  isMma = plan->tiles.front().method == "gemv_mma";
  isGemv = isMma || plan->tiles.front().method == "gemv";

  MLIRContext *context = builder.getContext();
  AffineExpr one = getAffineConstantExpr(1, context), rowBlocks = one;
  int64_t sharedBytes = plan->sharedBytes;
  if (isMma && !structure.experts)
    kernel::GridLaunchOp::create(builder, loc); // waits when its first weights are under way
  else
    emitGridWait(kernel);
  if (structure.experts) {
    emitExpertTiles(*plan, sharedBytes);
    sharedBytes += llvm::alignTo(tileRows * 4, 16);
    rowBlocks = goesByRows() ? toLaunchExpr(kernel.fusion, structure.rows)
                             : getAffineConstantExpr(structure.numExperts, context);
  } else {
    if (!structure.reductions.empty()) {
      ReduceOp reduce = structure.reductions.front();
      Type statisticsType = getComputeType(typeOf(reduce.getResult()).getElementType());
      int64_t count = structure.reductions.size() * tileRows, offset = sharedBytes;
      int64_t bytes = llvm::alignTo(count * statisticsType.getIntOrFloatBitWidth() / 8, 16);
      if (isMma && !directLhs())
        offset = reserveBeforeStagedRows(*plan, bytes);
      statistics = kernel::SharedOp::create(builder, loc, MemRefType::get({count}, statisticsType), offset);
      sharedBytes += bytes;
    }
    // Staged rows are the end of shared memory: a launch takes as much as it has rows.
    if (isMma && !directLhs() && !structure.rows.asConstant()) {
      int64_t rowBytes = plan->tiles.front().stagedStride * 2;
      launch.shared = toLaunchExpr(kernel.fusion, structure.rows) * rowBytes + (sharedBytes - tileRows * rowBytes);
    }
    Value row0 = math.constant(0);
    if (!isGemv) {
      // Blocks that run at the same time share columns: weights are read once.
      columnDim = 1;
      row0 = math.mul(kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0), tileRows);
      rowBlocks = toLaunchExpr(kernel.fusion, structure.rows).ceilDiv(tileRows);
    }
    if (statistics && !isMma) {
      Value left = math.sub(kernel.extent(structure.rows), row0);
      emitRowStatistics(row0, math.min(left, math.constant(tileRows)));
    }
    emitGroups(*plan, kernel.extent(structure.rows), row0);
  }
  int64_t blocks = 0;
  for (auto [group, tile] : llvm::zip_equal(structure.groups, plan->tiles))
    blocks += llvm::divideCeil(group.columns, tile.columns);
  AffineExpr columnBlocks = getAffineConstantExpr(blocks, context);
  launch.grid = {columnDim == 0 ? columnBlocks : rowBlocks, columnDim == 0 ? rowBlocks : columnBlocks, one};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  launch.sharedBytes = sharedBytes;
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerDotForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  if (std::optional<WgmmaPlan> plan = selectWgmma(kernel, target))
    return lowerDotByWgmma(kernel, target, *plan, launch);
  return DotLowering(kernel, target).run(launch);
}
