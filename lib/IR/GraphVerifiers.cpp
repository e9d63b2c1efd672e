//===- GraphVerifiers.cpp - Rules of the graph dialect's operations -------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/FusionAnalysis.h"

#include "llvm/ADT/SmallBitVector.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// The type of a value that ODS has already checked to be a ranked tensor.
static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static std::string dimsText(ArrayRef<DimExpr> dims) {
  std::string text = "[";
  for (const DimExpr &dim : dims) {
    if (text.size() > 1)
      text += ", ";
    text += dim.str();
  }
  return text + "]";
}

/// Checks that the result has the extents that the operands give it.
static LogicalResult verifyResultDims(Operation *op) {
  SmallVector<DimExpr> actual = getDims(typeOf(op->getResult(0))), expected = inferResultDims(op);
  if (mayEqual(actual, expected))
    return success();
  return op->emitOpError("result has extents ")
         << dimsText(actual) << " but the operands give " << dimsText(expected);
}

/// Checks that `dim` is within the rank.
static LogicalResult verifyDim(Operation *op, int64_t dim, int64_t rank) {
  if (dim >= 0 && dim < rank)
    return success();
  return op->emitOpError("dimension ") << dim << " is outside rank " << rank;
}

/// Checks that `list` is sorted, without repetition, and within the rank.
static LogicalResult verifyDimList(Operation *op, StringRef name, ArrayRef<int64_t> list,
                                   int64_t rank, bool sorted = true) {
  llvm::SmallBitVector seen(rank);
  for (auto [index, dim] : llvm::enumerate(list)) {
    if (dim < 0 || dim >= rank)
      return op->emitOpError() << name << " has dimension " << dim << " outside rank " << rank;
    if (seen[dim])
      return op->emitOpError() << name << " has dimension " << dim << " twice";
    if (sorted && index && list[index - 1] > dim)
      return op->emitOpError() << name << " is not sorted";
    seen.set(dim);
  }
  return success();
}

/// Elementwise operations whose operands and result differ in element type.
static LogicalResult verifySameDims(Operation *op) {
  SmallVector<DimExpr> expected = getDims(typeOf(op->getResult(0)));
  for (Value operand : op->getOperands())
    if (SmallVector<DimExpr> dims = getDims(typeOf(operand)); !mayEqual(dims, expected))
      return op->emitOpError("operand has extents ")
             << dimsText(dims) << " but the result has " << dimsText(expected);
  return success();
}

LogicalResult CompareOp::verify() { return verifySameDims(*this); }
LogicalResult SelectOp::verify() { return verifySameDims(*this); }
LogicalResult ConvertOp::verify() { return verifySameDims(*this); }

LogicalResult WeightOp::verify() {
  RankedTensorType type = typeOf(getResult());
  if (!type.hasStaticShape())
    return emitOpError("result has a dynamic extent");
  int64_t total = 0;
  for (WeightSourceAttr part : getWeightParts(getSource())) {
    ArrayRef<int64_t> shape = part.getShape();
    int64_t rows = part.countTakenRows();
    if (rows < 0)
      return emitOpError("takes rows that its tensor of shape [") << shape << "] does not have";
    int64_t head = part.getHeadRows() ? part.getHeadRows() : part.getUnpermuteRows();
    if (part.getUnpermuteRows() < 0 || part.getUnpermuteRows() % 2 ||
        part.getUnpermuteRows() > head || (head > 0 && rows % head))
      return emitOpError("unpermute_rows ") << part.getUnpermuteRows() << " does not divide the rows";
    int64_t columns = shape.size() < 2 ? 1 : part.getTransposed() ? shape.front() : shape.back();
    if (llvm::MulOverflow(rows, columns, rows) || llvm::AddOverflow(total, rows, total))
      return emitOpError("takes too many elements");
  }
  if (total != type.getNumElements())
    return emitOpError("takes ") << total << " elements from its file for a result of "
                                 << type.getNumElements();
  return success();
}

LogicalResult ReduceOp::verify() {
  if (failed(verifyDimList(*this, "dims", getDims(), typeOf(getInput()).getRank())))
    return failure();
  return verifyResultDims(*this);
}

LogicalResult BroadcastOp::verify() {
  SmallVector<DimExpr> from = graph::getDims(typeOf(getInput()));
  SmallVector<DimExpr> to = graph::getDims(typeOf(getResult()));
  if (getDims().size() != from.size())
    return emitOpError("dims has ") << getDims().size() << " entries for an input of rank "
                                    << from.size();
  if (failed(verifyDimList(*this, "dims", getDims(), to.size())))
    return failure();
  for (auto [index, dim] : llvm::enumerate(getDims()))
    if (!mayEqual(from[index], to[dim]) && from[index] != DimExpr::constant(1))
      return emitOpError("input extent ") << from[index].str() << " of dimension " << index
                                          << " does not broadcast to " << to[dim].str();
  return success();
}

LogicalResult ReshapeOp::verify() {
  DimExpr from = getNumElements(typeOf(getInput())), to = getNumElements(typeOf(getResult()));
  if (!mayEqual(from, to))
    return emitOpError("input has ") << from.str() << " elements but the result has " << to.str();
  return success();
}

LogicalResult TransposeOp::verify() {
  int64_t rank = typeOf(getInput()).getRank();
  if (static_cast<int64_t>(getPermutation().size()) != rank)
    return emitOpError("permutation has ") << getPermutation().size()
                                           << " entries for an input of rank " << rank;
  if (failed(verifyDimList(*this, "permutation", getPermutation(), rank, /*sorted=*/false)))
    return failure();
  return verifyResultDims(*this);
}

LogicalResult SliceOp::verify() {
  RankedTensorType from = typeOf(getInput()), to = typeOf(getResult());
  if (from.getRank() != to.getRank() ||
      static_cast<int64_t>(getOffsets().size()) != from.getRank())
    return emitOpError("offsets and result must have the input's rank ") << from.getRank();
  for (int64_t dim = 0; dim < from.getRank(); ++dim) {
    int64_t offset = getOffsets()[dim];
    if (to.isDynamicDim(dim) || from.isDynamicDim(dim)) {
      if (offset != 0 || !mayEqual(graph::getDim(from, dim), graph::getDim(to, dim)))
        return emitOpError("dimension ") << dim << " is dynamic and can only be taken whole";
      continue;
    }
    if (offset < 0 || offset > from.getDimSize(dim) - to.getDimSize(dim))
      return emitOpError("takes ") << to.getDimSize(dim) << " from " << offset << " of dimension "
                                   << dim << ", which has extent " << from.getDimSize(dim);
  }
  return success();
}

LogicalResult ConcatOp::verify() {
  SmallVector<DimExpr> expected = getDims(typeOf(getInputs().front()));
  int64_t dim = getDim();
  if (failed(verifyDim(*this, dim, expected.size())))
    return failure();
  for (Value input : getInputs().drop_front()) {
    SmallVector<DimExpr> dims = getDims(typeOf(input));
    if (dims.size() != expected.size())
      return emitOpError("inputs have different ranks");
    for (size_t index = 0; index < dims.size(); ++index) {
      if (static_cast<int64_t>(index) != dim && !mayEqual(dims[index], expected[index]))
        return emitOpError("inputs have extents ")
               << expected[index].str() << " and " << dims[index].str() << " in dimension "
               << index;
    }
  }
  return verifyResultDims(*this);
}

LogicalResult GatherOp::verify() {
  if (typeOf(getTable()).getRank() == 0)
    return emitOpError("table must have a dimension to index");
  return verifyResultDims(*this);
}

LogicalResult IotaOp::verify() {
  return verifyDim(*this, getDim(), typeOf(getResult()).getRank());
}

LogicalResult DotOp::verify() {
  SmallVector<DimExpr> lhs = getDims(typeOf(getLhs())), rhs = getDims(typeOf(getRhs()));
  auto check = [&](StringRef what, ArrayRef<int64_t> left, ArrayRef<int64_t> right) -> LogicalResult {
    if (left.size() != right.size())
      return emitOpError() << what << " has " << left.size() << " and " << right.size()
                           << " dimensions";
    if (failed(verifyDimList(*this, what, left, lhs.size(), false)) ||
        failed(verifyDimList(*this, what, right, rhs.size(), false)))
      return failure();
    for (auto [l, r] : llvm::zip_equal(left, right))
      if (!mayEqual(lhs[l], rhs[r]))
        return emitOpError() << what << " pairs extents " << lhs[l].str() << " and "
                             << rhs[r].str();
    return success();
  };
  if (failed(check("batch", getLhsBatch(), getRhsBatch())) ||
      failed(check("contract", getLhsContract(), getRhsContract())))
    return failure();
  for (auto [batch, contract] : {std::pair(getLhsBatch(), getLhsContract()),
                                 std::pair(getRhsBatch(), getRhsContract())})
    for (int64_t dim : batch)
      if (llvm::is_contained(contract, dim))
        return emitOpError("dimension ") << dim << " is both batch and contracted";
  Type element = typeOf(getResult()).getElementType();
  Type left = typeOf(getLhs()).getElementType(), right = typeOf(getRhs()).getElementType();
  if (isa<IntegerType>(left) || isa<IntegerType>(right)) {
    if (!isa<IntegerType>(left) || !right.isSignlessInteger(8))
      return emitOpError("has operands of ") << left << " and " << right
                                             << "; integers are i8 or ui8, times i8";
    if (!element.isInteger(32))
      return emitOpError("result element type must be i32 for integers");
    return verifyResultDims(*this);
  }
  if (left != right)
    return emitOpError("operands have different element types");
  if (element != left && !element.isF32())
    return emitOpError("result element type must be the operands' or f32");
  return verifyResultDims(*this);
}

LogicalResult ExpertDotOp::verify() {
  SmallVector<DimExpr> lhs = getDims(typeOf(getLhs())), rhs = getDims(typeOf(getRhs()));
  SmallVector<DimExpr> experts = getDims(typeOf(getExperts()));
  if (rhs.size() != 3 || experts.empty())
    return emitOpError("expects a right side of [experts, out, in] and experts of [..., k]");
  if (lhs.size() != experts.size() && lhs.size() != experts.size() + 1)
    return emitOpError("left side ") << dimsText(lhs) << " has a row neither for each token nor for "
                                     << "each of the experts " << dimsText(experts);
  size_t shared = lhs.size() - 1;
  if (!mayEqual(ArrayRef(lhs).take_front(shared), ArrayRef(experts).take_front(shared)))
    return emitOpError("left side ") << dimsText(lhs) << " does not match the experts "
                                     << dimsText(experts);
  if (!mayEqual(lhs.back(), rhs[2]))
    return emitOpError("left side has rows of ") << lhs.back().str() << " elements but the right side "
                                                 << rhs[2].str();
  Type element = typeOf(getResult()).getElementType();
  if (typeOf(getLhs()).getElementType() != typeOf(getRhs()).getElementType())
    return emitOpError("operands have different element types");
  if (element != typeOf(getLhs()).getElementType() && !element.isF32())
    return emitOpError("result element type must be the operands' or f32");
  return verifyResultDims(*this);
}

/// What `window`, `softcap` and `slopes` of both attentions may be.
template <typename Op> static LogicalResult verifyScores(Op op, int64_t heads, bool causal) {
  if (op.getWindow() && !causal)
    return op.emitOpError("a window needs causal attention");
  if (std::optional<int64_t> window = op.getWindow(); window && *window < 1)
    return op.emitOpError("window ") << *window << " must be at least 1";
  if (std::optional<APFloat> cap = op.getSoftcap())
    if (!cap->isFinite() || cap->isNegative() || cap->isZero())
      return op.emitOpError("softcap must be a positive number");
  if (std::optional<ArrayRef<float>> slopes = op.getSlopes()) {
    if (!causal)
      return op.emitOpError("slopes need causal attention");
    if (static_cast<int64_t>(slopes->size()) != heads)
      return op.emitOpError("has ") << slopes->size() << " slopes for " << heads << " query heads";
    if (!llvm::all_of(*slopes, [](float slope) { return std::isfinite(slope); }))
      return op.emitOpError("slopes must be finite");
  }
  return success();
}

LogicalResult AttentionOp::verify() {
  SmallVector<DimExpr> query = getDims(typeOf(getQuery())), key = getDims(typeOf(getKey()));
  if (query.size() != 4 || key.size() != 4)
    return emitOpError("expects [batch, sequence, heads, dim] operands");
  if (!mayEqual(query[0], key[0]) || !mayEqual(query[3], key[3]))
    return emitOpError("query ") << dimsText(query) << " and key " << dimsText(key)
                                 << " differ in batch or head size";
  std::optional<int64_t> heads = query[2].asConstant(), keyHeads = key[2].asConstant();
  if (!heads || !keyHeads || *keyHeads == 0 || *heads % *keyHeads)
    return emitOpError("query heads must be a multiple of key heads");
  if (getCausal() && !mayEqual(query[1], key[1]))
    return emitOpError("causal attention needs as many queries as keys");
  return verifyScores(*this, *heads, getCausal());
}

LogicalResult CacheLayerOp::verify() {
  KvCacheType cache = cast<KvCacheType>(getCache().getType());
  KvLayerType layer = cast<KvLayerType>(getResult().getType());
  int64_t index = getLayer();
  if (index < 0 || index >= cache.getLayers())
    return emitOpError("layer ") << index << " is outside a cache of " << cache.getLayers();
  if (cache.getLayers() != layer.getLayers() || cache.getHeads() != layer.getHeads() ||
      cache.getHeadDim() != layer.getHeadDim() || cache.getPageSize() != layer.getPageSize() ||
      cache.getElementType() != layer.getElementType())
    return emitOpError("layer type does not match the cache");
  return success();
}

LogicalResult CacheWriteOp::verify() {
  KvLayerType layer = cast<KvLayerType>(getLayer().getType());
  SmallVector<DimExpr> input = getDims(typeOf(getInput())), slots = getDims(typeOf(getSlots()));
  if (input.size() != 3 || input[1] != DimExpr::constant(layer.getHeads()) ||
      input[2] != DimExpr::constant(layer.getHeadDim()))
    return emitOpError("input ") << dimsText(input) << " must be [tokens, " << layer.getHeads()
                                 << ", " << layer.getHeadDim() << "]";
  if (slots.size() != 1 || !mayEqual(slots[0], input[0]))
    return emitOpError("needs one slot a token");
  return success();
}

LogicalResult PagedAttentionOp::verify() {
  KvLayerType layer = cast<KvLayerType>(getLayer().getType());
  SmallVector<DimExpr> query = getDims(typeOf(getQuery()));
  SmallVector<DimExpr> start = getDims(typeOf(getQueryStart()));
  SmallVector<DimExpr> context = getDims(typeOf(getContextLength()));
  SmallVector<DimExpr> table = getDims(typeOf(getBlockTable()));
  if (query.size() != 3 || query[2] != DimExpr::constant(layer.getHeadDim()))
    return emitOpError("query ") << dimsText(query) << " must be [tokens, heads, "
                                 << layer.getHeadDim() << "]";
  std::optional<int64_t> heads = query[1].asConstant();
  if (!heads || *heads % layer.getHeads())
    return emitOpError("query heads must be a multiple of the cache's ") << layer.getHeads();
  if (start.size() != 1 || context.size() != 1 || table.size() != 2 ||
      !mayEqual(table[0], context[0]) || !mayEqual(start[0], context[0] + DimExpr::constant(1)))
    return emitOpError("expects queryStart [R + 1], contextLength [R] and blockTable [R, P]");
  return verifyScores(*this, *heads, !getBidirectional());
}

LogicalResult LastTokenOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput()));
  SmallVector<DimExpr> start = getDims(typeOf(getQueryStart()));
  if (input.empty() || start.size() != 1)
    return emitOpError("expects rows and a queryStart of [R + 1]");
  return verifyResultDims(*this);
}

LogicalResult EmbeddingOp::verify() {
  if (typeOf(getTable()).getRank() != 2)
    return emitOpError("table must be [vocabulary, width]");
  return verifyResultDims(*this);
}

LogicalResult LinearOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput())), weight = getDims(typeOf(getWeight()));
  if (input.empty() || weight.size() != 2)
    return emitOpError("expects an input of [..., in] and a weight of [out, in]");
  if (!mayEqual(input.back(), weight[1]))
    return emitOpError("input width ") << input.back().str() << " is not the weight's "
                                       << weight[1].str();
  if (getBias() && !mayEqual(getDims(typeOf(getBias())), {weight[0]}))
    return emitOpError("bias must be [") << weight[0].str() << "]";
  Type element = typeOf(getInput()).getElementType();
  if (typeOf(getWeight()).getElementType() != element)
    return emitOpError("input and weight have different element types");
  if (typeOf(getResult()).getElementType() != element &&
      !typeOf(getResult()).getElementType().isF32())
    return emitOpError("result element type must be the input's or f32");
  return verifyResultDims(*this);
}

LogicalResult RmsNormOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput())), scale = getDims(typeOf(getScale()));
  if (input.empty() || scale.size() != 1 || !mayEqual(scale[0], input.back())) {
    InFlightDiagnostic diag = emitOpError("scale has extents ")
                              << dimsText(scale) << " but the input has " << dimsText(input);
    if (Operation *definition = getScale().getDefiningOp())
      diag.attachNote(definition->getLoc()) << "scale defined here";
    return diag;
  }
  return success();
}

LogicalResult LayerNormOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput()));
  for (Value value : {getScale(), getBias()}) {
    if (!value)
      continue;
    SmallVector<DimExpr> dims = getDims(typeOf(value));
    if (input.empty() || dims.size() != 1 || !mayEqual(dims[0], input.back()))
      return emitOpError(value == getScale() ? "scale" : "bias")
             << " has extents " << dimsText(dims) << " but the input has " << dimsText(input);
  }
  if (input.empty())
    return emitOpError("input has no dimension to normalize over");
  return success();
}

LogicalResult RopeOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput()));
  SmallVector<DimExpr> positions = getDims(typeOf(getPositions()));
  SmallVector<DimExpr> frequencies = getDims(typeOf(getFrequencies()));
  if (input.size() < 3)
    return emitOpError("input must be [..., heads, dim]");
  std::optional<int64_t> width = input.back().asConstant();
  std::optional<int64_t> pairs = frequencies.empty() ? std::nullopt : frequencies.back().asConstant();
  if (!width || !pairs || *pairs > *width / 2)
    return emitOpError("frequencies must have at most half as many elements as a head, both numbers");
  if (frequencies.size() > 1 && !mayEqual(ArrayRef(frequencies).drop_back(), positions))
    return emitOpError("frequencies ") << dimsText(frequencies) << " do not begin with the positions "
                                       << dimsText(positions);
  ArrayRef<DimExpr> leading = ArrayRef(input).drop_back(2);
  if (positions.empty() || positions.size() > leading.size() ||
      !mayEqual(leading.take_back(positions.size()), positions))
    return emitOpError("positions ") << dimsText(positions) << " do not match the input "
                                     << dimsText(input);
  return success();
}

LogicalResult SoftmaxOp::verify() {
  return verifyDim(*this, getDim(), typeOf(getInput()).getRank());
}

LogicalResult TopKOp::verify() {
  SmallVector<DimExpr> input = getDims(typeOf(getInput()));
  if (input.empty())
    return emitOpError("input must have a dimension");
  int64_t k = getK();
  std::optional<int64_t> extent = input.back().asConstant();
  if (k < 1 || (extent && k > *extent))
    return emitOpError("takes ") << k << " of " << input.back().str() << " elements";
  input.back() = DimExpr::constant(k);
  for (Value result : getResults())
    if (SmallVector<DimExpr> actual = getDims(typeOf(result)); !mayEqual(actual, input))
      return emitOpError("result has extents ")
             << dimsText(actual) << " but the operands give " << dimsText(input);
  return success();
}

LogicalResult FusionOp::verifyRegions() {
  Block &block = getBody().front();
  if (TypeRange(block.getArgumentTypes()) != getInputs().getTypes())
    return emitOpError("block arguments do not have the types of the inputs");
  auto yield = cast<YieldOp>(block.getTerminator());
  if (yield.getValues().getTypes() != getResultTypes())
    return emitOpError("yields other types than its results have");
  if (!symbolizeFusionKind(getKind()))
    return emitOpError("kind '") << getKind() << "' is not loop, row, dot or attention";
  return success();
}
