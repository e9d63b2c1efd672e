//===- Decompose.cpp - Composites into primitives -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Composite operations exist to be recognized and read; everything after this
// pass knows primitives only. The forms chosen here are those that fuse: every
// operation but reductions and dots is indexable as FusionAnalysis.h says.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"
#include "mlsys/Transforms/Passes.h"

#include "mlir/Transforms/WalkPatternRewriteDriver.h"

#include <cmath>
#include <limits>

namespace mlsys {
#define GEN_PASS_DEF_DECOMPOSE
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// The dimensions `0 .. count - 1`.
static SmallVector<int64_t> leadingDims(int64_t count) {
  return llvm::to_vector(llvm::seq<int64_t>(0, count));
}

/// `value` in another element type.
static Value convert(OpBuilder &builder, Location loc, Value value, Type elementType) {
  if (typeOf(value).getElementType() == elementType)
    return value;
  return ConvertOp::create(builder, loc, withElementType(typeOf(value), elementType), value);
}

static Value broadcast(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> dims,
                       RankedTensorType type) {
  return typeOf(value) == type ? value : BroadcastOp::create(builder, loc, type, value, dims);
}

/// A float tensor of `type` with one value everywhere.
static Value fill(OpBuilder &builder, Location loc, double value, RankedTensorType type) {
  auto scalarType = RankedTensorType::get({}, type.getElementType());
  Attribute element = builder.getFloatAttr(type.getElementType(), value);
  Value scalar = ConstantOp::create(builder, loc, DenseElementsAttr::get(scalarType, element));
  return broadcast(builder, loc, scalar, {}, type);
}

static LogicalResult decomposeEmbedding(EmbeddingOp op, PatternRewriter &rewriter) {
  rewriter.replaceOpWithNewOp<GatherOp>(op, op.getType(), op.getTable(), op.getIds());
  return success();
}

/// linear(x, w, b) = dot(x, w) + b.
static LogicalResult decomposeLinear(LinearOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  RankedTensorType type = typeOf(op.getResult());
  int64_t last = type.getRank() - 1;
  Value result = DotOp::create(rewriter, loc, type, op.getInput(), op.getWeight(),
                               ArrayRef<int64_t>{}, ArrayRef<int64_t>{}, ArrayRef<int64_t>{last},
                               ArrayRef<int64_t>{1});
  if (op.getBias()) {
    Value bias = convert(rewriter, loc, op.getBias(), type.getElementType());
    bias = broadcast(rewriter, loc, bias, {last}, type);
    result = AddOp::create(rewriter, loc, result, bias);
  }
  rewriter.replaceOp(op, result);
  return success();
}

/// rms_norm(x, w) = w * (x / sqrt(mean(x * x) + epsilon)), in f32. The pass has
/// checked that the width is static.
static LogicalResult decomposeRmsNorm(RmsNormOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  RankedTensorType type = typeOf(op.getResult());
  RankedTensorType wide = withElementType(type, f32);
  int64_t last = type.getRank() - 1;
  SmallVector<DimExpr> dims = getDims(type);
  int64_t width = type.getShape().back();
  RankedTensorType rows = getTensorType(ArrayRef(dims).drop_back(), f32);

  Value input = convert(rewriter, loc, op.getInput(), f32);
  Value squares = MulOp::create(rewriter, loc, input, input);
  Value sum = ReduceOp::create(rewriter, loc, rows, ReduceKind::sum, squares, ArrayRef{last});
  Value mean =
      MulOp::create(rewriter, loc, sum, fill(rewriter, loc, 1.0 / static_cast<double>(width), rows));
  Value shifted = AddOp::create(
      rewriter, loc, mean, fill(rewriter, loc, op.getEpsilon().convertToFloat(), rows));
  Value inverse = RsqrtOp::create(rewriter, loc, shifted);
  inverse = broadcast(rewriter, loc, inverse, leadingDims(last), wide);
  Value normal = MulOp::create(rewriter, loc, input, inverse);

  Value scale = convert(rewriter, loc, op.getScale(), f32);
  scale = broadcast(rewriter, loc, scale, {last}, wide);
  Value result = MulOp::create(rewriter, loc, normal, scale);
  rewriter.replaceOp(op, convert(rewriter, loc, result, type.getElementType()));
  return success();
}

/// layer_norm(x, w, b) = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * w + b, in f32.
static LogicalResult decomposeLayerNorm(LayerNormOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  RankedTensorType type = typeOf(op.getResult());
  RankedTensorType wide = withElementType(type, f32);
  int64_t last = type.getRank() - 1;
  SmallVector<DimExpr> dims = getDims(type);
  RankedTensorType rows = getTensorType(ArrayRef(dims).drop_back(), f32);
  double inverseWidth = 1.0 / static_cast<double>(type.getShape().back());
  auto mean = [&](Value value) -> Value {
    Value sum = ReduceOp::create(rewriter, loc, rows, ReduceKind::sum, value, ArrayRef{last});
    return MulOp::create(rewriter, loc, sum, fill(rewriter, loc, inverseWidth, rows));
  };
  auto spread = [&](Value value) {
    return broadcast(rewriter, loc, value, leadingDims(last), wide);
  };

  Value input = convert(rewriter, loc, op.getInput(), f32);
  Value centered = SubOp::create(rewriter, loc, input, spread(mean(input)));
  Value variance = mean(MulOp::create(rewriter, loc, centered, centered));
  Value shifted = AddOp::create(rewriter, loc, variance,
                                fill(rewriter, loc, op.getEpsilon().convertToFloat(), rows));
  Value inverse = RsqrtOp::create(rewriter, loc, shifted);
  Value result = MulOp::create(rewriter, loc, centered, spread(inverse));
  auto column = [&](Value value) {
    return broadcast(rewriter, loc, convert(rewriter, loc, value, f32), {last}, wide);
  };
  if (op.getScale())
    result = MulOp::create(rewriter, loc, result, column(op.getScale()));
  if (op.getBias())
    result = AddOp::create(rewriter, loc, result, column(op.getBias()));
  rewriter.replaceOp(op, convert(rewriter, loc, result, type.getElementType()));
  return success();
}

/// The parts (x, y) of the last dimension become (x cos a - y sin a, y cos a + x sin a).
static LogicalResult decomposeRope(RopeOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  RankedTensorType type = typeOf(op.getResult());
  RankedTensorType frequencyType = typeOf(op.getFrequencies());
  int64_t rank = type.getRank(), half = frequencyType.getShape().back();

  // Angles are [positions..., N]: one set for all heads.
  SmallVector<DimExpr> angleDims = getDims(typeOf(op.getPositions()));
  int64_t positionRank = angleDims.size();
  angleDims.push_back(DimExpr::constant(half));
  RankedTensorType angleType = getTensorType(angleDims, f32);
  Value positions = convert(rewriter, loc, op.getPositions(), f32);
  positions = broadcast(rewriter, loc, positions, leadingDims(positionRank), angleType);
  Value frequencies = op.getFrequencies();
  if (frequencyType.getRank() == 1)
    frequencies = broadcast(rewriter, loc, frequencies, {positionRank}, angleType);
  Value angles = MulOp::create(rewriter, loc, positions, frequencies);

  SmallVector<DimExpr> halfDims = getDims(type);
  halfDims.back() = DimExpr::constant(half);
  RankedTensorType halfType = getTensorType(halfDims, f32);
  // Positions match the last dimensions before [heads, dim].
  SmallVector<int64_t> dims =
      llvm::to_vector(llvm::seq<int64_t>(rank - 2 - positionRank, rank - 2));
  dims.push_back(rank - 1);
  auto wave = [&](Value value) {
    if (op.getFactor())
      value = MulOp::create(rewriter, loc, value,
                            fill(rewriter, loc, op.getFactor()->convertToFloat(), angleType));
    return broadcast(rewriter, loc, value, dims, halfType);
  };
  Value cosine = wave(CosOp::create(rewriter, loc, angles));
  Value sine = wave(SinOp::create(rewriter, loc, angles));

  Value input = convert(rewriter, loc, op.getInput(), f32);
  SmallVector<int64_t> offsets(rank, 0);
  Value low = SliceOp::create(rewriter, loc, halfType, input, offsets);
  offsets.back() = half;
  Value high = SliceOp::create(rewriter, loc, halfType, input, offsets);
  auto mul = [&](Value a, Value b) { return MulOp::create(rewriter, loc, a, b).getResult(); };
  Value newLow = SubOp::create(rewriter, loc, mul(low, cosine), mul(high, sine));
  Value newHigh = AddOp::create(rewriter, loc, mul(high, cosine), mul(low, sine));
  SmallVector<Value> parts = {newLow, newHigh};
  if (int64_t kept = type.getShape().back() - 2 * half) {
    SmallVector<DimExpr> keptDims = getDims(type);
    keptDims.back() = DimExpr::constant(kept);
    offsets.back() = 2 * half;
    parts.push_back(SliceOp::create(rewriter, loc, getTensorType(keptDims, f32), input, offsets));
  }
  Value result =
      ConcatOp::create(rewriter, loc, withElementType(type, f32), parts, rank - 1);
  rewriter.replaceOp(op, convert(rewriter, loc, result, type.getElementType()));
  return success();
}

/// silu(x) = x * sigmoid(x), in f32.
static LogicalResult decomposeSilu(SiluOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Value input = convert(rewriter, loc, op.getInput(), rewriter.getF32Type());
  Value gate = SigmoidOp::create(rewriter, loc, input);
  Value result = MulOp::create(rewriter, loc, input, gate);
  rewriter.replaceOp(op, convert(rewriter, loc, result, typeOf(op.getResult()).getElementType()));
  return success();
}

/// In f32; see the operation for the formulas.
static LogicalResult decomposeGelu(GeluOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  RankedTensorType type = withElementType(typeOf(op.getResult()), rewriter.getF32Type());
  auto number = [&](double value) { return fill(rewriter, loc, value, type); };
  auto mul = [&](Value a, Value b) -> Value { return MulOp::create(rewriter, loc, a, b); };
  auto add = [&](Value a, Value b) -> Value { return AddOp::create(rewriter, loc, a, b); };
  Value x = convert(rewriter, loc, op.getInput(), rewriter.getF32Type());
  Value inner;
  if (op.getTanh()) {
    Value cube = mul(mul(x, x), x);
    inner = mul(number(std::sqrt(2.0 / M_PI)), add(x, mul(number(0.044715), cube)));
    inner = TanhOp::create(rewriter, loc, inner);
  } else {
    inner = ErfOp::create(rewriter, loc, mul(x, number(std::sqrt(0.5))));
  }
  Value result = mul(mul(x, number(0.5)), add(inner, number(1)));
  rewriter.replaceOp(op, convert(rewriter, loc, result, typeOf(op.getResult()).getElementType()));
  return success();
}

/// softmax(x) = exp(x - max(x)) / sum(exp(x - max(x))), in f32.
static LogicalResult decomposeSoftmax(SoftmaxOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  RankedTensorType type = typeOf(op.getResult());
  RankedTensorType wide = withElementType(type, f32);
  int64_t dim = op.getDim();
  SmallVector<int64_t> kept = leadingDims(type.getRank());
  kept.erase(kept.begin() + dim);
  SmallVector<DimExpr> reducedDims = getDims(type);
  reducedDims.erase(reducedDims.begin() + dim);
  RankedTensorType reduced = getTensorType(reducedDims, f32);
  auto reduce = [&](ReduceKind kind, Value value) {
    Value result = ReduceOp::create(rewriter, loc, reduced, kind, value, ArrayRef{dim});
    return broadcast(rewriter, loc, result, kept, wide);
  };

  Value input = convert(rewriter, loc, op.getInput(), f32);
  Value shifted = SubOp::create(rewriter, loc, input, reduce(ReduceKind::max, input));
  Value exponential = ExpOp::create(rewriter, loc, shifted);
  Value result =
      DivOp::create(rewriter, loc, exponential, reduce(ReduceKind::sum, exponential));
  rewriter.replaceOp(op, convert(rewriter, loc, result, type.getElementType()));
  return success();
}

/// top_k in k rounds: the largest element that is left and the first place where it is. What is
/// left comes after the last one in the order of values and places; NaN is the largest, as it
/// is for a maximum. No round is computed from the others' elements, only from their results.
static LogicalResult decomposeTopK(TopKOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type(), i32 = rewriter.getI32Type(), i1 = rewriter.getI1Type();
  RankedTensorType wide = withElementType(typeOf(op.getInput()), f32);
  RankedTensorType places = withElementType(wide, i32), flags = withElementType(wide, i1);
  int64_t last = wide.getRank() - 1, k = op.getK();
  SmallVector<int64_t> rows = leadingDims(last);
  SmallVector<DimExpr> dims = getDims(wide);
  dims.pop_back();
  RankedTensorType rowValues = getTensorType(dims, f32), rowPlaces = getTensorType(dims, i32);
  dims.push_back(DimExpr::constant(1));
  RankedTensorType valueColumn = getTensorType(dims, f32), placeColumn = getTensorType(dims, i32);
  auto compare = [&](Predicate predicate, Value lhs, Value rhs) -> Value {
    return CompareOp::create(rewriter, loc, withElementType(typeOf(lhs), i1), predicate, lhs, rhs);
  };
  auto both = [&](Value lhs, Value rhs) -> Value { return AndOp::create(rewriter, loc, lhs, rhs); };
  auto either = [&](Value lhs, Value rhs) -> Value { return OrOp::create(rewriter, loc, lhs, rhs); };

  Value input = convert(rewriter, loc, op.getInput(), f32);
  Value isNan = compare(Predicate::ne, input, input), isNumber = NotOp::create(rewriter, loc, isNan);
  Value place = IotaOp::create(rewriter, loc, places, last);
  Value lowest = fill(rewriter, loc, -std::numeric_limits<double>::infinity(), wide);
  Value nowhere = ConstantOp::create(
      rewriter, loc,
      DenseElementsAttr::get(RankedTensorType::get({}, i32),
                             Attribute(rewriter.getI32IntegerAttr(INT32_MAX))));
  nowhere = broadcast(rewriter, loc, nowhere, {}, places);
  Value left = input, isLeft;
  SmallVector<Value> valueColumns, placeColumns;
  for (int64_t round = 0; round < k; ++round) {
    Value largest = ReduceOp::create(rewriter, loc, rowValues, ReduceKind::max, left, ArrayRef{last});
    Value largestWide = broadcast(rewriter, loc, largest, rows, wide);
    Value isLargest = either(compare(Predicate::eq, input, largestWide), isNan);
    if (isLeft)
      isLargest = both(isLargest, isLeft);
    Value candidates = SelectOp::create(rewriter, loc, isLargest, place, nowhere);
    Value first =
        ReduceOp::create(rewriter, loc, rowPlaces, ReduceKind::min, candidates, ArrayRef{last});
    valueColumns.push_back(ReshapeOp::create(rewriter, loc, valueColumn, largest));
    placeColumns.push_back(ReshapeOp::create(rewriter, loc, placeColumn, first));
    if (round + 1 == k)
      break;
    Value firstWide = broadcast(rewriter, loc, first, rows, places);
    Value wasNan = compare(Predicate::ne, largest, largest);
    wasNan = broadcast(rewriter, loc, wasNan, rows, flags);
    Value isEqual = either(compare(Predicate::eq, input, largestWide), both(isNan, wasNan));
    Value isLess = either(compare(Predicate::lt, input, largestWide), both(isNumber, wasNan));
    isLeft = either(isLess, both(isEqual, compare(Predicate::gt, place, firstWide)));
    left = SelectOp::create(rewriter, loc, isLeft, input, lowest);
  }
  auto join = [&](ArrayRef<Value> columns, Value result) {
    Type element = typeOf(columns.front()).getElementType();
    Value joined = columns.front();
    if (columns.size() > 1)
      joined = ConcatOp::create(rewriter, loc, withElementType(typeOf(result), element),
                                ValueRange(columns), last);
    return convert(rewriter, loc, joined, typeOf(result).getElementType());
  };
  rewriter.replaceOp(op, {join(valueColumns, op.getValues()), join(placeColumns, op.getIndices())});
  return success();
}

/// A sum, product, maximum or minimum along a short dimension that is not the last: its slices
/// combined in order, in f32 for 16-bit floats.
static Value combineSlices(ReduceOp op, int64_t dim, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  RankedTensorType from = typeOf(op.getInput()), to = typeOf(op.getResult());
  Type element = to.getElementType();
  if (element.isBF16() || element.isF16())
    element = rewriter.getF32Type();
  SmallVector<DimExpr> dims = getDims(from);
  dims[dim] = DimExpr::constant(1);
  Value total;
  for (int64_t index = 0; index < from.getDimSize(dim); ++index) {
    SmallVector<int64_t> offsets(from.getRank(), 0);
    offsets[dim] = index;
    Value part = SliceOp::create(rewriter, loc, getTensorType(dims, from.getElementType()),
                                 op.getInput(), offsets);
    part = ReshapeOp::create(rewriter, loc, withElementType(to, from.getElementType()), part);
    part = convert(rewriter, loc, part, element);
    if (!total)
      total = part;
    else if (op.getKind() == ReduceKind::sum)
      total = AddOp::create(rewriter, loc, total, part);
    else if (op.getKind() == ReduceKind::prod)
      total = MulOp::create(rewriter, loc, total, part);
    else if (op.getKind() == ReduceKind::max)
      total = MaxOp::create(rewriter, loc, total, part);
    else
      total = MinOp::create(rewriter, loc, total, part);
  }
  return convert(rewriter, loc, total, to.getElementType());
}

/// Reductions over the last dimension alone are primitive. A short dimension elsewhere is cut
/// into slices; other dimensions move to the end and become one.
static LogicalResult decomposeReduce(ReduceOp op, PatternRewriter &rewriter) {
  static constexpr int64_t maxSlices = 16;
  Location loc = op.getLoc();
  RankedTensorType from = typeOf(op.getInput());
  ArrayRef<int64_t> dims = op.getDims();
  int64_t rank = from.getRank();
  if (dims.empty() || (dims.size() == 1 && dims[0] == rank - 1))
    return failure();
  if (dims.size() == 1 && !from.isDynamicDim(dims[0]) && from.getDimSize(dims[0]) >= 1 &&
      from.getDimSize(dims[0]) <= maxSlices) {
    rewriter.replaceOp(op, combineSlices(op, dims[0], rewriter));
    return success();
  }
  SmallVector<int64_t> order;
  SmallVector<DimExpr> moved, joined;
  for (int64_t dim = 0; dim < rank; ++dim)
    if (!llvm::is_contained(dims, dim)) {
      order.push_back(dim);
      joined.push_back(getDim(from, dim));
    }
  order.append(dims.begin(), dims.end());
  DimExpr extent = DimExpr::constant(1);
  for (int64_t dim : dims)
    extent = extent * getDim(from, dim);
  joined.push_back(extent);
  for (int64_t dim : order)
    moved.push_back(getDim(from, dim));
  Value input = op.getInput();
  if (!llvm::is_sorted(order))
    input = TransposeOp::create(rewriter, loc, getTensorType(moved, from.getElementType()), input,
                                order);
  if (dims.size() > 1)
    input = ReshapeOp::create(rewriter, loc, getTensorType(joined, from.getElementType()), input);
  int64_t last = joined.size() - 1;
  rewriter.replaceOpWithNewOp<ReduceOp>(op, op.getType(), op.getKind(), input, ArrayRef{last});
  return success();
}

namespace {
struct Decompose : mlsys::impl::DecomposeBase<Decompose> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add(decomposeEmbedding);
    patterns.add(decomposeGelu);
    patterns.add(decomposeLayerNorm);
    patterns.add(decomposeLinear);
    patterns.add(decomposeRmsNorm);
    patterns.add(decomposeRope);
    patterns.add(decomposeSilu);
    patterns.add(decomposeSoftmax);
    patterns.add(decomposeTopK);
    WalkResult dynamicWidth = getOperation()->walk([](Operation *op) {
      if (!isa<RmsNormOp, LayerNormOp>(op))
        return WalkResult::advance();
      RankedTensorType type = typeOf(op->getOperand(0));
      if (!type.isDynamicDim(type.getRank() - 1))
        return WalkResult::advance();
      op->emitOpError("has width ") << getDim(type, type.getRank() - 1).str()
                                   << "; only a number can be decomposed";
      return WalkResult::interrupt();
    });
    if (dynamicWidth.wasInterrupted())
      return signalPassFailure();
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    // Those that composites were made of as well.
    RewritePatternSet reductions(&getContext());
    reductions.add(decomposeReduce);
    walkAndApplyPatterns(getOperation(), std::move(reductions));
  }
};
} // namespace
