//===- DecoderBuilder.cpp - The graph of a decoder ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DecoderBuilder.h"

#include "mlsys/IR/Graph.h"
#include "runtime/Program.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::importer;
using graph::DimExpr;

namespace {
/// Builds the body of @forward.
class DecoderBuilder {
public:
  DecoderBuilder(OpBuilder &builder, const DecoderConfig &config, const DecoderWeights &weights,
                 Type type)
      : builder(builder), config(config), weights(weights), elementType(type) {}

  /// The logits of tokens `ids`.
  Value build(Value ids);

  RankedTensorType idsType() {
    return graph::getTensorType({batch, sequence}, builder.getI64Type());
  }
  RankedTensorType logitsType() { return tensorType({config.vocabulary}, builder.getF32Type()); }

private:
  OpBuilder &builder;
  const DecoderConfig &config;
  const DecoderWeights &weights;
  Type elementType;
  DimExpr batch = DimExpr::symbol("B"), sequence = DimExpr::symbol("S");
  Value positions, frequencies;
  uint64_t seed = 0;
  /// Location prefix, such as "model.layers.3.".
  std::string scope;

  Location at(StringRef name) {
    return NameLoc::get(builder.getStringAttr(scope + name.str()));
  }

  /// [B, S, inner...].
  RankedTensorType tensorType(ArrayRef<int64_t> inner, Type element) {
    SmallVector<DimExpr> dims = {batch, sequence};
    for (int64_t extent : inner)
      dims.push_back(DimExpr::constant(extent));
    return graph::getTensorType(dims, element);
  }

  Value weight(Weight which, int64_t layer = 0);
  Value norm(Value input, Weight scale, int64_t layer, StringRef name);
  Value linear(Value input, Weight which, std::optional<Weight> bias, int64_t layer, StringRef name,
               Type element);
  Value linear(Value input, Weight which, Weight bias, int64_t layer, StringRef name) {
    return linear(input, which, bias, layer, name, elementType);
  }
  Value splitHeads(Value input, int64_t heads, StringRef name);
  Value rotate(Value input, StringRef name);
  Value attention(Value input, int64_t layer);
  Value mlp(Value input, int64_t layer);
  Value add(Value lhs, Value rhs, StringRef name) {
    return graph::AddOp::create(builder, at(name), lhs.getType(), lhs, rhs);
  }
  void makeRope();
};
} // namespace

Value DecoderBuilder::weight(Weight which, int64_t layer) {
  const DecoderWeight *found = weights.find(which, layer);
  if (!found)
    return nullptr;
  MLIRContext *context = builder.getContext();
  graph::WeightSourceAttr source;
  if (const rt::StoredTensor *stored = found->stored)
    source = graph::WeightSourceAttr::get(context, stored->file, stored->offset, stored->bytes,
                                          llvm::StringRef(rt::dtypeName(stored->dtype)),
                                          found->shape, false, {}, found->unpermuteRows, 0);
  else
    source = graph::WeightSourceAttr::get(context, -1, ++seed, 0, "random", found->shape, false, {}, 0, 0);
  StringRef name = found->stored ? StringRef(found->stored->name) : StringRef(found->name);
  Location loc = NameLoc::get(builder.getStringAttr(found->name));
  return graph::WeightOp::create(builder, loc, RankedTensorType::get(found->shape, elementType),
                                 name, source);
}

Value DecoderBuilder::norm(Value input, Weight scale, int64_t layer, StringRef name) {
  return graph::RmsNormOp::create(builder, at(name), input.getType(), input, weight(scale, layer),
                                  builder.getF32FloatAttr(static_cast<float>(config.normEpsilon)));
}

Value DecoderBuilder::linear(Value input, Weight which, std::optional<Weight> bias, int64_t layer,
                             StringRef name, Type element) {
  Value matrix = weight(which, layer);
  Value added = bias ? weight(*bias, layer) : Value();
  int64_t width = cast<RankedTensorType>(matrix.getType()).getDimSize(0);
  return graph::LinearOp::create(builder, at(name), tensorType({width}, element), input, matrix,
                                 added);
}

Value DecoderBuilder::splitHeads(Value input, int64_t heads, StringRef name) {
  return graph::ReshapeOp::create(builder, at(name),
                                  tensorType({heads, config.headDim}, elementType), input);
}

Value DecoderBuilder::rotate(Value input, StringRef name) {
  return graph::RopeOp::create(builder, at(name), input.getType(), input, positions, frequencies, FloatAttr());
}

Value DecoderBuilder::attention(Value input, int64_t layer) {
  Value query = linear(input, Weight::Query, Weight::QueryBias, layer, "self_attn.q_proj");
  Value key = linear(input, Weight::Key, Weight::KeyBias, layer, "self_attn.k_proj");
  Value value = linear(input, Weight::Value, Weight::ValueBias, layer, "self_attn.v_proj");
  query = rotate(splitHeads(query, config.heads, "self_attn.q_heads"), "self_attn.q_rope");
  key = rotate(splitHeads(key, config.keyHeads, "self_attn.k_heads"), "self_attn.k_rope");
  value = splitHeads(value, config.keyHeads, "self_attn.v_heads");
  double scale = 1.0 / std::sqrt(static_cast<double>(config.headDim));
  Value mixed = graph::AttentionOp::create(builder, at("self_attn"), query.getType(), query, key,
                                           value, builder.getUnitAttr(),
                                           builder.getF32FloatAttr(static_cast<float>(scale)));
  mixed = graph::ReshapeOp::create(builder, at("self_attn.merge"),
                                   tensorType({config.heads * config.headDim}, elementType), mixed);
  return linear(mixed, Weight::Output, Weight::OutputBias, layer, "self_attn.o_proj");
}

Value DecoderBuilder::mlp(Value input, int64_t layer) {
  Value gate = linear(input, Weight::Gate, Weight::GateBias, layer, "mlp.gate_proj");
  Value up = linear(input, Weight::Up, Weight::UpBias, layer, "mlp.up_proj");
  Value active = graph::SiluOp::create(builder, at("mlp.act_fn"), gate.getType(), gate);
  Value product = graph::MulOp::create(builder, at("mlp.mul"), up.getType(), active, up);
  return linear(product, Weight::Down, Weight::DownBias, layer, "mlp.down_proj");
}

void DecoderBuilder::makeRope() {
  positions = graph::IotaOp::create(builder, at("model.positions"),
                                    graph::getTensorType({sequence}, builder.getI32Type()),
                                    builder.getI64IntegerAttr(0));
  std::vector<float> values = ropeFrequencies(config.rope, config.headDim);
  auto type = RankedTensorType::get({config.headDim / 2}, builder.getF32Type());
  frequencies = graph::ConstantOp::create(builder, at("model.rotary_emb"), type,
                                          DenseElementsAttr::get(type, ArrayRef<float>(values)));
}

Value DecoderBuilder::build(Value ids) {
  makeRope();
  Value table = weight(Weight::Embedding);
  Value hidden = graph::EmbeddingOp::create(builder, at("model.embed_tokens"),
                                            tensorType({config.hidden}, elementType), ids, table);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    scope = "model.layers." + std::to_string(layer) + ".";
    Value normed = norm(hidden, Weight::AttentionNorm, layer, "input_layernorm");
    hidden = add(hidden, attention(normed, layer), "self_attn.residual");
    normed = norm(hidden, Weight::MlpNorm, layer, "post_attention_layernorm");
    hidden = add(hidden, mlp(normed, layer), "mlp.residual");
  }
  scope.clear();
  hidden = norm(hidden, Weight::FinalNorm, 0, "model.norm");
  if (!config.tiedEmbeddings)
    return linear(hidden, Weight::Head, std::nullopt, 0, "lm_head", builder.getF32Type());
  return graph::LinearOp::create(builder, at("lm_head"), logitsType(), hidden, table, Value());
}

OwningOpRef<ModuleOp> importer::buildDecoder(MLIRContext &context, const DecoderConfig &config,
                                             const DecoderWeights &weights,
                                             llvm::ArrayRef<std::string> files, Type type) {
  context.loadDialect<graph::GraphDialect, func::FuncDialect>();
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  SmallVector<StringRef> paths(files.begin(), files.end());
  (*module)->setAttr(graph::weightFilesAttrName, builder.getStrArrayAttr(paths));
  builder.setInsertionPointToEnd(module->getBody());

  DecoderBuilder decoder(builder, config, weights, type);
  auto functionType = builder.getFunctionType({decoder.idsType()}, {decoder.logitsType()});
  auto function =
      func::FuncOp::create(builder, NameLoc::get(builder.getStringAttr(config.architecture)),
                           "forward", functionType);
  auto symbol = [&](StringRef name, int64_t maximum, int64_t hint) -> Attribute {
    return graph::SymbolAttr::get(&context, name, 1, maximum, hint);
  };
  function->setAttr(graph::symbolsAttrName,
                    builder.getArrayAttr({symbol("B", -1, 1),
                                          symbol("S", config.contextLength,
                                                 std::min<int64_t>(config.contextLength, 512))}));
  function->setAttr(graph::phaseAttrName, builder.getStringAttr("plain"));
  function.setArgAttr(0, graph::nameAttrName, builder.getStringAttr("input_ids"));
  function.setArgAttr(0, graph::roleAttrName, builder.getStringAttr("token_ids"));
  function.setResultAttr(0, graph::nameAttrName, builder.getStringAttr("logits"));
  function.setResultAttr(0, graph::roleAttrName, builder.getStringAttr("logits"));

  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value logits = decoder.build(body->getArgument(0));
  func::ReturnOp::create(builder, logits.getLoc(), logits);
  return module;
}
