//===- CudaAttention.cpp - Attention for CUDA -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Chooses among the templates of attention.cuh: decode when each request has one
// query, prefill otherwise, plain without a cache.
//
//===----------------------------------------------------------------------===//

#include "LowerForCuda.h"

#include "mlsys/CodeGen/CacheLayout.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static constexpr int64_t maxHeadDim = 256, maxDecodeHeads = 8;

/// PrefillConfig of attention.cuh: tensor cores take 16-bit queries and keys of one type.
static bool usesTensorCores(Type element, Type keyElement) {
  return !element.isF32() && element == keyElement;
}
static int64_t prefillRows(bool tensorCores) { return tensorCores ? 64 : 16; }
static int64_t prefillSharedBytes(bool tensorCores, int64_t dim) {
  if (!tensorCores)
    return ((16 + 2 * 32) * (dim + 4) + 16 * 33) * 4;
  int64_t keys = dim <= 128 ? 64 : 32;
  return (64 + 4 * keys) * (llvm::alignTo(dim, 16) + 8) * 2;
}
/// DecodeConfig of attention.cuh.
static int64_t decodeSharedBytes(int64_t heads, int64_t dim) { return 4 * heads * (dim + 2) * 4; }

/// The buffer that an operand of the hero reads, behind reshapes.
static Value bufferBehind(KernelBuilder &kernel, Value value) {
  return kernel.bufferOf(cast<BlockArgument>(behindReshapes(value)));
}

static LogicalResult checkTypes(KernelBuilder &kernel, Type element, Type keyElement, int64_t dim) {
  for (Type type : {element, keyElement})
    if (!type.isF32() && !type.isBF16() && !type.isF16())
      return kernel.fusion.emitOpError("has attention over ")
             << type << ", which no CUDA kernel computes: use f32, f16 or bf16";
  if (ShapedType::isDynamic(dim))
    return kernel.fusion.emitOpError("has heads of a size that is no number");
  if (dim % 8 != 0 || dim > maxHeadDim)
    return kernel.fusion.emitOpError("has heads of ")
           << dim << " elements: CUDA attention takes multiples of 8 up to " << maxHeadDim;
  return success();
}

static LogicalResult lowerPaged(KernelBuilder &kernel, PagedAttentionOp op, LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  KvLayerType layer = cast<KvLayerType>(op.getLayer().getType());
  RankedTensorType query = typeOf(op.getQuery());
  Type element = query.getElementType();
  int64_t dim = layer.getHeadDim(), heads = query.getDimSize(1), kvHeads = layer.getHeads();
  if (failed(checkTypes(kernel, element, layer.getElementType(), dim)))
    return failure();
  CacheLayout layout(layer, /*cpu=*/false);
  DimExpr requests = getDim(typeOf(op.getContextLength()), 0), tokens = getDim(query, 0);
  DimExpr pages = getDim(typeOf(op.getBlockTable()), 1);
  bool decode = tokens == requests, tensorCores = usesTensorCores(element, layer.getElementType());

  // The query heads of a group that one decode block takes: the largest divisor that fits.
  int64_t group = std::min(heads / kvHeads, maxDecodeHeads);
  while (heads / kvHeads % group != 0)
    --group;

  SmallVector<Value> metadata;
  if (!decode)
    metadata.push_back(bufferBehind(kernel, op.getQueryStart()));
  metadata.push_back(bufferBehind(kernel, op.getContextLength()));
  metadata.push_back(bufferBehind(kernel, op.getBlockTable()));
  kernel::AttentionOp::create(
      builder, kernel.loc, decode ? "decode" : "prefill", bufferBehind(kernel, op.getQuery()),
      bufferBehind(kernel, op.getLayer()), Value(), metadata, ValueRange{kernel.extent(pages)},
      kernel.outputs.front(), heads, kvHeads, dim, layer.getPageSize(),
      layout.pageElements() * layer.getElementType().getIntOrFloatBitWidth() / 8,
      /*heads_per_block=*/decode ? group : 1, op.getScale(),
      /*causal=*/!op.getBidirectional(), op.getWindowAttr(), op.getSoftcapAttr());

  MLIRContext *context = builder.getContext();
  AffineExpr one = getAffineConstantExpr(1, context);
  launch.block = {128, 1, 1};
  if (decode) {
    launch.grid = {getAffineConstantExpr(heads / group, context), toLaunchExpr(kernel.fusion, requests), one};
    launch.sharedBytes = decodeSharedBytes(group, dim);
  } else {
    launch.grid = {toLaunchExpr(kernel.fusion, tokens).ceilDiv(prefillRows(tensorCores)),
                   getAffineConstantExpr(heads, context), toLaunchExpr(kernel.fusion, requests)};
    launch.sharedBytes = prefillSharedBytes(tensorCores, dim);
  }
  return success();
}

static LogicalResult lowerPlain(KernelBuilder &kernel, AttentionOp op, LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  RankedTensorType query = typeOf(op.getQuery()), key = typeOf(op.getKey());
  Type element = query.getElementType();
  int64_t heads = query.getDimSize(2), dim = query.getDimSize(3), kvHeads = key.getDimSize(2);
  if (failed(checkTypes(kernel, element, key.getElementType(), dim)))
    return failure();
  bool tensorCores = usesTensorCores(element, key.getElementType());
  DimExpr batch = getDim(query, 0), length = getDim(query, 1);
  kernel::AttentionOp::create(
      builder, kernel.loc, "plain", bufferBehind(kernel, op.getQuery()),
      bufferBehind(kernel, op.getKey()), bufferBehind(kernel, op.getValue()), ValueRange(),
      ValueRange{kernel.extent(length), kernel.extent(getDim(key, 1))}, kernel.outputs.front(),
      heads, kvHeads, dim, /*page_size=*/0, /*page_stride=*/0, /*heads_per_block=*/1, op.getScale(),
      op.getCausal(), op.getWindowAttr(), op.getSoftcapAttr());
  launch.block = {128, 1, 1};
  launch.grid = {toLaunchExpr(kernel.fusion, length).ceilDiv(prefillRows(tensorCores)),
                 getAffineConstantExpr(heads, builder.getContext()), toLaunchExpr(kernel.fusion, batch)};
  launch.sharedBytes = prefillSharedBytes(tensorCores, dim);
  return success();
}

LogicalResult mlsys::lowerAttentionForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  emitGridWait(kernel);
  if (auto paged = dyn_cast<PagedAttentionOp>(kernel.structure.hero))
    return lowerPaged(kernel, paged, launch);
  return lowerPlain(kernel, cast<AttentionOp>(kernel.structure.hero), launch);
}
