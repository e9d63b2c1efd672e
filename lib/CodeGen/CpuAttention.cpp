//===- CpuAttention.cpp - Fusions of attention on the CPU -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A task is a block of query tokens and one key head. All query heads that read the
// key head are rows of the same products, so keys and values are read once for them:
//
//   for block of keys:
//     scores = queries x keys                     (rows x keys)
//     weights = exp(scores - running maximum), sums and results rescaled
//     results += weights x values                 (rows x head dimension)
//
// Blocks that lie before the window of every row are skipped.
//
//===----------------------------------------------------------------------===//

#include "CpuAttention.h"

#include "CpuMicroKernel.h"
#include "SelectTiles.h"
#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Keys that are worked on together where no page decides it.
static constexpr int64_t contiguousKeyBlock = 64;

namespace {
/// Query tokens of one sequence that a task does together. Values are indices.
struct Segment {
  /// Key head.
  Value head;
  /// The row of the first token in the query and the number of tokens.
  Value firstToken, tokens;
  /// Keys that the first token sees, and all of them.
  Value firstLimit, keys;
  /// Paged: the request. Otherwise: the first key of the sequence.
  Value request, sequenceStart;
  /// The part of the keys, when they are cut into parts.
  Value part;
};

/// A right side of a product: rows `stride` elements apart in a flat buffer.
struct Matrix {
  Value buffer, offset;
  int64_t stride;
};

class AttentionLowering {
public:
  AttentionLowering(KernelBuilder &kernel, const CpuTarget &target, LaunchShape &launch)
      : kernel(kernel), target(target), launch(launch), b(kernel.builder), loc(kernel.loc),
        math(kernel.builder, kernel.loc) {}

  LogicalResult run();

private:
  LogicalResult readOperation();
  template <typename Op> void readScores(Op op);
  void selectTiles();
  void allocateScratch();
  void emitPagedTasks();
  void emitContiguousTasks();

  void emitSegment(const Segment &segment);
  void emitZeros(const Segment &segment);
  void emitLoadQueries(const Segment &segment);
  void emitStart(const Segment &segment);
  void emitKeyBlock(const Segment &segment, Value block);
  void emitSoftmax(const Segment &segment, Value firstKey);
  void emitSoftmaxRow(Value row, Value visible, Value hidden);
  Value emitScore(Value product);
  Value windowStart(Value limit);
  double lowestScore() const;
  void emitResults(const Segment &segment);
  void emitPartResults(const Segment &segment);

  Matrix keyBlock(const Segment &segment, Value block, Value count);
  Matrix valueBlock(const Segment &segment, Value block);
  /// Keys of a contiguous tensor as [dim / pair][key][pair].
  Matrix emitTransposedKeys(const Segment &segment, Value block, Value count);
  /// Rows of a matrix in pairs, their elements side by side.
  Matrix emitInterleaved(const Matrix &matrix, Value rows, int64_t columns, int64_t width,
                         Value scratch);
  void emitProduct(Value lhs, int64_t lhsStride, const Matrix &rhs, Value steps, Value result,
                   int64_t columns, int64_t width, Value rows, bool accumulate);

  Value page(const Segment &segment, Value block);
  /// The row-major element number of dimension 0 of a query head of a token.
  Value queryElement(const Segment &segment, Value token, Value headInGroup);
  Value load(Value buffer, Value index, int64_t width);
  void store(Value vector, Value buffer, Value index);
  Value splat(Value scalar, int64_t width);
  Value splatConstant(double value, int64_t width);
  Value maximum(Value lhs, Value rhs);
  /// The largest lane in all lanes.
  Value maximumOfLanes(Value vector);
  Value loadIndex(Value buffer, Value index);
  void loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
    emitLoop(b, loc, begin, end, step, body);
  }
  /// For each query row of the segment: its token, its head in the group, its row.
  void forRows(const Segment &segment, llvm::function_ref<void(Value, Value, Value)> body);
  Value constant(int64_t value) { return math.constant(value); }
  VectorType floats(int64_t width) { return VectorType::get(width, b.getF32Type()); }
  Value countOf(const DimExpr &dim) {
    std::optional<int64_t> known = dim.asConstant();
    return known ? constant(*known) : kernel.extent(dim);
  }
  int64_t pair() const { return usesBf16 ? 2 : 1; }

  KernelBuilder &kernel;
  const CpuTarget &target;
  LaunchShape &launch;
  OpBuilder &b;
  Location loc;
  IndexMath math;

  // The operation.
  PagedAttentionOp paged;
  AttentionOp contiguous;
  Value query, key, value, result;
  RankedTensorType queryType;
  Type elementType;
  int64_t heads = 1, keyHeads = 1, ratio = 1, headDim = 1, keysPerBlock = 1;
  float scale = 1;
  bool causal = true;
  /// 0: none.
  int64_t window = 0;
  float softcap = 0;
  std::optional<CacheLayout> layout;

  AttentionTiles tiles;
  bool usesBf16 = false;
  /// Whether the keys are cut into parts (null: never), and how many parts there are then.
  Value cut, parts;
  // Scratch. Rows are (token, head in group).
  Value queries, scores, weights, results, maxima, sums, keyScratch, valueScratch;
};
} // namespace

//===----------------------------------------------------------------------===//
// Small things
//===----------------------------------------------------------------------===//

void AttentionLowering::forRows(const Segment &segment,
                                llvm::function_ref<void(Value, Value, Value)> body) {
  loop(constant(0), segment.tokens, 1, [&](Value token) {
    loop(constant(0), constant(ratio), 1, [&](Value head) {
      body(token, head, math.add(math.mul(token, ratio), head));
    });
  });
}

Value AttentionLowering::load(Value buffer, Value index, int64_t width) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Value vector = vector::LoadOp::create(b, loc, VectorType::get(width, element), buffer, index);
  return element.isF32() ? vector : arith::ExtFOp::create(b, loc, floats(width), vector).getResult();
}

void AttentionLowering::store(Value vector, Value buffer, Value index) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  int64_t width = cast<VectorType>(vector.getType()).getDimSize(0);
  if (!element.isF32())
    vector = arith::TruncFOp::create(b, loc, VectorType::get(width, element), vector);
  vector::StoreOp::create(b, loc, vector, buffer, index);
}

Value AttentionLowering::splat(Value scalar, int64_t width) {
  return vector::BroadcastOp::create(b, loc, floats(width), scalar);
}

Value AttentionLowering::splatConstant(double value, int64_t width) {
  return arith::ConstantOp::create(
      b, loc, DenseElementsAttr::get(floats(width), b.getF32FloatAttr(value)));
}

/// What one vmaxps does.
Value AttentionLowering::maximum(Value lhs, Value rhs) {
  Value larger = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, lhs, rhs);
  return arith::SelectOp::create(b, loc, larger, lhs, rhs);
}

Value AttentionLowering::maximumOfLanes(Value vector) {
  int64_t width = cast<VectorType>(vector.getType()).getDimSize(0);
  for (int64_t distance = width / 2; distance > 0; distance /= 2) {
    SmallVector<int64_t> mask;
    for (int64_t lane = 0; lane < width; ++lane)
      mask.push_back(lane ^ distance);
    vector = maximum(vector, vector::ShuffleOp::create(b, loc, vector, vector, mask));
  }
  return vector;
}

Value AttentionLowering::loadIndex(Value buffer, Value index) {
  Value element = memref::LoadOp::create(b, loc, buffer, index);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), element);
}

Value AttentionLowering::queryElement(const Segment &segment, Value token, Value headInGroup) {
  Value head = math.add(math.mul(segment.head, ratio), headInGroup);
  Value row = math.add(math.mul(math.add(segment.firstToken, token), heads), head);
  return math.mul(row, headDim);
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Value AttentionLowering::page(const Segment &segment, Value block) {
  auto tableType = cast<RankedTensorType>(paged.getBlockTable().getType());
  Value table = kernel.bufferOf(cast<BlockArgument>(paged.getBlockTable()));
  return loadIndex(table, math.join(segment.request, countOf(getDim(tableType, 1)), block));
}

Matrix AttentionLowering::emitTransposedKeys(const Segment &segment, Value block, Value count) {
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

Matrix AttentionLowering::emitInterleaved(const Matrix &matrix, Value rows, int64_t columns,
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

Matrix AttentionLowering::keyBlock(const Segment &segment, Value block, Value count) {
  if (contiguous)
    return emitTransposedKeys(segment, block, count);
  Matrix matrix{key,
                layout->address(math, CachePart::key, page(segment, block), segment.head,
                                constant(0), constant(0)),
                layout->dimStride(CachePart::key)};
  if (usesBf16)
    return emitInterleaved(matrix, constant(headDim), keysPerBlock, tiles.keyWidth, keyScratch);
  return matrix;
}

Matrix AttentionLowering::valueBlock(const Segment &segment, Value block) {
  if (!contiguous)
    return {value,
            layout->address(math, CachePart::value, page(segment, block), segment.head, constant(0),
                            constant(0)),
            layout->rowStride(CachePart::value)};
  Value token = math.add(segment.sequenceStart, math.mul(block, keysPerBlock));
  return {value, math.mul(math.join(token, constant(keyHeads), segment.head), headDim),
          keyHeads * headDim};
}

void AttentionLowering::emitProduct(Value lhs, int64_t lhsStride, const Matrix &rhs, Value steps,
                                    Value result, int64_t columns, int64_t width, Value rows,
                                    bool accumulate) {
  MicroKernel micro;
  micro.vectors = columns / width % tiles.vectors == 0 ? tiles.vectors : 1;
  micro.width = width;
  micro.rhsType = cast<MemRefType>(rhs.buffer.getType()).getElementType();
  micro.pair = pair();
  micro.bf16Dot = usesBf16;
  micro.unroll = 2;
  emitRowGroups(b, loc, rows, tiles.rows, [&](Value row, int64_t count) {
    micro.rows = count;
    loop(constant(0), constant(columns), micro.columns(), [&](Value column) {
      MicroOperands operands;
      operands.lhs = lhs;
      operands.lhsOffset = math.mul(row, lhsStride);
      operands.lhsStride = lhsStride;
      operands.rhs = rhs.buffer;
      operands.rhsOffset = math.add(rhs.offset, math.mul(column, micro.pair));
      operands.rhsStride = rhs.stride;
      operands.steps = steps;
      operands.tile = result;
      operands.tileOffset = math.add(math.mul(row, columns), column);
      operands.tileStride = columns;
      operands.accumulate = accumulate;
      emitMicroKernel(b, loc, micro, operands);
    });
  });
}

//===----------------------------------------------------------------------===//
// One segment
//===----------------------------------------------------------------------===//

void AttentionLowering::emitLoadQueries(const Segment &segment) {
  int64_t width = tiles.dimWidth;
  forRows(segment, [&](Value token, Value head, Value row) {
    Value source = queryElement(segment, token, head), place = math.mul(row, headDim);
    for (int64_t dim = 0; dim < headDim; dim += width)
      store(load(query, math.add(source, dim), width), queries, math.add(place, dim));
  });
}

void AttentionLowering::emitStart(const Segment &segment) {
  Value zero = splatConstant(0, tiles.dimWidth), noSum = splatConstant(0, tiles.keyWidth);
  Value lowest = splatConstant(lowestScore(), tiles.keyWidth);
  forRows(segment, [&](Value, Value, Value row) {
    Value lanes = math.mul(row, tiles.keyWidth), place = math.mul(row, headDim);
    store(lowest, maxima, lanes);
    store(noSum, sums, lanes);
    for (int64_t dim = 0; dim < headDim; dim += tiles.dimWidth)
      store(zero, results, math.add(place, dim));
  });
}

/// What the running maximum starts from. A row may see nothing of the first blocks when there is a
/// window, and a part may have no keys: then the difference of two maxima must still be a number.
double AttentionLowering::lowestScore() const {
  return window || kernel.parts > 1 ? std::numeric_limits<float>::lowest() : -std::numeric_limits<double>::infinity();
}

/// The first key that a row sees whose keys end at `limit`.
Value AttentionLowering::windowStart(Value limit) {
  return window ? math.sub(limit, math.min(limit, constant(window))) : constant(0);
}

/// The score of a product of query and key.
Value AttentionLowering::emitScore(Value product) {
  int64_t width = cast<VectorType>(product.getType()).getDimSize(0);
  auto times = [&](Value value, double factor) -> Value {
    return arith::MulFOp::create(b, loc, value, splatConstant(factor, width));
  };
  if (softcap == 0)
    return times(product, scale);
  return times(::mlir::math::TanhOp::create(b, loc, times(product, scale / softcap)), softcap);
}

/// `visible`: how many keys of the block the row sees or are before its window; `hidden`: how
/// many are before its window, null when it has none. Either may be negative.
void AttentionLowering::emitSoftmaxRow(Value row, Value visible, Value hidden) {
  int64_t width = tiles.keyWidth;
  Value lanes = math.mul(row, width), first = math.mul(row, keysPerBlock);
  Value lowest = splatConstant(-std::numeric_limits<double>::infinity(), width);
  Value before = load(maxima, lanes, width), after = before;
  SmallVector<Value> scaled;
  auto maskType = VectorType::get(width, b.getI1Type());
  for (int64_t column = 0; column < keysPerBlock; column += width) {
    auto maskOf = [&](Value count) -> Value {
      Value left = arith::SubIOp::create(b, loc, count, constant(column));
      return vector::CreateMaskOp::create(b, loc, maskType, left);
    };
    Value score = emitScore(load(scores, math.add(first, column), width));
    score = arith::SelectOp::create(b, loc, maskOf(visible), score, lowest);
    if (hidden)
      score = arith::SelectOp::create(b, loc, maskOf(hidden), lowest, score);
    scaled.push_back(score);
    after = maximum(scaled.back(), after);
  }
  after = maximumOfLanes(after);
  store(after, maxima, lanes);
  Value rescale = ::mlir::math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, before, after));
  Value sum = arith::MulFOp::create(b, loc, load(sums, lanes, width), rescale);
  for (auto [position, score] : llvm::enumerate(scaled)) {
    Value weight = ::mlir::math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, score, after));
    sum = arith::AddFOp::create(b, loc, sum, weight);
    store(weight, weights, math.add(first, position * width));
  }
  store(sum, sums, lanes);
  Value scalar = vector::ExtractOp::create(b, loc, rescale, 0);
  Value place = math.mul(row, headDim), rescaleDims = splat(scalar, tiles.dimWidth);
  for (int64_t dim = 0; dim < headDim; dim += tiles.dimWidth) {
    Value index = math.add(place, dim);
    Value old = load(results, index, tiles.dimWidth);
    store(arith::MulFOp::create(b, loc, old, rescaleDims), results, index);
  }
}

void AttentionLowering::emitSoftmax(const Segment &segment, Value firstKey) {
  forRows(segment, [&](Value token, Value, Value row) {
    Value limit = causal ? math.add(segment.firstLimit, token) : segment.firstLimit;
    // Negative when the row sees nothing of the block.
    Value visible = arith::SubIOp::create(b, loc, limit, firstKey), hidden;
    if (window)
      hidden = arith::SubIOp::create(b, loc, windowStart(limit), firstKey);
    emitSoftmaxRow(row, visible, hidden);
  });
}

void AttentionLowering::emitKeyBlock(const Segment &segment, Value block) {
  Value firstKey = math.mul(block, keysPerBlock);
  Value count = math.min(constant(keysPerBlock), math.sub(segment.keys, firstKey));
  Value rows = math.mul(segment.tokens, ratio);
  Matrix keys = keyBlock(segment, block, count);
  emitProduct(queries, headDim, keys, constant(headDim / pair()), scores, keysPerBlock,
              tiles.keyWidth, rows, /*accumulate=*/false);
  emitSoftmax(segment, firstKey);
  Matrix values = valueBlock(segment, block);
  if (usesBf16)
    values = emitInterleaved(values, count, headDim, tiles.dimWidth, valueScratch);
  emitProduct(weights, keysPerBlock, values, math.ceilDiv(count, pair()), results, headDim,
              tiles.dimWidth, rows, /*accumulate=*/true);
}

void AttentionLowering::emitResults(const Segment &segment) {
  int64_t width = tiles.dimWidth;
  forRows(segment, [&](Value token, Value head, Value row) {
    Value lanes = load(sums, math.mul(row, tiles.keyWidth), tiles.keyWidth);
    Value sum = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, lanes,
                                            arith::FastMathFlags::reassoc);
    Value one = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1));
    Value factor = splat(arith::DivFOp::create(b, loc, one, sum), width);
    Value place = queryElement(segment, token, head), source = math.mul(row, headDim);
    for (int64_t dim = 0; dim < headDim; dim += width) {
      Value sum = load(results, math.add(source, dim), width);
      store(arith::MulFOp::create(b, loc, sum, factor), result, math.add(place, dim));
    }
  });
}

/// What lowerAttentionJoinForCpu takes.
void AttentionLowering::emitPartResults(const Segment &segment) {
  int64_t width = tiles.dimWidth;
  forRows(segment, [&](Value token, Value head, Value row) {
    Value outputRow = math.div(queryElement(segment, token, head), headDim);
    Value place = math.mul(math.add(math.mul(outputRow, kernel.parts), segment.part), headDim + 2);
    Value result = kernel.outputs.back();
    Value source = math.mul(row, headDim), lanes = math.mul(row, tiles.keyWidth);
    for (int64_t dim = 0; dim < headDim; dim += width)
      store(load(results, math.add(source, dim), width), result, math.add(place, dim));
    Value sum = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD,
                                            load(sums, lanes, tiles.keyWidth),
                                            arith::FastMathFlags::reassoc);
    Value largest = memref::LoadOp::create(b, loc, maxima, lanes);
    memref::StoreOp::create(b, loc, largest, result, math.add(place, headDim));
    memref::StoreOp::create(b, loc, sum, result, math.add(place, headDim + 1));
  });
}

void AttentionLowering::emitZeros(const Segment &segment) {
  Value zero = splatConstant(0, tiles.dimWidth);
  forRows(segment, [&](Value token, Value head, Value) {
    Value place = queryElement(segment, token, head);
    for (int64_t dim = 0; dim < headDim; dim += tiles.dimWidth)
      store(zero, result, math.add(place, dim));
  });
}

void AttentionLowering::emitSegment(const Segment &segment) {
  emitLoadQueries(segment);
  emitStart(segment);
  Value firstBlock = math.div(windowStart(segment.firstLimit), keysPerBlock);
  Value endBlock = math.ceilDiv(segment.keys, keysPerBlock);
  if (!cut) {
    loop(firstBlock, endBlock, 1, [&](Value block) { emitKeyBlock(segment, block); });
    return emitResults(segment);
  }
  Value count = math.sub(endBlock, firstBlock);
  Value perPart = math.div(math.add(count, math.sub(parts, constant(1))), parts);
  firstBlock = math.add(firstBlock, math.mul(perPart, segment.part));
  endBlock = math.min(endBlock, math.add(firstBlock, perPart));
  loop(firstBlock, endBlock, 1, [&](Value block) { emitKeyBlock(segment, block); });
  auto branch = scf::IfOp::create(b, loc, cut, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  emitPartResults(segment);
  b.setInsertionPointToStart(branch.elseBlock());
  emitResults(segment);
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
      Segment segment;
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
    Segment segment;
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
  auto function = kernel.fusion->getParentOfType<func::FuncOp>();
  shape.tokensKnown = tokens.asConstant().has_value();
  shape.tokens = tokens.evaluate(
      [&](StringRef name) { return function ? getSymbolHint(function, name) : 128; });
  shape.headsPerGroup = ratio;
  shape.headDim = headDim;
  shape.keyBlock = keysPerBlock;
  shape.elementType = elementType;
  if (paged && cast<MemRefType>(key.getType()).getElementType() != elementType)
    shape.elementType = b.getF32Type();
  tiles = selectAttentionTiles(shape, target);
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
  maxima = kernel.allocScratch(rows * tiles.keyWidth, f32);
  sums = kernel.allocScratch(rows * tiles.keyWidth, f32);
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
