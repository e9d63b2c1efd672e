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

/// The halves (x, y) of the last dimension become (x cos a - y sin a, y cos a + x sin a).
static LogicalResult decomposeRope(RopeOp op, PatternRewriter &rewriter) {
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  RankedTensorType type = typeOf(op.getResult());
  int64_t rank = type.getRank(), half = type.getShape().back() / 2;

  // Angles are [positions..., D / 2]: one set for all heads.
  SmallVector<DimExpr> angleDims = getDims(typeOf(op.getPositions()));
  int64_t positionRank = angleDims.size();
  angleDims.push_back(DimExpr::constant(half));
  RankedTensorType angleType = getTensorType(angleDims, f32);
  Value positions = convert(rewriter, loc, op.getPositions(), f32);
  positions = broadcast(rewriter, loc, positions, leadingDims(positionRank), angleType);
  Value frequencies = broadcast(rewriter, loc, op.getFrequencies(), {positionRank}, angleType);
  Value angles = MulOp::create(rewriter, loc, positions, frequencies);

  SmallVector<DimExpr> halfDims = getDims(type);
  halfDims.back() = DimExpr::constant(half);
  RankedTensorType halfType = getTensorType(halfDims, f32);
  // Positions match the last dimensions before [heads, dim].
  SmallVector<int64_t> dims =
      llvm::to_vector(llvm::seq<int64_t>(rank - 2 - positionRank, rank - 2));
  dims.push_back(rank - 1);
  Value cosine = broadcast(rewriter, loc, CosOp::create(rewriter, loc, angles), dims, halfType);
  Value sine = broadcast(rewriter, loc, SinOp::create(rewriter, loc, angles), dims, halfType);

  Value input = convert(rewriter, loc, op.getInput(), f32);
  SmallVector<int64_t> offsets(rank, 0);
  Value low = SliceOp::create(rewriter, loc, halfType, input, offsets);
  offsets.back() = half;
  Value high = SliceOp::create(rewriter, loc, halfType, input, offsets);
  auto mul = [&](Value a, Value b) { return MulOp::create(rewriter, loc, a, b).getResult(); };
  Value newLow = SubOp::create(rewriter, loc, mul(low, cosine), mul(high, sine));
  Value newHigh = AddOp::create(rewriter, loc, mul(high, cosine), mul(low, sine));
  Value result = ConcatOp::create(rewriter, loc, withElementType(type, f32),
                                  ValueRange{newLow, newHigh}, rank - 1);
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

namespace {
struct Decompose : mlsys::impl::DecomposeBase<Decompose> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add(decomposeEmbedding);
    patterns.add(decomposeLinear);
    patterns.add(decomposeRmsNorm);
    patterns.add(decomposeRope);
    patterns.add(decomposeSilu);
    patterns.add(decomposeSoftmax);
    WalkResult dynamicWidth = getOperation()->walk([](RmsNormOp op) {
      RankedTensorType type = typeOf(op.getInput());
      if (!type.isDynamicDim(type.getRank() - 1))
        return WalkResult::advance();
      op.emitOpError("has width ") << getDim(type, type.getRank() - 1).str()
                                   << "; only a number can be decomposed";
      return WalkResult::interrupt();
    });
    if (dynamicWidth.wasInterrupted())
      return signalPassFailure();
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
