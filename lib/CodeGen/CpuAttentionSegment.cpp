//===- CpuAttentionSegment.cpp - Attention of some query tokens -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CpuAttentionLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <algorithm>
#include <limits>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

//===----------------------------------------------------------------------===//
// Small things
//===----------------------------------------------------------------------===//

void AttentionLowering::forRows(const QuerySegment &segment,
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

Value AttentionLowering::loadSplat(Value buffer, Value index, int64_t width) {
  return splat(memref::LoadOp::create(b, loc, buffer, index), width);
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

Value AttentionLowering::queryElement(const QuerySegment &segment, Value token, Value headInGroup) {
  Value head = math.add(math.mul(segment.head, ratio), headInGroup);
  Value row = math.add(math.mul(math.add(segment.firstToken, token), heads), head);
  return math.mul(row, headDim);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

void AttentionLowering::emitProduct(Value lhs, int64_t lhsStride, const RightMatrix &rhs, Value steps,
                                    Value result, int64_t columns, int64_t width, Value rows,
                                    Value rescales) {
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
      operands.accumulate = rescales != nullptr;
      operands.rowFactors = rescales;
      operands.firstRow = row;
      emitMicroKernel(b, loc, micro, operands);
    });
  });
}

//===----------------------------------------------------------------------===//
// One segment
//===----------------------------------------------------------------------===//

void AttentionLowering::emitLoadQueries(const QuerySegment &segment) {
  int64_t width = tiles.dimWidth;
  forRows(segment, [&](Value token, Value head, Value row) {
    Value source = queryElement(segment, token, head), place = math.mul(row, headDim);
    for (int64_t dim = 0; dim < headDim; dim += width)
      store(load(query, math.add(source, dim), width), queries, math.add(place, dim));
  });
}

void AttentionLowering::emitStart(const QuerySegment &segment) {
  int64_t rowWidth = target.vectorWidth;
  Value lowest = splatConstant(lowestScore(), rowWidth);
  for (int64_t row = 0; row < paddedRows(); row += rowWidth)
    store(lowest, maxima, constant(row));
  Value zero = splatConstant(0, tiles.dimWidth), noSum = splatConstant(0, tiles.keyWidth);
  forRows(segment, [&](Value, Value, Value row) {
    Value place = math.mul(row, headDim);
    store(noSum, sums, math.mul(row, tiles.keyWidth));
    for (int64_t dim = 0; dim < headDim; dim += tiles.dimWidth)
      store(zero, results, math.add(place, dim));
  });
}

/// What the running maximum starts from. A row may see nothing of the first blocks when there is a
/// window, and a part may have no keys: then it must be a number, also when it is scaled.
double AttentionLowering::lowestScore() const {
  if (!window && kernel.parts == 1)
    return -std::numeric_limits<double>::infinity();
  return std::numeric_limits<float>::lowest() / (2 * std::max(1.0, scaleOfScores()));
}

/// The first key that a row sees whose keys end at `limit`.
Value AttentionLowering::windowStart(Value limit) {
  return window ? math.sub(limit, math.min(limit, constant(window))) : constant(0);
}

Value AttentionLowering::emitScore(Value product, Value added) {
  int64_t width = cast<VectorType>(product.getType()).getDimSize(0);
  auto times = [&](Value value, double factor) -> Value {
    return arith::MulFOp::create(b, loc, value, splatConstant(factor, width));
  };
  if (!prescaled())
    return product;
  auto finish = [&](Value value, double factor) -> Value {
    return added ? vector::FMAOp::create(b, loc, value, splatConstant(factor, width), added).getResult()
                 : times(value, factor);
  };
  if (softcap == 0)
    return finish(product, scale);
  return finish(::mlir::math::TanhOp::create(b, loc, times(product, scale / softcap)), softcap);
}

void AttentionLowering::emitSlopes() {
  int64_t width = target.vectorWidth, count = slopes.size();
  for (int64_t head = 0; head < count; head += width) {
    SmallVector<float> part(width, 0.0f);
    llvm::copy(slopes.slice(head, std::min(width, count - head)), part.begin());
    store(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(floats(width), ArrayRef<float>(part))), slopeOfHead,
          constant(head));
  }
}

void AttentionLowering::emitRowMaximum(Value row, Value visible, Value hidden, Value bias, Value slope) {
  int64_t width = tiles.keyWidth;
  Value first = math.mul(row, keysPerBlock);
  Value lowest = splatConstant(-std::numeric_limits<double>::infinity(), width);
  auto maskType = VectorType::get(width, b.getI1Type());
  auto maskOf = [&](Value count, int64_t column) -> Value {
    Value left = arith::SubIOp::create(b, loc, count, constant(column));
    return vector::CreateMaskOp::create(b, loc, maskType, left);
  };
  Value largest;
  for (int64_t column = 0; column < keysPerBlock; column += width) {
    Value place = math.add(first, column);
    Value added;
    if (bias) {
      SmallVector<float> columns;
      for (int64_t lane = 0; lane < width; ++lane)
        columns.push_back(static_cast<float>(column + lane));
      Value distance = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(floats(width), ArrayRef<float>(columns)));
      added = vector::FMAOp::create(b, loc, splat(slope, width), distance, splat(bias, width));
    }
    Value score = emitScore(load(scores, place, width), added);
    if (visible)
      score = arith::SelectOp::create(b, loc, maskOf(visible, column), score, lowest);
    if (hidden)
      score = arith::SelectOp::create(b, loc, maskOf(hidden, column), lowest, score);
    if (visible || prescaled())
      store(score, scores, place);
    largest = largest ? maximum(score, largest) : score;
  }
  // The running maximum is no NaN, and stays when the block's is one.
  Value ofBlock = vector::ExtractOp::create(b, loc, maximumOfLanes(largest), 0);
  Value before = memref::LoadOp::create(b, loc, maxima, row);
  memref::StoreOp::create(b, loc, maximum(ofBlock, before), nextMaxima, row);
}

void AttentionLowering::emitMaxima(const QuerySegment &segment, Value firstKey, bool masked) {
  forRows(segment, [&](Value token, Value head, Value row) {
    Value visible, hidden, bias, slope;
    Value limit = causal ? math.add(segment.firstLimit, token) : segment.firstLimit;
    if (!slopes.empty()) {
      // The query is the last key that it sees.
      Value distance = arith::SubIOp::create(b, loc, math.add(firstKey, 1), limit);
      distance = arith::IndexCastOp::create(b, loc, b.getI32Type(), distance);
      distance = arith::SIToFPOp::create(b, loc, b.getF32Type(), distance);
      slope = memref::LoadOp::create(b, loc, slopeOfHead, math.join(segment.head, constant(ratio), head));
      bias = arith::MulFOp::create(b, loc, slope, distance);
    }
    if (masked) {
      // Negative when the row sees nothing of the block.
      visible = arith::SubIOp::create(b, loc, limit, firstKey);
      if (window)
        hidden = arith::SubIOp::create(b, loc, windowStart(limit), firstKey);
    }
    emitRowMaximum(row, visible, hidden, bias, slope);
  });
}

/// One exponential serves a vector of rows.
void AttentionLowering::emitRescales(Value rows) {
  int64_t width = target.vectorWidth;
  Value factor = splatConstant(scaleOfScores(), width);
  loop(constant(0), rows, width, [&](Value row) {
    Value next = load(nextMaxima, row, width);
    Value change = arith::SubFOp::create(b, loc, load(maxima, row, width), next);
    change = arith::MulFOp::create(b, loc, change, factor);
    store(::mlir::math::ExpOp::create(b, loc, change), rescales, row);
    store(next, maxima, row);
  });
}

void AttentionLowering::emitRowWeights(Value row) {
  int64_t width = tiles.keyWidth;
  Value first = math.mul(row, keysPerBlock), lanes = math.mul(row, width);
  Value factor = splatConstant(scaleOfScores(), width);
  Value largest = loadSplat(maxima, row, width);
  Value shift = arith::NegFOp::create(b, loc, arith::MulFOp::create(b, loc, largest, factor));
  Value sum = arith::MulFOp::create(b, loc, load(sums, lanes, width),
                                    loadSplat(rescales, row, width));
  for (int64_t column = 0; column < keysPerBlock; column += width) {
    Value place = math.add(first, column), score = load(scores, place, width);
    Value exponent = prescaled() ? arith::SubFOp::create(b, loc, score, largest).getResult()
                                 : vector::FMAOp::create(b, loc, score, factor, shift);
    Value weight = ::mlir::math::ExpOp::create(b, loc, exponent);
    sum = arith::AddFOp::create(b, loc, sum, weight);
    store(weight, weights, place);
  }
  store(sum, sums, lanes);
}

void AttentionLowering::emitSoftmax(const QuerySegment &segment, Value firstKey) {
  // Most blocks are seen whole by every row.
  Value lastKey = math.add(firstKey, keysPerBlock);
  Value whole = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, segment.firstLimit, lastKey);
  if (window) {
    Value lastLimit =
        causal ? math.add(segment.firstLimit, math.sub(segment.tokens, constant(1)))
               : segment.firstLimit;
    Value seen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, windowStart(lastLimit),
                                       firstKey);
    whole = arith::AndIOp::create(b, loc, whole, seen);
  }
  auto branch = scf::IfOp::create(b, loc, whole, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitMaxima(segment, firstKey, /*masked=*/false);
    b.setInsertionPointToStart(branch.elseBlock());
    emitMaxima(segment, firstKey, /*masked=*/true);
  }
  emitRescales(math.mul(segment.tokens, ratio));
  forRows(segment, [&](Value, Value, Value row) { emitRowWeights(row); });
}

void AttentionLowering::emitKeyBlock(const QuerySegment &segment, Value block, Value endBlock) {
  // Few rows wait for memory.
  if (paged && tiles.tokens == 1)
    emitPrefetch(segment, block, endBlock);
  Value firstKey = math.mul(block, keysPerBlock);
  Value count = math.min(constant(keysPerBlock), math.sub(segment.keys, firstKey));
  Value rows = math.mul(segment.tokens, ratio);
  RightMatrix keys = keyBlock(segment, block, count);
  emitProduct(queries, headDim, keys, constant(headDim / pair()), scores, keysPerBlock,
              tiles.keyWidth, rows);
  emitSoftmax(segment, firstKey);
  RightMatrix values = valueBlock(segment, block);
  if (usesBf16)
    values = emitInterleaved(values, count, headDim, tiles.dimWidth, valueScratch);
  emitProduct(weights, keysPerBlock, values, math.ceilDiv(count, pair()), results, headDim,
              tiles.dimWidth, rows, rescales);
}

void AttentionLowering::emitResults(const QuerySegment &segment) {
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
void AttentionLowering::emitPartResults(const QuerySegment &segment) {
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
    Value largest = memref::LoadOp::create(b, loc, maxima, row);
    Value factor = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(scaleOfScores()));
    largest = arith::MulFOp::create(b, loc, largest, factor);
    memref::StoreOp::create(b, loc, largest, result, math.add(place, headDim));
    memref::StoreOp::create(b, loc, sum, result, math.add(place, headDim + 1));
  });
}

void AttentionLowering::emitZeros(const QuerySegment &segment) {
  Value zero = splatConstant(0, tiles.dimWidth);
  forRows(segment, [&](Value token, Value head, Value) {
    Value place = queryElement(segment, token, head);
    for (int64_t dim = 0; dim < headDim; dim += tiles.dimWidth)
      store(zero, result, math.add(place, dim));
  });
}

void AttentionLowering::emitSegment(const QuerySegment &segment) {
  emitLoadQueries(segment);
  emitStart(segment);
  Value firstBlock = math.div(windowStart(segment.firstLimit), keysPerBlock);
  Value endBlock = math.ceilDiv(segment.keys, keysPerBlock);
  if (!cut) {
    loop(firstBlock, endBlock, 1, [&](Value block) { emitKeyBlock(segment, block, endBlock); });
    return emitResults(segment);
  }
  Value count = math.sub(endBlock, firstBlock);
  Value perPart = math.div(math.add(count, math.sub(parts, constant(1))), parts);
  firstBlock = math.add(firstBlock, math.mul(perPart, segment.part));
  endBlock = math.min(endBlock, math.add(firstBlock, perPart));
  loop(firstBlock, endBlock, 1, [&](Value block) { emitKeyBlock(segment, block, endBlock); });
  auto branch = scf::IfOp::create(b, loc, cut, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  emitPartResults(segment);
  b.setInsertionPointToStart(branch.elseBlock());
  emitResults(segment);
}
