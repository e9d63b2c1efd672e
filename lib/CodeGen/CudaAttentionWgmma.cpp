//===- CudaAttentionWgmma.cpp - Attention by wgmma and TMA ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Attention of many queries for Hopper: the templates of attention_wgmma.cuh and the tensor maps of the keys
// and values, which are those of all heads of a layer.
//
//===----------------------------------------------------------------------===//

#include "CudaAttentionWgmma.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// AttentionWgmma of attention_wgmma.cuh.
static constexpr int64_t blockRows = 128, blockThreads = 384, tileColumns = 64;
static int64_t tileKeys(int64_t dim) { return dim <= 128 ? 128 : 64; }
static int64_t sharedBytesOf(int64_t dim) {
  int64_t panels = llvm::divideCeil(dim, tileColumns), stages = dim <= 64 ? 4 : 2;
  return panels * 128 * (blockRows + 2 * stages * tileKeys(dim)) + 8 * (4 * stages + 1);
}

/// Fewer rows than this leave most of a block idle.
static constexpr int64_t minRows = 64;
static constexpr int64_t minHeadDim = 64, maxHeadDim = 256;

static bool isWgmmaAttention(Type element, Type keyElement, int64_t dim, const APFloat &scale,
                             const std::optional<APFloat> &softcap, const CudaTarget &target) {
  if (!target.isHopper() || element != keyElement || (!element.isBF16() && !element.isF16()))
    return false;
  if (ShapedType::isDynamic(dim) || dim % 16 != 0 || dim < minHeadDim || dim > maxHeadDim)
    return false;
  // The largest product is that of the largest score.
  auto isPositive = [](const APFloat &value) { return value.isFiniteNonZero() && !value.isNegative(); };
  if (!isPositive(scale) || (softcap && !isPositive(*softcap)))
    return false;
  // The alignment of dynamic shared memory takes up to 1024 bytes.
  return sharedBytesOf(dim) <= target.blockSharedBytes - 1024;
}

/// False when there are few rows, whatever the symbols are.
static bool hasManyRows(const DimExpr &queries, int64_t heads, int64_t kvHeads) {
  std::optional<int64_t> known = queries.asConstant();
  return !known || *known * (heads / kvHeads) >= minRows;
}

bool mlsys::selectAttentionWgmma(PagedAttentionOp op, const CudaTarget &target) {
  auto layer = cast<KvLayerType>(op.getLayer().getType());
  RankedTensorType query = typeOf(op.getQuery());
  DimExpr tokens = getDim(query, 0);
  return tokens != getDim(typeOf(op.getContextLength()), 0) &&
         hasManyRows(tokens, query.getDimSize(1), layer.getHeads()) && layer.getPageSize() >= 8 &&
         llvm::isPowerOf2_64(layer.getPageSize()) &&
         isWgmmaAttention(query.getElementType(), layer.getElementType(), layer.getHeadDim(), op.getScale(),
                          op.getSoftcap(), target);
}

bool mlsys::selectAttentionWgmma(AttentionOp op, const CudaTarget &target) {
  RankedTensorType query = typeOf(op.getQuery()), key = typeOf(op.getKey());
  return hasManyRows(getDim(query, 1), query.getDimSize(2), key.getDimSize(2)) &&
         isWgmmaAttention(query.getElementType(), key.getElementType(), query.getDimSize(3), op.getScale(),
                          op.getSoftcap(), target);
}

/// The argument of the kernel that an operand of the hero reads, behind reshapes.
static BlockArgument argumentBehind(Value value) { return cast<BlockArgument>(behindReshapes(value)); }

static void finishLaunch(KernelBuilder &kernel, int64_t dim, LaunchShape &launch) {
  kernel.function->setAttr(kernel::tensorMapsAttrName, kernel.builder.getI64IntegerAttr(launch.tensorMaps.size()));
  launch.block = {static_cast<int32_t>(blockThreads), 1, 1};
  launch.sharedBytes = sharedBytesOf(dim);
}

void mlsys::lowerAttentionByWgmma(KernelBuilder &kernel, PagedAttentionOp op, LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  auto layer = cast<KvLayerType>(op.getLayer().getType());
  RankedTensorType query = typeOf(op.getQuery());
  int64_t dim = layer.getHeadDim(), heads = query.getDimSize(1), kvHeads = layer.getHeads();
  int64_t pageSize = layer.getPageSize();
  CacheLayout layout(layer, /*cpu=*/false);
  DimExpr requests = getDim(typeOf(op.getContextLength()), 0), tokens = getDim(query, 0);
  SmallVector<Value> metadata;
  for (Value value : {op.getQueryStart(), op.getContextLength(), op.getBlockTable()})
    metadata.push_back(kernel.bufferOf(argumentBehind(value)));
  kernel::AttentionOp::create(
      builder, kernel.loc, "prefill", kernel.bufferOf(argumentBehind(op.getQuery())),
      kernel.bufferOf(argumentBehind(op.getLayer())), Value(), metadata,
      ValueRange{kernel.extent(getDim(typeOf(op.getBlockTable()), 1)), kernel.extent(requests)},
      kernel.outputs.front(), Value(), heads, kvHeads, dim, pageSize,
      layout.pageElements() * layer.getElementType().getIntOrFloatBitWidth() / 8, /*heads_per_block=*/heads / kvHeads,
      op.getScale(), /*causal=*/!op.getBidirectional(), op.getWindowAttr(), op.getSoftcapAttr(), op.getSlopesAttr(), /*wgmma=*/true);

  MLIRContext *context = builder.getContext();
  auto constant = [&](int64_t value) { return getAffineConstantExpr(value, context); };
  // The heads of values follow those of keys.
  launch.tensorMaps.push_back({argumentBehind(op.getLayer()).getArgNumber(),
                               {constant(dim), constant(pageSize), constant(2 * kvHeads), constant(1)},
                               {constant(dim), constant(pageSize * dim), constant(layout.pageElements())},
                               {tileColumns, std::min(pageSize, tileKeys(dim)), 1, 1}});
  // Each request's rows are rounded up to whole blocks.
  AffineExpr rows = toLaunchExpr(kernel.fusion, tokens) * (heads / kvHeads) +
                    toLaunchExpr(kernel.fusion, requests) * (blockRows - 1);
  launch.grid = {rows.floorDiv(blockRows), constant(kvHeads), constant(1)};
  finishLaunch(kernel, dim, launch);
}

void mlsys::lowerAttentionByWgmma(KernelBuilder &kernel, AttentionOp op, LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  RankedTensorType query = typeOf(op.getQuery()), key = typeOf(op.getKey());
  int64_t heads = query.getDimSize(2), dim = query.getDimSize(3), kvHeads = key.getDimSize(2);
  DimExpr batch = getDim(query, 0), length = getDim(query, 1), keys = getDim(key, 1);
  kernel::AttentionOp::create(
      builder, kernel.loc, "plain", kernel.bufferOf(argumentBehind(op.getQuery())),
      kernel.bufferOf(argumentBehind(op.getKey())), kernel.bufferOf(argumentBehind(op.getValue())), ValueRange(),
      ValueRange{kernel.extent(length), kernel.extent(keys)}, kernel.outputs.front(), Value(), heads, kvHeads, dim,
      /*page_size=*/0, /*page_stride=*/0, /*heads_per_block=*/heads / kvHeads, op.getScale(), op.getCausal(),
      op.getWindowAttr(), op.getSoftcapAttr(), op.getSlopesAttr(), /*wgmma=*/true);

  MLIRContext *context = builder.getContext();
  auto constant = [&](int64_t value) { return getAffineConstantExpr(value, context); };
  AffineExpr positions = toLaunchExpr(kernel.fusion, keys);
  for (Value operand : {op.getKey(), op.getValue()})
    launch.tensorMaps.push_back(
        {argumentBehind(operand).getArgNumber(),
         {constant(dim), positions, constant(kvHeads), toLaunchExpr(kernel.fusion, batch)},
         {constant(kvHeads * dim), constant(dim), positions * (kvHeads * dim)},
         {tileColumns, tileKeys(dim), 1, 1}});
  launch.grid = {(toLaunchExpr(kernel.fusion, length) * (heads / kvHeads)).ceilDiv(blockRows), constant(kvHeads),
                 toLaunchExpr(kernel.fusion, batch)};
  finishLaunch(kernel, dim, launch);
}
