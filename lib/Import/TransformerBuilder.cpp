//===- TransformerBuilder.cpp - The graph of a transformer ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "TransformerBuilder.h"

#include "GraphMaker.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::importer;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {
/// Builds the body of @forward.
class TransformerBuilder {
public:
  explicit TransformerBuilder(GraphMaker &make) : make(make), config(make.config) {}

  Value build(Value ids, Value tokenTypes);

private:
  GraphMaker &make;
  const ModelConfig &config;
  Value positions;

  Value embed(Value ids, Value tokenTypes);
  Value layer(Value hidden, int64_t index, const Rope *rope);
  Value head(Value hidden);
  Value lookUp(Value ids, Module table, StringRef name);
};
} // namespace

Value TransformerBuilder::lookUp(Value ids, Module table, StringRef name) {
  Value weight = make.weight(table, Part::Weight);
  SmallVector<graph::DimExpr> dims = graph::getDims(typeOf(ids));
  dims.push_back(graph::DimExpr::constant(config.hidden));
  return graph::EmbeddingOp::create(make.builder, make.at(name),
                                    graph::getTensorType(dims, make.elementType), ids, weight);
}

Value TransformerBuilder::embed(Value ids, Value tokenTypes) {
  Value hidden = make.scale(lookUp(ids, Module::Embedding, "embed_tokens"), config.embeddingScale,
                            "embed_scale");
  if (config.learnedPositions > 0) {
    Value rows = lookUp(positions, Module::Positions, "embed_positions");
    hidden = make.add(hidden, make.broadcast(rows, {1, 2}, typeOf(hidden), "embed_positions"),
                      "embed_positions");
  }
  if (tokenTypes)
    hidden = make.add(hidden, lookUp(tokenTypes, Module::TokenTypes, "embed_token_types"),
                      "embed_token_types");
  if (config.embeddingNorm)
    hidden = make.norm(hidden, Module::EmbeddingNorm, 0, "embed_norm");
  return hidden;
}

Value TransformerBuilder::layer(Value hidden, int64_t index, const Rope *rope) {
  const NormPlacement &placement = config.placement;
  auto before = [&](Value value, Module module, StringRef name) {
    return placement.before ? make.norm(value, module, index, name) : value;
  };
  // What a branch adds to the residual.
  auto branch = [&](Value value, Module module, StringRef name) {
    if (placement.after)
      value = make.norm(value, module, index, name);
    return make.scale(value, config.residualScale, "residual_scale");
  };
  auto join = [&](Value residual, Value value, Module module, StringRef name, StringRef norm) {
    Value sum = make.add(residual, value, name);
    return placement.onResidual ? make.norm(sum, module, index, norm) : sum;
  };

  Value normed = before(hidden, Module::AttentionNorm, "input_layernorm");
  Value mixed = branch(makeAttention(make, normed, index, positions, rope),
                       Module::AttentionPostNorm, "post_attention_norm");
  if (placement.parallel) {
    Value input = placement.shared ? normed : before(hidden, Module::MlpNorm, "post_attention_layernorm");
    Value fed = branch(makeFeedForward(make, input, index), Module::MlpPostNorm, "post_feedforward_norm");
    return make.add(make.add(hidden, mixed, "self_attn.residual"), fed, "mlp.residual");
  }
  hidden = join(hidden, mixed, Module::AttentionPostNorm, "self_attn.residual", "post_attention_norm");
  normed = before(hidden, Module::MlpNorm, "post_attention_layernorm");
  Value fed = branch(makeFeedForward(make, normed, index), Module::MlpPostNorm, "post_feedforward_norm");
  return join(hidden, fed, Module::MlpPostNorm, "mlp.residual", "post_feedforward_norm");
}

Value TransformerBuilder::head(Value hidden) {
  Type f32 = make.f32();
  if (config.head == HeadKind::Hidden)
    return make.convert(hidden, f32, "last_hidden_state");
  if (config.head == HeadKind::Classifier) {
    if (config.pooler) {
      hidden = make.linear(hidden, Module::ClassifierDense, 0, "pooler");
      hidden = graph::TanhOp::create(make.builder, make.at("pooler"), hidden);
    }
    return make.linear(hidden, Module::Classifier, 0, "score", f32);
  }
  if (config.head == HeadKind::MaskedLanguage) {
    hidden = make.activation(make.linear(hidden, Module::HeadDense, 0, "lm_head.dense"),
                             "lm_head.act_fn");
    hidden = make.norm(hidden, Module::HeadNorm, 0, "lm_head.norm");
  }
  Value matrix = make.weight(config.tiedEmbeddings ? Module::Embedding : Module::Head, Part::Weight);
  Value logits = graph::LinearOp::create(make.builder, make.at("lm_head"),
                                         make.type({config.vocabulary}, f32), hidden, matrix,
                                         make.weight(Module::Head, Part::Bias));
  return make.softcap(make.scale(logits, config.logitScale, "logit_scale"), config.finalSoftcap,
                      "logit_softcap");
}

Value TransformerBuilder::build(Value ids, Value tokenTypes) {
  positions = graph::IotaOp::create(make.builder, make.at("positions"),
                                    graph::getTensorType({make.sequence}, make.builder.getI32Type()),
                                    make.builder.getI64IntegerAttr(0));
  SmallVector<Rope> ropes = makeRopes(make, positions);
  Value hidden = embed(ids, tokenTypes);
  for (int64_t index = 0; index < config.layers; ++index) {
    make.scope = "model.layers." + std::to_string(index) + ".";
    int rope = config.layerConfigs[static_cast<size_t>(index)].rope;
    hidden = layer(hidden, index, rope < 0 ? nullptr : &ropes[static_cast<size_t>(rope)]);
  }
  make.scope.clear();
  if (config.finalNorm)
    hidden = make.norm(hidden, Module::FinalNorm, 0, "model.norm");
  return head(hidden);
}

static int64_t outputWidth(const ModelConfig &config) {
  if (config.head == HeadKind::Hidden)
    return config.hidden;
  return config.head == HeadKind::Classifier ? config.labels : config.vocabulary;
}

OwningOpRef<ModuleOp> importer::buildTransformer(MLIRContext &context, const ModelConfig &config,
                                                 const ModelWeights &weights,
                                                 llvm::ArrayRef<std::string> files, Type type) {
  context.loadDialect<graph::GraphDialect, func::FuncDialect>();
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  SmallVector<StringRef> paths(files.begin(), files.end());
  (*module)->setAttr(graph::weightFilesAttrName, builder.getStrArrayAttr(paths));
  builder.setInsertionPointToEnd(module->getBody());

  GraphMaker make(builder, config, weights, type);
  Type ids = graph::getTensorType({make.batch, make.sequence}, builder.getI64Type());
  SmallVector<Type> inputs(config.tokenTypes > 0 ? 2 : 1, ids);
  Type output = make.type({outputWidth(config)}, builder.getF32Type());
  auto function =
      func::FuncOp::create(builder, NameLoc::get(builder.getStringAttr(config.architecture)),
                           "forward", builder.getFunctionType(inputs, {output}));
  auto symbol = [&](StringRef name, int64_t maximum, int64_t hint) -> Attribute {
    return graph::SymbolAttr::get(&context, name, 1, maximum, hint);
  };
  function->setAttr(graph::symbolsAttrName,
                    builder.getArrayAttr({symbol("B", -1, 1),
                                          symbol("S", config.contextLength,
                                                 std::min<int64_t>(config.contextLength, 512))}));
  function->setAttr(graph::phaseAttrName, builder.getStringAttr("plain"));
  auto describe = [&](unsigned index, StringRef name, StringRef role) {
    function.setArgAttr(index, graph::nameAttrName, builder.getStringAttr(name));
    function.setArgAttr(index, graph::roleAttrName, builder.getStringAttr(role));
  };
  describe(0, "input_ids", "token_ids");
  if (config.tokenTypes > 0)
    describe(1, "token_type_ids", "token_types");
  StringRef result = config.head == HeadKind::Hidden ? "last_hidden_state" : "logits";
  function.setResultAttr(0, graph::nameAttrName, builder.getStringAttr(result));
  function.setResultAttr(0, graph::roleAttrName, builder.getStringAttr("logits"));
  // Of classifiers one token's row counts; see HeadKind.
  bool perToken = config.head == HeadKind::Hidden || config.bidirectional;
  if (perToken)
    function.setResultAttr(0, graph::perTokenAttrName, builder.getUnitAttr());

  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value tokenTypes = config.tokenTypes > 0 ? Value(body->getArgument(1)) : Value();
  Value outputValue = TransformerBuilder(make).build(body->getArgument(0), tokenTypes);
  func::ReturnOp::create(builder, outputValue.getLoc(), outputValue);
  return module;
}
