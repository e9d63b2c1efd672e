//===- TokenLayout.cpp - Which values a model has per token ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "TokenLayout.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

TokenLayout::DimKind TokenLayout::kindOf(const DimExpr &dim) const {
  if (dim == batch)
    return DimKind::Batch;
  if (dim == sequence)
    return DimKind::Sequence;
  if (dim == batch * sequence)
    return DimKind::Tokens;
  for (const std::string &name : dim.symbols())
    if (name == batch.asSymbol() || name == sequence.asSymbol() || name == "_")
      return DimKind::Other;
  return DimKind::Plain;
}

bool TokenLayout::hasTokens(RankedTensorType type, int64_t dim) const {
  return kindOf(getDim(type, dim)) != DimKind::Plain;
}

TokenClass TokenLayout::classify(Type type) const {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return TokenClass::Mixed;
  unsigned batches = 0, sequences = 0;
  for (const DimExpr &dim : getDims(tensor)) {
    DimKind kind = kindOf(dim);
    if (kind == DimKind::Other)
      return TokenClass::Mixed;
    batches += kind == DimKind::Batch || kind == DimKind::Tokens;
    sequences += kind == DimKind::Sequence || kind == DimKind::Tokens;
  }
  if (batches == 0 && sequences == 0)
    return TokenClass::Invariant;
  return sequences == 1 && batches <= 1 ? TokenClass::PerToken : TokenClass::Mixed;
}

int64_t TokenLayout::getTokenDim(RankedTensorType type) const {
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    DimKind kind = kindOf(getDim(type, dim));
    if (kind == DimKind::Sequence || kind == DimKind::Tokens)
      return dim;
  }
  llvm_unreachable("only values per token have a token dimension");
}

int64_t TokenLayout::flattenDim(RankedTensorType type, int64_t dim) const {
  int64_t result = 0;
  for (int64_t index = 0; index < dim; ++index)
    result += kindOf(getDim(type, index)) != DimKind::Batch;
  return kindOf(getDim(type, dim)) == DimKind::Batch ? -1 : result;
}

RankedTensorType TokenLayout::flatten(RankedTensorType type, const DimExpr &rows) const {
  SmallVector<DimExpr> dims;
  for (const DimExpr &dim : getDims(type)) {
    DimKind kind = kindOf(dim);
    if (kind == DimKind::Batch)
      continue;
    dims.push_back(kind == DimKind::Plain ? dim : rows);
  }
  return getTensorType(dims, type.getElementType());
}

bool TokenLayout::isSequenceAttention(Operation *op) const {
  return isa<AttentionOp>(op) && llvm::all_of(op->getOperandTypes(), [&](Type type) {
           auto tensor = cast<RankedTensorType>(type);
           return getDim(tensor, 0) == batch && getDim(tensor, 1) == sequence;
         });
}

/// The reason why a value is Mixed.
static std::string describeMixed(Type type, const DimExpr &batch, const DimExpr &sequence) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return "has a value that is not a tensor";
  unsigned sequences = 0;
  for (const DimExpr &dim : getDims(tensor)) {
    if (llvm::is_contained(dim.symbols(), "_"))
      return "has an extent without a name";
    bool hasSequence = llvm::is_contained(dim.symbols(), *sequence.asSymbol());
    if (hasSequence && dim != sequence && dim != batch * sequence)
      return "joins the sequence with other elements in the extent " + dim.str();
    sequences += hasSequence;
  }
  if (sequences > 1)
    return "pairs the positions of the sequence";
  return "has values per request instead of per token";
}

/// A reshape keeps tokens apart when it keeps the elements before, between and after the
/// batch and the sequence together.
LogicalResult TokenLayout::checkReshape(ReshapeOp op, std::string &reason) const {
  auto split = [&](RankedTensorType type) {
    std::pair<std::string, SmallVector<DimExpr>> parts;
    parts.second.push_back(DimExpr::constant(1));
    auto cut = [&](char what) {
      parts.first += what;
      parts.second.push_back(DimExpr::constant(1));
    };
    for (const DimExpr &dim : getDims(type)) {
      DimKind kind = kindOf(dim);
      if (kind == DimKind::Batch || kind == DimKind::Tokens)
        cut('B');
      if (kind == DimKind::Sequence || kind == DimKind::Tokens)
        cut('S');
      if (kind == DimKind::Plain)
        parts.second.back() = parts.second.back() * dim;
    }
    return parts;
  };
  if (split(typeOf(op.getInput())) == split(typeOf(op.getResult())))
    return success();
  reason = "moves elements across the sequence";
  return failure();
}

/// Operations that treat some of their dimensions in a special way.
LogicalResult TokenLayout::checkDims(Operation *op, std::string &reason) const {
  auto refuse = [&](StringRef what) {
    reason = what.str();
    return failure();
  };
  auto anyTokens = [&](Value value, ArrayRef<int64_t> dims) {
    return llvm::any_of(dims, [&](int64_t dim) { return hasTokens(typeOf(value), dim); });
  };
  auto lastDim = [](Value value) { return typeOf(value).getRank() - 1; };
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](ReduceOp reduce) -> LogicalResult {
        if (anyTokens(reduce.getInput(), reduce.getDims()))
          return refuse("reduces over the tokens");
        return success();
      })
      .Case([&](SoftmaxOp softmax) -> LogicalResult {
        if (anyTokens(softmax.getInput(), {static_cast<int64_t>(softmax.getDim())}))
          return refuse("is a softmax over the tokens");
        return success();
      })
      .Case<RmsNormOp, LayerNormOp>([&](auto norm) -> LogicalResult {
        if (anyTokens(norm.getInput(), {lastDim(norm.getInput())}))
          return refuse("normalizes over the tokens");
        return success();
      })
      .Case([&](GatherOp gather) -> LogicalResult {
        if (anyTokens(gather.getTable(), {0}))
          return refuse("looks up other tokens");
        return success();
      })
      .Case([&](EmbeddingOp embedding) -> LogicalResult {
        if (anyTokens(embedding.getTable(), {0}))
          return refuse("looks up other tokens");
        return success();
      })
      .Case([&](ConcatOp concat) -> LogicalResult {
        if (anyTokens(concat.getInputs().front(), {static_cast<int64_t>(concat.getDim())}))
          return refuse("joins sequences");
        return success();
      })
      .Case([&](IotaOp iota) -> LogicalResult {
        DimKind kind = kindOf(getDim(typeOf(iota.getResult()), iota.getDim()));
        if (kind == DimKind::Plain || kind == DimKind::Sequence)
          return success();
        return refuse("numbers the requests of the batch");
      })
      .Case([&](DotOp dot) -> LogicalResult {
        if (anyTokens(dot.getLhs(), dot.getLhsContract()))
          return refuse("sums over the tokens");
        return success();
      })
      .Case([&](ExpertDotOp dot) -> LogicalResult {
        if (anyTokens(dot.getLhs(), {lastDim(dot.getLhs())}))
          return refuse("sums over the tokens");
        if (anyTokens(dot.getRhs(), {0, 1}))
          return refuse("looks up other tokens");
        if (anyTokens(dot.getExperts(), {lastDim(dot.getExperts())}))
          return refuse("chooses experts along the tokens");
        return success();
      })
      .Case([&](TopKOp topK) -> LogicalResult {
        if (anyTokens(topK.getInput(), {lastDim(topK.getInput())}))
          return refuse("takes the largest of the tokens");
        return success();
      })
      .Case([&](LinearOp linear) -> LogicalResult {
        if (anyTokens(linear.getInput(), {lastDim(linear.getInput())}))
          return refuse("sums over the tokens");
        return success();
      })
      .Case([&](ReshapeOp reshape) { return checkReshape(reshape, reason); })
      .Case<ConstantOp, WeightOp, BroadcastOp, TransposeOp, SliceOp, RopeOp>(
          [](Operation *) { return success(); })
      .Default([&](Operation *other) -> LogicalResult {
        if (isElementwise(other))
          return success();
        return refuse("is none that a plain model has");
      });
}

LogicalResult TokenLayout::checkTokenwise(Operation *op, std::string &reason) const {
  if (isa<AttentionOp>(op)) {
    if (isSequenceAttention(op))
      return success();
    reason = "is attention over other extents than the token ids'";
    return failure();
  }
  // The operation's own rule says more than the types of its values do.
  bool tensors = llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>) &&
                 llvm::all_of(op->getResultTypes(), llvm::IsaPred<RankedTensorType>);
  if (tensors && failed(checkDims(op, reason)))
    return failure();
  for (TypeRange types : {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())})
    for (Type type : types)
      if (classify(type) == TokenClass::Mixed) {
        reason = describeMixed(type, batch, sequence);
        return failure();
      }
  return success();
}
