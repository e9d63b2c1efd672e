//===- DeriveCache.cpp - From a plain model to a step over a KV cache -----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// No model is written with a cache: it follows from the dataflow. TokenLayout.h
// says what every value is; this pass copies the function with the tokens of all
// requests flattened to T rows, and what only the logits need to R rows.
//
//===----------------------------------------------------------------------===//

#include "PlainModel.h"
#include "mlsys/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlsys {
#define GEN_PASS_DEF_DERIVECACHE
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr StringLiteral stepName = "step";

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {

/// Copies one function into a step.
class StepBuilder {
public:
  /// `kvType` is null for the type of the model's keys.
  StepBuilder(PlainModel &model, int64_t pageSize, int64_t prefillChunk, Type kvType)
      : model(model), layout(model.getLayout()), builder(model.function.getContext()),
        pageSize(pageSize), prefillChunk(prefillChunk), kvType(kvType) {}

  void build();

private:
  enum Argument { TokenIds, Positions, Slots, QueryStart, ContextLength, BlockTable, Cache, TokenTypes };

  void createFunction();
  void setAttributes();
  Value getLayer(Location loc);
  ArrayAttr getStepSymbols();
  Value getOperand(Value value, bool lastTokens);
  Value getLastTokens(Value value);
  void copy(Operation *op, bool lastTokens);
  void copyIota(IotaOp op, bool lastTokens);
  void copyAttention(AttentionOp op);
  Value dropUnitDims(BroadcastOp op, Value input, SmallVectorImpl<int64_t> &dims);

  PlainModel &model;
  TokenLayout layout;
  OpBuilder builder;
  int64_t pageSize, prefillChunk;
  Type kvType;
  DimExpr tokens = DimExpr::symbol("T"), requests = DimExpr::symbol("R");
  func::FuncOp step;
  /// Plain values in their form over all tokens, and in that over last tokens.
  DenseMap<Value, Value> all, last;
  int64_t nextLayer = 0;
  /// The one layer of an encoder's cache, after the latest write.
  Value sharedLayer;
};

} // namespace

ArrayAttr StepBuilder::getStepSymbols() {
  MLIRContext *context = builder.getContext();
  SymbolAttr sequence = getSymbol(model.function, model.sequence);
  // A step of an encoder takes whole requests.
  int64_t maxTokens = prefillChunk;
  if (model.bidirectional)
    maxTokens = sequence && sequence.getMax() > 0 ? std::max(prefillChunk, sequence.getMax()) : -1;
  SmallVector<Attribute> symbols = {SymbolAttr::get(context, "T", 1, maxTokens, prefillChunk),
                                    SymbolAttr::get(context, "R", 1, maxTokens, 1)};
  // A request's pages hold its whole sequence.
  auto pages = [&](int64_t length) { return (length + pageSize - 1) / pageSize; };
  int64_t max = sequence && sequence.getMax() > 0 ? pages(sequence.getMax()) : -1;
  int64_t hint = std::max<int64_t>(1, sequence ? pages(sequence.getHint()) : 1);
  symbols.push_back(SymbolAttr::get(context, "P", 1, max, hint));
  for (SymbolAttr symbol : getSymbols(model.function))
    if (symbol.getName() != model.batch && symbol.getName() != model.sequence)
      symbols.push_back(symbol);
  return builder.getArrayAttr(symbols);
}

void StepBuilder::createFunction() {
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  DimExpr pages = DimExpr::symbol("P"), one = DimExpr::constant(1);
  RankedTensorType key = typeOf(model.attentions.front().getKey());
  int64_t layers = model.bidirectional ? 1 : model.attentions.size();
  Type cache = KvCacheType::get(builder.getContext(), layers, key.getDimSize(2), key.getDimSize(3),
                                pageSize, kvType ? kvType : key.getElementType());
  SmallVector<std::pair<StringRef, Type>> arguments = {
      {"token_ids", getTensorType({tokens}, i64)},
      {"positions", getTensorType({tokens}, i32)},
      {"slots", getTensorType({tokens}, i64)},
      {"query_start", getTensorType({requests + one}, i32)},
      {"context_length", getTensorType({requests}, i32)},
      {"block_table", getTensorType({requests, pages}, i32)},
      {"kv_cache", cache}};
  if (llvm::any_of(llvm::seq(model.function.getNumArguments()), [&](unsigned index) {
        return model.function.getArgAttrOfType<StringAttr>(index, roleAttrName) == "token_types";
      }))
    arguments.push_back({"token_types", getTensorType({tokens}, i64)});
  RankedTensorType plainLogits =
      cast<RankedTensorType>(model.function.getResultTypes()[model.logitsIndex]);
  Type logits = withElementType(layout.flatten(plainLogits, model.perToken ? tokens : requests), builder.getF32Type());

  SmallVector<Type> types = llvm::to_vector(llvm::make_second_range(arguments));
  builder.setInsertionPointAfter(model.function);
  step = func::FuncOp::create(builder, model.function.getLoc(), stepName,
                              builder.getFunctionType(types, logits));
  for (auto [index, argument] : llvm::enumerate(arguments)) {
    step.setArgAttr(index, roleAttrName, builder.getStringAttr(argument.first));
    step.setArgAttr(index, nameAttrName, builder.getStringAttr(argument.first));
  }
  step.setResultAttr(0, roleAttrName, builder.getStringAttr("logits"));
  step.setResultAttr(0, nameAttrName, builder.getStringAttr("logits"));
  step->setAttr(phaseAttrName, builder.getStringAttr("step"));
  step->setAttr(symbolsAttrName, getStepSymbols());
  setAttributes();
  builder.setInsertionPointToStart(step.addEntryBlock());
}

/// What the runtime has to know of the step.
void StepBuilder::setAttributes() {
  if (model.perToken)
    step->setAttr(perTokenAttrName, builder.getUnitAttr());
  if (model.bidirectional)
    step->setAttr(bidirectionalAttrName, builder.getUnitAttr());
  if (model.window)
    step->setAttr(windowAttrName, builder.getI64IntegerAttr(*model.window));
}

/// The last tokens' rows of a value that exists for all tokens.
Value StepBuilder::getLastTokens(Value value) {
  if (Value known = last.lookup(value))
    return known;
  // Equal rows need not be looked up.
  auto repeat = value.getDefiningOp<BroadcastOp>();
  if (repeat && layout.classify(repeat.getInput().getType()) == TokenClass::Invariant) {
    copy(repeat, /*lastTokens=*/true);
    return last.lookup(value);
  }
  Value &result = last[value];
  Value rows = all.lookup(value);
  Location loc = value.getLoc();
  RankedTensorType type = typeOf(value);
  int64_t dim = layout.flattenDim(type, layout.getTokenDim(type));
  // last_token takes rows; bring them to the front and back again when they are elsewhere.
  auto transpose = [&](Value input, ArrayRef<int64_t> permutation) -> Value {
    SmallVector<DimExpr> dims;
    for (int64_t index : permutation)
      dims.push_back(getDim(typeOf(input), index));
    return TransposeOp::create(builder, loc,
                               getTensorType(dims, typeOf(input).getElementType()), input,
                               permutation);
  };
  SmallVector<int64_t> toFront = {dim}, toBack;
  for (int64_t index = 0; index < typeOf(rows).getRank(); ++index) {
    if (index != dim)
      toFront.push_back(index);
    toBack.push_back(index < dim ? index + 1 : index == dim ? 0 : index);
  }
  if (dim != 0)
    rows = transpose(rows, toFront);
  SmallVector<DimExpr> dims = getDims(typeOf(rows));
  dims.front() = requests;
  result = LastTokenOp::create(builder, loc, getTensorType(dims, type.getElementType()), rows,
                               step.getArgument(QueryStart));
  if (dim != 0)
    result = transpose(result, toBack);
  return result;
}

Value StepBuilder::getOperand(Value value, bool lastTokens) {
  if (lastTokens && layout.classify(value.getType()) == TokenClass::PerToken)
    return getLastTokens(value);
  return all.lookup(value);
}

/// The index along the sequence is the tokens' positions.
void StepBuilder::copyIota(IotaOp op, bool lastTokens) {
  RankedTensorType type = typeOf(op.getResult());
  RankedTensorType to = layout.flatten(type, lastTokens ? requests : tokens);
  Value value = step.getArgument(Positions);
  if (lastTokens)
    value = LastTokenOp::create(builder, op.getLoc(),
                                getTensorType({requests}, builder.getI32Type()), value,
                                step.getArgument(QueryStart));
  RankedTensorType converted = withElementType(typeOf(value), type.getElementType());
  if (converted != value.getType())
    value = ConvertOp::create(builder, op.getLoc(), converted, value);
  if (to != converted)
    value = BroadcastOp::create(builder, op.getLoc(), to, value,
                                ArrayRef<int64_t>{layout.flattenDim(type, op.getDim())});
  (lastTokens ? last : all)[op.getResult()] = value;
}

/// The layer that the next attention fills.
Value StepBuilder::getLayer(Location loc) {
  if (sharedLayer)
    return sharedLayer;
  auto cache = cast<KvCacheType>(step.getArgument(Cache).getType());
  Type type = KvLayerType::get(builder.getContext(), cache.getLayers(), cache.getHeads(),
                               cache.getHeadDim(), cache.getPageSize(), cache.getElementType());
  return CacheLayerOp::create(builder, loc, type, step.getArgument(Cache), nextLayer++);
}

void StepBuilder::copyAttention(AttentionOp op) {
  Location loc = op.getLoc();
  Value layer = getLayer(loc);
  Type layerType = layer.getType();
  Value slots = step.getArgument(Slots);
  layer = CacheWriteOp::create(builder, loc, layerType, CachePart::key, layer,
                               all.lookup(op.getKey()), slots);
  layer = CacheWriteOp::create(builder, loc, layerType, CachePart::value, layer,
                               all.lookup(op.getValue()), slots);
  if (model.bidirectional)
    sharedLayer = layer;
  Value query = all.lookup(op.getQuery());
  all[op.getResult()] = PagedAttentionOp::create(
      builder, loc, query.getType(), query, layer, step.getArgument(QueryStart),
      step.getArgument(ContextLength), step.getArgument(BlockTable), op.getScaleAttr(),
      /*bidirectional=*/op.getCausal() ? UnitAttr() : builder.getUnitAttr(), op.getWindowAttr(),
      op.getSoftcapAttr(), op.getSlopesAttr());
}

/// An input extent of 1 that was broadcast along the batch has no place any more.
Value StepBuilder::dropUnitDims(BroadcastOp op, Value input, SmallVectorImpl<int64_t> &dims) {
  RankedTensorType from = typeOf(op.getInput()), to = typeOf(op.getResult());
  SmallVector<DimExpr> kept;
  for (auto [index, dim] : llvm::enumerate(op.getDims())) {
    int64_t source = layout.flattenDim(from, index), target = layout.flattenDim(to, dim);
    if (target < 0)
      continue;
    kept.push_back(getDim(typeOf(input), source));
    dims.push_back(target);
  }
  RankedTensorType type = getTensorType(kept, from.getElementType());
  return type == input.getType() ? input : ReshapeOp::create(builder, op.getLoc(), type, input);
}

/// Copies an operation that keeps tokens apart: new types, and the dimensions that its
/// attributes name.
void StepBuilder::copy(Operation *op, bool lastTokens) {
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, getOperand(operand, lastTokens));
  Operation *copied = builder.clone(*op, mapping);
  for (auto [from, to] : llvm::zip_equal(op->getResults(), copied->getResults())) {
    to.setType(layout.flatten(typeOf(from), lastTokens ? requests : tokens));
    bool tail = lastTokens && layout.classify(from.getType()) == TokenClass::PerToken;
    (tail ? last : all)[from] = to;
  }
  auto remap = [&](Value value, ArrayRef<int64_t> dims) {
    SmallVector<int64_t> result;
    for (int64_t dim : dims)
      if (int64_t flat = layout.flattenDim(typeOf(value), dim); flat >= 0)
        result.push_back(flat);
    return result;
  };
  TypeSwitch<Operation *>(copied)
      .Case([&](ReduceOp reduce) {
        reduce.setDims(remap(cast<ReduceOp>(op).getInput(), reduce.getDims()));
      })
      .Case([&](TransposeOp transpose) {
        transpose.setPermutation(remap(cast<TransposeOp>(op).getInput(), transpose.getPermutation()));
      })
      .Case([&](BroadcastOp broadcast) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(broadcast);
        SmallVector<int64_t> dims;
        Value input = dropUnitDims(cast<BroadcastOp>(op), broadcast.getInput(), dims);
        broadcast.getInputMutable().assign(input);
        broadcast.setDims(dims);
      })
      .Case([&](SliceOp slice) {
        SmallVector<int64_t> offsets;
        for (auto [index, offset] : llvm::enumerate(slice.getOffsets()))
          if (layout.flattenDim(typeOf(op->getOperand(0)), index) >= 0)
            offsets.push_back(offset);
        slice.setOffsets(offsets);
      })
      .Case<ConcatOp, SoftmaxOp, IotaOp>([&](auto special) {
        special.setDim(layout.flattenDim(typeOf(op->getResult(0)), special.getDim()));
      })
      .Case([&](DotOp dot) {
        auto plain = cast<DotOp>(op);
        dot.setLhsBatch(remap(plain.getLhs(), plain.getLhsBatch()));
        dot.setRhsBatch(remap(plain.getRhs(), plain.getRhsBatch()));
        dot.setLhsContract(remap(plain.getLhs(), plain.getLhsContract()));
        dot.setRhsContract(remap(plain.getRhs(), plain.getRhsContract()));
      });
}

void StepBuilder::build() {
  createFunction();
  for (BlockArgument argument : model.function.getArguments()) {
    auto role = model.function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), roleAttrName);
    Value value = step.getArgument(role == "token_ids"   ? TokenIds
                                   : role == "positions" ? Positions
                                                         : TokenTypes);
    RankedTensorType type =
        withElementType(typeOf(value), typeOf(argument).getElementType());
    if (type != value.getType())
      value = ConvertOp::create(builder, argument.getLoc(), type, value);
    all[argument] = value;
  }
  for (Operation *op : model.live) {
    bool perToken = layout.classify(op->getResult(0).getType()) == TokenClass::PerToken;
    bool lastTokens = perToken && !model.perToken && !model.beforeCache.contains(op);
    auto iota = dyn_cast<IotaOp>(op);
    if (auto attention = dyn_cast<AttentionOp>(op))
      copyAttention(attention);
    else if (iota && perToken &&
             static_cast<int64_t>(iota.getDim()) == layout.getTokenDim(typeOf(iota.getResult())))
      copyIota(iota, lastTokens);
    else
      copy(op, lastTokens);
  }
  Operation *plainReturn = model.function.getBody().front().getTerminator();
  Value plainLogits = plainReturn->getOperand(model.logitsIndex);
  Value logits = model.perToken ? all.lookup(plainLogits) : getLastTokens(plainLogits);
  if (logits.getType() != step.getResultTypes().front())
    logits = ConvertOp::create(builder, logits.getLoc(), step.getResultTypes().front(), logits);
  func::ReturnOp::create(builder, plainReturn->getLoc(), logits);
}

/// The type that the option kv-type names: null for auto, nothing for what is no type.
static std::optional<Type> parseKvType(MLIRContext *context, StringRef name) {
  return llvm::StringSwitch<std::optional<Type>>(name)
      .Case("auto", Type())
      .Case("f32", Float32Type::get(context))
      .Case("bf16", BFloat16Type::get(context))
      .Case("f16", Float16Type::get(context))
      .Default(std::nullopt);
}

namespace {
struct DeriveCache : mlsys::impl::DeriveCacheBase<DeriveCache> {
  using DeriveCacheBase::DeriveCacheBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (pageSize < 1 || prefillChunk < 1) {
      module.emitError("page-size and prefill-chunk must be at least 1");
      return signalPassFailure();
    }
    std::optional<Type> type = parseKvType(&getContext(), kvType);
    if (!type) {
      module.emitError("kv-type '") << kvType << "' is not auto, f32, bf16 or f16";
      return signalPassFailure();
    }
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      auto phase = function->getAttrOfType<StringAttr>(phaseAttrName);
      if (!phase || phase.getValue() != "plain" || function.isExternal())
        continue;
      FailureOr<PlainModel> model = readPlainModel(function);
      if (failed(model))
        continue;
      if (module.lookupSymbol(stepName)) {
        function.emitOpError("cannot get a step: the module already has @") << stepName;
        return signalPassFailure();
      }
      StepBuilder(*model, pageSize, prefillChunk, *type).build();
    }
  }
};
} // namespace
