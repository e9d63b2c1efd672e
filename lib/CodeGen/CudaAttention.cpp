//===- CudaAttention.cpp - Attention for CUDA -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Chooses among the templates of attention.cuh and attention_decode.cuh: decode when each request has one
// query, prefill otherwise, plain without a cache; for Hopper CudaAttentionWgmma.cpp takes the latter two where it can.
//
// In decode, blocks do parts of a fixed number of keys, so that a long context of few requests keeps all
// multiprocessors busy, and a second kernel joins them. The last block to arrive could do so instead; but it
// costs as much: a fence, an atomic addition and reading the parts take as long as a kernel that has
// been launched already (griddepcontrol) takes to go on, and counters must be zero before the first launch and after a
// failed one. When the block table has room for one part only, the second launch is skipped.
//
//===----------------------------------------------------------------------===//

#include "CudaAttentionWgmma.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static constexpr int64_t maxHeadDim = 256;

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
/// DecodeConfig of attention_decode.cuh.
static int64_t decodeWarps(bool tensorCores) { return tensorCores ? 8 : 4; }
static int64_t decodePartKeys(int64_t dim) { return 128 * (dim > 64 ? 1 : dim > 32 ? 2 : 4); }
static int64_t maxDecodeHeads(bool tensorCores, int64_t dim) { return tensorCores && dim <= 128 ? 16 : 8; }
static int64_t decodeSharedBytes(bool tensorCores, int64_t heads, int64_t dim) {
  int64_t groups = llvm::divideCeil(dim, 32), stride = groups % 2 == 1 ? groups * 32 : groups * 32 + 32;
  return decodeWarps(tensorCores) * heads * (dim + 2) * 4 + (tensorCores ? heads * stride * 2 : 0);
}
/// JoinConfig of attention_decode.cuh.
static int64_t joinSharedBytes(int64_t dim) { return 4 * (dim + 1) * 4; }

namespace {
/// What the parts of decode attention are made of.
struct DecodeShape {
  PagedAttentionOp op;
  DimExpr requests, pages;
  int64_t heads, dim, pageSize;

  explicit DecodeShape(PagedAttentionOp op)
      : op(op), requests(getDim(typeOf(op.getContextLength()), 0)),
        pages(getDim(typeOf(op.getBlockTable()), 1)), heads(typeOf(op.getQuery()).getDimSize(1)),
        dim(typeOf(op.getQuery()).getDimSize(2)), pageSize(cast<KvLayerType>(op.getLayer().getType()).getPageSize()) {}

  int64_t partKeys() const { return decodePartKeys(dim); }
  /// How many parts the block table has room for.
  AffineExpr splits(FusionOp fusion) const {
    return (toLaunchExpr(fusion, pages) * pageSize).ceilDiv(partKeys());
  }
  /// True when there is room for one part only, whatever the symbols are.
  bool isOnePart() const {
    std::optional<int64_t> known = pages.asConstant();
    return known && *known * pageSize <= partKeys();
  }
};
} // namespace

/// The decode attention of a fusion; null when it has none.
static PagedAttentionOp findDecode(FusionOp fusion) {
  for (auto op : fusion.getBody().front().getOps<PagedAttentionOp>())
    if (getDim(typeOf(op.getQuery()), 0) == getDim(typeOf(op.getContextLength()), 0) &&
        !typeOf(op.getQuery()).isDynamicDim(1) && !typeOf(op.getQuery()).isDynamicDim(2))
      return op;
  return {};
}

std::optional<DimExpr> mlsys::countCudaPartElements(FusionOp fusion) {
  PagedAttentionOp op = findDecode(fusion);
  if (!op)
    return std::nullopt;
  DecodeShape shape(op);
  if (shape.isOnePart())
    return std::nullopt;
  // ceil(pages * page / part) has no form: no less than it.
  int64_t ofPart = shape.heads * (shape.dim + 2), page = shape.pageSize, part = shape.partKeys();
  if (page >= part)
    return shape.requests * shape.pages * DimExpr::constant(llvm::divideCeil(page, part) * ofPart);
  return shape.requests * (shape.pages * DimExpr::constant(llvm::divideCeil(ofPart, part / page)) +
                           DimExpr::constant(ofPart));
}

unsigned mlsys::getContextLengthInput(FusionOp fusion) {
  return cast<BlockArgument>(behindReshapes(findDecode(fusion).getContextLength())).getArgNumber();
}

void mlsys::lowerAttentionJoinForCuda(KernelBuilder &kernel, LaunchShape &launch) {
  OpBuilder &builder = kernel.builder;
  DecodeShape shape(findDecode(kernel.fusion));
  emitGridWait(kernel);
  Value keys = kernel.extent(shape.pages * DimExpr::constant(shape.pageSize));
  IndexMath math(builder, kernel.loc);
  kernel::AttentionJoinOp::create(builder, kernel.loc, kernel.inputs[0], kernel.inputs[1],
                                  math.ceilDiv(keys, shape.partKeys()), kernel.outputs.front(), shape.heads,
                                  shape.dim, shape.partKeys(), shape.op.getWindowAttr());
  // Affine expressions have no minimum: 0 stays 0, and all that is more becomes 1.
  AffineExpr several = (shape.splits(kernel.fusion) - 1).ceilDiv(int64_t(1) << 30);
  launch.grid = {getAffineConstantExpr(shape.heads, builder.getContext()),
                 toLaunchExpr(kernel.fusion, shape.requests), several};
  launch.block = {128, 1, 1};
  launch.sharedBytes = joinSharedBytes(shape.dim);
}

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
  int64_t group = std::min(heads / kvHeads, maxDecodeHeads(tensorCores, dim));
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
      kernel.outputs.front(), kernel.outputs.size() > 1 ? kernel.outputs[1] : Value(), heads, kvHeads, dim, layer.getPageSize(),
      layout.pageElements() * layer.getElementType().getIntOrFloatBitWidth() / 8,
      /*heads_per_block=*/decode ? group : 1, op.getScale(),
      /*causal=*/!op.getBidirectional(), op.getWindowAttr(), op.getSoftcapAttr(), op.getSlopesAttr(), /*wgmma=*/false);

  MLIRContext *context = builder.getContext();
  launch.block = {128, 1, 1};
  if (decode) {
    launch.grid = {getAffineConstantExpr(heads / group, context), toLaunchExpr(kernel.fusion, requests),
                   DecodeShape(op).splits(kernel.fusion)};
    launch.block = {static_cast<int32_t>(decodeWarps(tensorCores) * 32), 1, 1};
    launch.sharedBytes = decodeSharedBytes(tensorCores, group, dim);
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
      ValueRange{kernel.extent(length), kernel.extent(getDim(key, 1))}, kernel.outputs.front(), Value(),
      heads, kvHeads, dim, /*page_size=*/0, /*page_stride=*/0, /*heads_per_block=*/1, op.getScale(),
      op.getCausal(), op.getWindowAttr(), op.getSoftcapAttr(), op.getSlopesAttr(), /*wgmma=*/false);
  launch.block = {128, 1, 1};
  launch.grid = {toLaunchExpr(kernel.fusion, length).ceilDiv(prefillRows(tensorCores)),
                 getAffineConstantExpr(heads, builder.getContext()), toLaunchExpr(kernel.fusion, batch)};
  launch.sharedBytes = prefillSharedBytes(tensorCores, dim);
  return success();
}

LogicalResult mlsys::lowerAttentionForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch) {
  emitGridWait(kernel);
  auto lower = [&](auto op, auto otherwise) -> LogicalResult {
    if (!selectAttentionWgmma(op, target))
      return otherwise(kernel, op, launch);
    lowerAttentionByWgmma(kernel, op, launch);
    return success();
  };
  if (auto paged = dyn_cast<PagedAttentionOp>(kernel.structure.hero))
    return lower(paged, lowerPaged);
  return lower(cast<AttentionOp>(kernel.structure.hero), lowerPlain);
}
