//===- PlainModel.cpp - A plain function that may get a step --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "PlainModel.h"

using namespace mlir;
using namespace mlsys::graph;

/// Fills the live operations of `model`, in order, and those before the cache.
static void collectOperations(PlainModel &model) {
  Block &block = model.function.getBody().front();
  DenseSet<Value> needed = {block.getTerminator()->getOperand(model.logitsIndex)};
  DenseSet<Value> cached;
  for (Operation &op : llvm::reverse(block.without_terminator())) {
    auto isNeeded = [&](Value value) { return needed.contains(value); };
    if (llvm::none_of(op.getResults(), isNeeded))
      continue;
    model.live.push_back(&op);
    needed.insert_range(op.getOperands());
    bool attention = isa<AttentionOp>(op);
    if (attention)
      model.attentions.push_back(cast<AttentionOp>(op));
    if (attention ||
        llvm::any_of(op.getResults(), [&](Value value) { return cached.contains(value); })) {
      model.beforeCache.insert(&op);
      cached.insert_range(op.getOperands());
    }
  }
  std::reverse(model.live.begin(), model.live.end());
  std::reverse(model.attentions.begin(), model.attentions.end());
}

/// Reads the signature of a plain function. Returns the reason why it has no step, empty
/// when it may have one.
static std::string readSignature(PlainModel &model) {
  func::FuncOp function = model.function;
  auto role = [](DictionaryAttr attributes) {
    auto value = attributes ? attributes.getAs<StringAttr>(roleAttrName) : StringAttr();
    return value ? value.getValue() : StringRef();
  };
  std::optional<unsigned> ids, logits;
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    if (role(function.getArgAttrDict(index)) == "token_ids")
      ids = index;
  if (!ids)
    return "no argument has the role token_ids";
  auto idsType = dyn_cast<RankedTensorType>(function.getArgumentTypes()[*ids]);
  if (!idsType || idsType.getRank() != 2 || !getDim(idsType, 0).asSymbol() ||
      !getDim(idsType, 1).asSymbol() || getDim(idsType, 0) == getDim(idsType, 1) ||
      getDim(idsType, 0).asSymbol() == "_")
    return "the token ids are not [B, S] with two symbols";
  model.batch = *getDim(idsType, 0).asSymbol();
  model.sequence = *getDim(idsType, 1).asSymbol();
  TokenLayout layout = model.getLayout();
  for (unsigned index = 0; index < function.getNumArguments(); ++index) {
    if (index == *ids)
      continue;
    Type type = function.getArgumentTypes()[index];
    StringRef name = role(function.getArgAttrDict(index));
    if ((name != "positions" && name != "token_types") || layout.classify(type) != TokenClass::PerToken ||
        layout.flatten(cast<RankedTensorType>(type), DimExpr::symbol("T")).getRank() != 1)
      return "argument " + std::to_string(index) + " is neither token ids nor their positions or types";
  }
  for (unsigned index = 0; index < function.getNumResults(); ++index)
    if (role(function.getResultAttrDict(index)) == "logits")
      logits = index;
  if (!logits)
    return "no result has the role logits";
  auto type = dyn_cast<RankedTensorType>(function.getResultTypes()[*logits]);
  if (!type || layout.classify(type) != TokenClass::PerToken ||
      layout.flatten(type, DimExpr::symbol("R")).getRank() != 2 ||
      layout.getTokenDim(type) + 1 != type.getRank() - 1)
    return "the logits are not one row a token";
  model.logitsIndex = *logits;
  model.perToken = function.getResultAttr(*logits, perTokenAttrName) != nullptr;
  for (SymbolAttr symbol : getSymbols(function))
    if (symbol.getName() != model.batch && symbol.getName() != model.sequence &&
        llvm::is_contained({"T", "R", "P"}, symbol.getName()))
      return ("the symbol " + symbol.getName() + " is needed for the step").str();
  return {};
}

/// The operation of an encoder that stands in the way of attentions sharing one layer of the
/// cache: keys or values that do not depend on the attention before. Null when there is none.
static Operation *findIndependentAttention(const PlainModel &model) {
  DenseSet<Value> dependent;
  AttentionOp previous;
  for (Operation *op : model.live) {
    auto attention = dyn_cast<AttentionOp>(op);
    if (!attention) {
      if (llvm::any_of(op->getOperands(), [&](Value value) { return dependent.contains(value); }))
        dependent.insert_range(op->getResults());
      continue;
    }
    if (previous && !(dependent.contains(attention.getKey()) && dependent.contains(attention.getValue())))
      return op;
    previous = attention;
    dependent.clear();
    dependent.insert(attention.getResult());
  }
  return nullptr;
}

/// The largest window of all attentions; nothing when one of them has none.
static std::optional<int64_t> findWindow(const PlainModel &model) {
  int64_t largest = 0;
  for (AttentionOp op : model.attentions) {
    std::optional<int64_t> window = op.getWindow();
    if (!window)
      return std::nullopt;
    largest = std::max(largest, *window);
  }
  return largest;
}

FailureOr<PlainModel> mlsys::graph::readPlainModel(func::FuncOp function) {
  PlainModel model;
  model.function = function;
  std::string reason = readSignature(model);
  auto refuse = [&](InFlightDiagnostic diag, const Twine &why) {
    diag << "no KV cache for '" << function.getName() << "': " << why;
    return failure();
  };
  if (!reason.empty())
    return refuse(function.emitRemark(), reason);
  collectOperations(model);

  // Only a model with causal attention asked for a cache.
  bool causal = llvm::any_of(model.attentions, [](AttentionOp op) { return op.getCausal(); });
  model.bidirectional = !causal;
  auto refuseOp = [&](Operation *op, const Twine &why) {
    return refuse(causal ? op->emitWarning() : op->emitRemark(),
                  "'" + op->getName().getStringRef() + "' " + why);
  };
  TokenLayout layout = model.getLayout();
  for (Operation *op : model.live)
    if (failed(layout.checkTokenwise(op, reason)))
      return refuseOp(op, reason);
  if (model.attentions.empty())
    return refuse(function.emitRemark(), "it has no attention");
  for (AttentionOp op : model.attentions)
    if (causal && !op.getCausal())
      return refuseOp(op, "is attention that is not causal, in a model that has causal attention");
  auto first = cast<RankedTensorType>(model.attentions.front().getKey().getType());
  if (first.isDynamicDim(3))
    return refuseOp(model.attentions.front(), "has a head size that is not a number");
  for (AttentionOp op : model.attentions)
    if (op.getKey().getType() != first)
      return refuseOp(op, "has keys of another shape or type than the first attention");
  if (Operation *op = model.bidirectional ? findIndependentAttention(model) : nullptr)
    return refuseOp(op, "does not depend on the attention before it");
  model.window = findWindow(model);
  return model;
}
