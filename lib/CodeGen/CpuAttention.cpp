//===- CpuAttention.cpp - Fusions of attention on the CPU -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Operands and tasks. What a task does is in CpuAttentionSegment.cpp.
//
//===----------------------------------------------------------------------===//

#include "CpuAttention.h"

#include "CpuAttentionLowering.h"
#include "TileChoice.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Keys that are worked on together where no page decides it.
static constexpr int64_t contiguousKeyBlock = 64;

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Value AttentionLowering::page(const QuerySegment &segment, Value block) {
  auto tableType = cast<RankedTensorType>(paged.getBlockTable().getType());
  Value table = kernel.bufferOf(cast<BlockArgument>(paged.getBlockTable()));
  return loadIndex(table, math.join(segment.request, countOf(getDim(tableType, 1)), block));
}

RightMatrix AttentionLowering::emitTransposedKeys(const QuerySegment &segment, Value block, Value count) {
  Type type = cast<MemRefType>(keyScratch.getType()).getElementType();
  Value firstToken = math.add(segment.sequenceStart, math.mul(block, keysPerBlock));
  loop(constant(0), count, 1, [&](Value local) {
    Value source = math.mul(
        math.join(math.add(firstToken, local), constant(keyHeads), segment.head), headDim);
    loop(constant(0), constant(headDim), 1, [&](Value dim) {
      Value element = memref::LoadOp::create(b, loc, key, math.add(source, dim));
      if (element.getType() != type)
        element = arith::ExtFOp::create(b, loc, type, element);
      Value place = math.mul(math.add(math.mul(math.div(dim, pair()), keysPerBlock), local), pair());
      memref::StoreOp::create(b, loc, element, keyScratch, math.add(place, math.mod(dim, constant(pair()))));
    });
  });
  return {keyScratch, constant(0), keysPerBlock * pair()};
}

RightMatrix AttentionLowering::emitInterleaved(const RightMatrix &matrix, Value rows, int64_t columns,
                                          int64_t width, Value scratch) {
  auto type = VectorType::get(width, elementType);
  auto emitPair = [&](Value row, bool hasSecond) {
    Value source = math.add(matrix.offset, math.mul(row, matrix.stride));
    Value place = math.mul(row, columns);
    for (int64_t column = 0; column < columns; column += width) {
      Value first = vector::LoadOp::create(b, loc, type, matrix.buffer, math.add(source, column));
      Value second =
          hasSecond ? vector::LoadOp::create(b, loc, type, matrix.buffer,
                                             math.add(source, column + matrix.stride))
                          .getResult()
                    : arith::ConstantOp::create(b, loc, b.getZeroAttr(type)).getResult();
      Value both = vector::InterleaveOp::create(b, loc, first, second);
      vector::StoreOp::create(b, loc, both, scratch, math.add(place, 2 * column));
    }
  };
  std::optional<int64_t> known = getConstantIntValue(rows);
  Value whole = math.mul(math.div(rows, 2), 2);
  loop(constant(0), whole, 2, [&](Value row) { emitPair(row, true); });
  if (!known || *known % 2 != 0)
    loop(whole, rows, 1, [&](Value row) { emitPair(row, false); });
  return {scratch, constant(0), 2 * columns};
}

RightMatrix AttentionLowering::pageKeys(const QuerySegment &segment, Value block) {
  return {key,
          layout->address(math, CachePart::key, page(segment, block), segment.head, constant(0),
                          constant(0)),
          layout->dimStride(CachePart::key)};
}

void AttentionLowering::prefetch(const RightMatrix &matrix, int64_t rows, int64_t columns) {
  constexpr int64_t lineBytes = 64;
  Type element = cast<MemRefType>(matrix.buffer.getType()).getElementType();
  int64_t perLine = lineBytes * 8 / element.getIntOrFloatBitWidth();
  loop(constant(0), constant(rows), 1, [&](Value row) {
    Value place = math.add(matrix.offset, math.mul(row, matrix.stride));
    for (int64_t column = 0; column < columns; column += perLine)
      memref::PrefetchOp::create(b, loc, matrix.buffer, math.add(place, column), /*isWrite=*/false,
                                 /*localityHint=*/2, /*isDataCache=*/true);
  });
}

void AttentionLowering::emitPrefetch(const QuerySegment &segment, Value block, Value endBlock) {
  prefetch(valueBlock(segment, block), keysPerBlock, headDim);
  Value next = math.min(math.add(block, 1), math.sub(endBlock, constant(1)));
  prefetch(pageKeys(segment, next), headDim, keysPerBlock);
}

RightMatrix AttentionLowering::keyBlock(const QuerySegment &segment, Value block, Value count) {
  if (contiguous)
    return emitTransposedKeys(segment, block, count);
  RightMatrix matrix = pageKeys(segment, block);
  if (usesBf16)
    return emitInterleaved(matrix, constant(headDim), keysPerBlock, tiles.keyWidth, keyScratch);
  return matrix;
}

RightMatrix AttentionLowering::valueBlock(const QuerySegment &segment, Value block) {
  if (!contiguous)
    return {value,
            layout->address(math, CachePart::value, page(segment, block), segment.head, constant(0),
                            constant(0)),
            layout->rowStride(CachePart::value)};
  Value token = math.add(segment.sequenceStart, math.mul(block, keysPerBlock));
  return {value, math.mul(math.join(token, constant(keyHeads), segment.head), headDim),
          keyHeads * headDim};
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

/// The tokens of a block may belong to several requests.
void AttentionLowering::emitPagedTasks() {
  DimExpr tokensDim = getDim(queryType, 0);
  Value tokens = countOf(tokensDim);
  auto contextType = cast<RankedTensorType>(paged.getContextLength().getType());
  Value requests = countOf(getDim(contextType, 0));
  Value queryStart = kernel.bufferOf(cast<BlockArgument>(paged.getQueryStart()));
  Value contextLength = kernel.bufferOf(cast<BlockArgument>(paged.getContextLength()));
  Value lastBlock = math.sub(math.ceilDiv(tokens, tiles.tokens), constant(1));
  parts = constant(1);
  AffineExpr partCount = getAffineConstantExpr(1, b.getContext());
  if (kernel.parts > 1) {
    Value pages = countOf(getDim(cast<RankedTensorType>(paged.getBlockTable().getType()), 1));
    cut = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, pages,
                                constant(getMinPartPages(kernel.fusion)));
    parts = arith::SelectOp::create(b, loc, cut, constant(kernel.parts), constant(1));
    partCount = partCount + getPartsExpr(kernel.fusion) * (kernel.parts - 1);
  }
  loop(kernel.begin, kernel.end, 1, [&](Value taskAndPart) {
    Value task = math.div(taskAndPart, parts);
    // Late tokens see the most keys: they come first.
    Value block = math.sub(lastBlock, math.div(task, keyHeads));
    Value blockBegin = math.mul(block, tiles.tokens);
    Value blockEnd = math.min(math.add(blockBegin, tiles.tokens), tokens);
    loop(constant(0), requests, 1, [&](Value request) {
      Value start = loadIndex(queryStart, request);
      Value end = loadIndex(queryStart, math.add(request, 1));
      Value first = arith::MaxUIOp::create(b, loc, start, blockBegin);
      Value last = math.min(end, blockEnd);
      Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, first, last);
      auto overlap = scf::IfOp::create(b, loc, some, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(overlap.thenBlock());
      QuerySegment segment;
      segment.head = math.mod(task, constant(keyHeads));
      segment.firstToken = first;
      segment.tokens = tiles.tokens == 1 ? constant(1) : math.sub(last, first);
      segment.request = request;
      segment.part = math.mod(taskAndPart, parts);
      Value context = loadIndex(contextLength, request);
      Value empty = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, context, constant(0));
      // Parts without keys are known by the sum of their weights.
      if (cut)
        empty = arith::SelectOp::create(
            b, loc, cut, arith::ConstantOp::create(b, loc, b.getBoolAttr(false)), empty);
      auto branch = scf::IfOp::create(b, loc, empty, /*withElseRegion=*/true);
      b.setInsertionPointToStart(branch.thenBlock());
      emitZeros(segment);
      b.setInsertionPointToStart(branch.elseBlock());
      // Query i of n sees the keys up to context - n + i.
      Value earlier = math.sub(context, math.sub(end, start));
      Value seen = math.add(earlier, math.sub(first, start));
      segment.firstLimit = causal ? math.add(seen, 1) : context;
      segment.keys = causal ? math.add(seen, segment.tokens) : context;
      emitSegment(segment);
    });
  });
  launch.grid = {toLaunchExpr(kernel.fusion, tokensDim).ceilDiv(tiles.tokens) * keyHeads * partCount};
}

void AttentionLowering::emitContiguousTasks() {
  DimExpr batchDim = getDim(queryType, 0), lengthDim = getDim(queryType, 1);
  Value length = countOf(lengthDim);
  Value keys = countOf(getDim(cast<RankedTensorType>(contiguous.getKey().getType()), 1));
  Value blocks = math.ceilDiv(length, tiles.tokens);
  loop(kernel.begin, kernel.end, 1, [&](Value task) {
    QuerySegment segment;
    segment.head = math.mod(task, constant(keyHeads));
    Value rest = math.div(task, keyHeads);
    Value batch = math.div(rest, blocks);
    Value block = math.sub(math.sub(blocks, constant(1)), math.mod(rest, blocks));
    Value first = math.mul(block, tiles.tokens);
    segment.sequenceStart = math.mul(batch, keys);
    segment.firstToken = math.add(math.mul(batch, length), first);
    segment.tokens = math.min(constant(tiles.tokens), math.sub(length, first));
    segment.firstLimit = causal ? math.add(first, 1) : keys;
    segment.keys = causal ? math.add(first, segment.tokens) : keys;
    emitSegment(segment);
  });
  launch.grid = {toLaunchExpr(kernel.fusion, batchDim) *
                 toLaunchExpr(kernel.fusion, lengthDim).ceilDiv(tiles.tokens) * keyHeads};
}

template <typename Op> void AttentionLowering::readScores(Op op) {
  scale = op.getScale().convertToFloat();
  if (std::optional<int64_t> value = op.getWindow())
    window = *value;
  if (std::optional<APFloat> value = op.getSoftcap())
    softcap = value->convertToFloat();
  slopes = op.getSlopes().value_or(ArrayRef<float>());
}

LogicalResult AttentionLowering::readOperation() {
  Operation *hero = kernel.structure.hero;
  paged = dyn_cast<PagedAttentionOp>(hero);
  contiguous = dyn_cast<AttentionOp>(hero);
  Value queryValue = hero->getOperand(0);
  queryType = cast<RankedTensorType>(queryValue.getType());
  elementType = queryType.getElementType();
  if (!elementType.isF32() && !elementType.isBF16() && !elementType.isF16())
    return hero->emitOpError("has elements of type ")
           << elementType << "; the CPU computes attention of f32, f16 and bf16";
  auto bufferOf = [&](Value tensor) {
    while (auto reshape = tensor.getDefiningOp<ReshapeOp>())
      tensor = reshape.getInput();
    return kernel.bufferOf(cast<BlockArgument>(tensor));
  };
  query = bufferOf(queryValue);
  result = kernel.bufferOfOutput(0);
  auto extent = [&](int64_t dim) { return queryType.getDimSize(dim); };
  heads = extent(queryType.getRank() - 2);
  headDim = extent(queryType.getRank() - 1);
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(headDim))
    return hero->emitOpError("has a dynamic number of heads or head size");
  if (paged) {
    layout.emplace(paged.getLayer().getType(), /*cpu=*/true);
    key = value = bufferOf(paged.getLayer());
    keyHeads = layout->layer.getHeads();
    keysPerBlock = layout->layer.getPageSize();
    readScores(paged);
    causal = !paged.getBidirectional();
  } else {
    key = bufferOf(contiguous.getKey());
    value = bufferOf(contiguous.getValue());
    keyHeads = cast<RankedTensorType>(contiguous.getKey().getType()).getDimSize(2);
    keysPerBlock = contiguousKeyBlock;
    readScores(contiguous);
    causal = contiguous.getCausal();
  }
  ratio = heads / keyHeads;
  return success();
}

void AttentionLowering::selectTiles() {
  AttentionShape shape;
  DimExpr tokens = getDim(queryType, 0);
  if (contiguous)
    tokens = getDim(queryType, 1);
  shape.tokensKnown = tokens.asConstant().has_value();
  shape.tokens = evaluateAtHints(tokens, kernel.fusion);
  shape.headsPerGroup = ratio;
  shape.headDim = headDim;
  shape.keyBlock = keysPerBlock;
  shape.elementType = elementType;
  if (paged && cast<MemRefType>(key.getType()).getElementType() != elementType)
    shape.elementType = b.getF32Type();
  tiles = chooseAttentionTiles(shape, target, kernel.function);
  usesBf16 = tiles.product == CpuProduct::Bf16Dot;
  launch.grain = shape.tokensKnown && shape.tokens <= 16 ? 0 : 1;
}

void AttentionLowering::allocateScratch() {
  int64_t rows = tiles.tokens * ratio;
  Type f32 = b.getF32Type(), operandType = usesBf16 ? elementType : f32;
  queries = kernel.allocScratch(rows * headDim, operandType);
  scores = kernel.allocScratch(rows * keysPerBlock, f32);
  weights = kernel.allocScratch(rows * keysPerBlock, operandType);
  results = kernel.allocScratch(rows * headDim, f32);
  maxima = kernel.allocScratch(paddedRows(), f32);
  nextMaxima = kernel.allocScratch(paddedRows(), f32);
  rescales = kernel.allocScratch(paddedRows(), f32);
  sums = kernel.allocScratch(rows * tiles.keyWidth, f32);
  if (!slopes.empty())
    slopeOfHead = kernel.allocScratch(llvm::alignTo(heads, target.vectorWidth), f32);
  if (contiguous || usesBf16)
    keyScratch = kernel.allocScratch(keysPerBlock * headDim, operandType);
  if (usesBf16)
    valueScratch = kernel.allocScratch(keysPerBlock * headDim, operandType);
}

LogicalResult AttentionLowering::run() {
  if (failed(readOperation()))
    return failure();
  selectTiles();
  allocateScratch();
  emitSlopes();
  if (paged)
    emitPagedTasks();
  else
    emitContiguousTasks();
  return success();
}

LogicalResult mlsys::lowerAttentionForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                          LaunchShape &launch) {
  return AttentionLowering(kernel, target, launch).run();
}
