//===- CudaDotPrologue.cpp - The left side of dots on CUDA ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaDotPrologue.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

Value CudaDotPrologue::directLhs() const {
  auto argument = dyn_cast<BlockArgument>(behindReshapes(structure.lhs));
  if (!argument)
    return Value();
  // gemv_mma takes rows of the weights' type only as they stand.
  Type element = typeOf(getRight(structure.groups.front().dots.front())).getElementType();
  if (plan.isMma() && typeOf(argument).getElementType() != element)
    return Value();
  return kernel.inputs[argument.getArgNumber()];
}

BlockArgument CudaDotPrologue::rawRows() const {
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

//===----------------------------------------------------------------------===//
// Reductions of rows
//===----------------------------------------------------------------------===//

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

int64_t CudaDotPrologue::allocStatistics(int64_t offset) {
  if (structure.reductions.empty())
    return 0;
  ReduceOp reduce = structure.reductions.front();
  Type type = getComputeType(typeOf(reduce.getResult()).getElementType());
  int64_t count = structure.reductions.size() * plan.rows;
  int64_t bytes = llvm::alignTo(count * type.getIntOrFloatBitWidth() / 8, 16);
  if (plan.isMma() && !directLhs())
    offset = reserveBeforeStagedRows(plan, bytes);
  statistics = kernel::SharedOp::create(builder, loc, MemRefType::get({count}, type), offset);
  return bytes;
}

void CudaDotPrologue::emitStatistics(Value row0, Value rows) {
  RowScope scope = plan.isGemv() ? RowScope::Block : RowScope::Warp;
  Value thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  Value first = math.constant(0), step = math.constant(1);
  if (scope == RowScope::Warp) {
    first = math.div(thread, 32);
    step = math.constant(plan.threads / 32);
  }
  auto loop = scf::ForOp::create(builder, loc, first, rows, step);
  builder.setInsertionPointToStart(loop.getBody());
  Value row = loop.getInductionVar();
  SmallVector<Value> values =
      emitCudaRowReductions(emitter, kernel, math.add(row0, row), scope, plan.threads);
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

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

void CudaDotPrologue::bindRawRows(const CudaDotTile &tile) {
  BlockArgument raw = rawRows();
  if (!raw)
    return;
  RankedTensorType type = typeOf(raw);
  Value shared = kernel::SharedOp::create(
      builder, loc, MemRefType::get({plan.rows * tile.stagedStride}, type.getElementType()),
      tile.stagedOffset);
  emitter.bind(raw, [this, shared, type, stride = tile.stagedStride](ValueRange indices, int64_t width) {
    Value linear = emitter.linearize(indices, type), columns = math.constant(structure.contracted);
    Value at = math.add(math.mul(math.div(linear, columns), stride), math.mod(linear, columns));
    return emitter.load(shared, at, width);
  });
}

void CudaDotPrologue::emitPrepare(kernel::ContractOp contract, const CudaDotTile &tile, Value rows) {
  builder.createBlock(&contract.getPrepare());
  kernel::GridWaitOp::create(builder, loc);
  if (contract.getLhs())
    return;
  if (BlockArgument raw = rawRows()) {
    Value shared = kernel::SharedOp::create(
        builder, loc, MemRefType::get({plan.rows * tile.stagedStride}, typeOf(raw).getElementType()),
        tile.stagedOffset);
    kernel::FetchRowsOp::create(builder, loc, kernel.bufferOf(raw), math.min(rows, math.constant(plan.rows)),
                                math.constant(structure.contracted), shared, tile.stagedStride);
  }
  bindRawRows(tile);
  if (statistics)
    emitStatistics(math.constant(0), math.min(rows, math.constant(plan.rows)));
}

void CudaDotPrologue::emitElements(kernel::ContractOp contract, Value row0) {
  Block *block = builder.createBlock(&contract.getPrologue(), {},
                                     {builder.getIndexType(), builder.getIndexType()}, {loc, loc});
  emitter.clearCache();
  Value linear = math.join(block->getArgument(0), math.constant(structure.contracted),
                           block->getArgument(1));
  int64_t width = 1;
  if (plan.isMma() && cudaVectorWidth(emitter, {structure.lhs}, structure.contracted) == 8)
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

void CudaDotPrologue::emit(kernel::ContractOp contract, const CudaDotTile &tile, Value rows, Value row0) {
  if (plan.isMma() && !structure.experts)
    emitPrepare(contract, tile, rows);
  if (!contract.getLhs()) {
    if (plan.isMma()) {
      builder.setInsertionPoint(contract);
      bindRawRows(tile);
    }
    emitElements(contract, row0);
  }
  if (BlockArgument raw = plan.isMma() ? rawRows() : BlockArgument())
    emitter.unbind(raw);
}
