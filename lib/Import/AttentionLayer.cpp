//===- AttentionLayer.cpp - The attention of a layer ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "GraphMaker.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::importer;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Dynamic NTK scaling, a token's rotation being that of a text that ends with it, as when a
/// text is generated token by token: with g = max(1, factor * (position + 1) / context -
/// (factor - 1)), frequency i is divided by g^(2i / (dims - 2)). The result is [S, N].
static Value makeDynamicFrequencies(GraphMaker &make, const RopeConfig &rope, Value positions,
                                    ArrayRef<float> frequencies) {
  OpBuilder &builder = make.builder;
  StringRef name = "rotary_emb";
  int64_t count = frequencies.size();
  auto rowType = graph::getTensorType({make.sequence}, make.f32());
  auto type = graph::getTensorType({make.sequence, graph::DimExpr::constant(count)}, make.f32());
  auto unary = [&](auto op, Value value) -> Value {
    return decltype(op)::create(builder, make.at(name), value);
  };
  Value length = make.convert(positions, make.f32(), name);
  length = make.add(length, make.fill(1, rowType, name), name);
  Value growth = make.mul(length, make.fill(rope.factor / rope.originalContext, rowType, name), name);
  growth = make.add(growth, make.fill(1 - rope.factor, rowType, name), name);
  growth = graph::MaxOp::create(builder, make.at(name), growth, make.fill(1, rowType, name));
  Value logarithm = unary(graph::LogOp(), growth);

  SmallVector<float> exponents;
  for (int64_t i = 0; i < count; ++i)
    exponents.push_back(-2.0f * static_cast<float>(i) / static_cast<float>(2 * count - 2));
  auto constant = [&](ArrayRef<float> values) {
    auto vector = RankedTensorType::get({count}, make.f32());
    Value value = graph::ConstantOp::create(builder, make.at(name),
                                            DenseElementsAttr::get(vector, values));
    return make.broadcast(value, {1}, type, name);
  };
  Value slowing = make.mul(make.broadcast(logarithm, {0}, type, name), constant(exponents), name);
  return make.mul(unary(graph::ExpOp(), slowing), constant(frequencies), name);
}

SmallVector<Rope> importer::makeRopes(GraphMaker &make, Value positions) {
  SmallVector<Rope> ropes;
  for (const RopeConfig &rope : make.config.ropes) {
    std::vector<float> values =
        ropeFrequencies(rope, make.config.headDim, make.config.contextLength);
    Rope made;
    if (rope.type == "dynamic") {
      made.frequencies = makeDynamicFrequencies(make, rope, positions, values);
    } else {
      auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, make.f32());
      made.frequencies = graph::ConstantOp::create(make.builder, make.at("rotary_emb"),
                                                   DenseElementsAttr::get(type, ArrayRef(values)));
    }
    if (rope.attentionFactor != 1)
      made.factor = make.builder.getF32FloatAttr(static_cast<float>(rope.attentionFactor));
    ropes.push_back(made);
  }
  return ropes;
}

/// The norm of queries or keys [B, S, heads, headDim].
static Value normHeads(GraphMaker &make, Value input, Module module, int64_t layer,
                       StringRef name) {
  if (make.config.headNorm != HeadNorm::PerHead)
    return make.norm(input, module, layer, name);
  // Each head's own scale, on the normalized heads.
  FloatAttr epsilon = make.builder.getF32FloatAttr(static_cast<float>(make.config.normEpsilon));
  auto type = typeOf(input), wide = graph::withElementType(type, make.f32());
  Value value = graph::LayerNormOp::create(make.builder, make.at(name), wide,
                                           make.convert(input, make.f32(), name), Value(), Value(),
                                           epsilon);
  Value scale = make.convert(make.weight(module, Part::Weight, layer), make.f32(), name);
  int64_t heads = type.getDimSize(2), dim = type.getDimSize(3);
  scale = graph::ReshapeOp::create(make.builder, make.at(name),
                                   RankedTensorType::get({heads, dim}, make.f32()), scale);
  value = make.mul(value, make.broadcast(scale, {2, 3}, wide, name), name);
  return make.convert(value, type.getElementType(), name);
}

Value importer::makeAttention(GraphMaker &make, Value input, int64_t layer, Value positions,
                              const Rope *rope) {
  const ModelConfig &config = make.config;
  const LayerConfig &own = config.layerConfigs[static_cast<size_t>(layer)];
  OpBuilder &builder = make.builder;
  auto project = [&](Module module, StringRef name) {
    return make.linear(input, module, layer, (name + "_proj").str());
  };
  auto clamp = [&](Value value, const std::string &name) {
    return make.clamp(value, config.clampQkv, name + "_clamp");
  };
  // A query or key: normed, clamped, split into heads, rotated.
  auto place = [&](Value value, int64_t heads, Module norm, const std::string &name) {
    if (config.headNorm == HeadNorm::Joint)
      value = make.norm(value, norm, layer, name + "_norm");
    value = clamp(value, name);
    value = make.reshape(value, {heads, config.headDim}, name + "_heads");
    if (config.headNorm == HeadNorm::Shared || config.headNorm == HeadNorm::PerHead)
      value = normHeads(make, value, norm, layer, name + "_norm");
    if (rope)
      value = graph::RopeOp::create(builder, make.at(name + "_rope"), value.getType(), value,
                                    positions, rope->frequencies, rope->factor);
    return value;
  };
  Value query = project(Module::Query, "self_attn.q");
  Value key = project(Module::Key, "self_attn.k");
  Value value = project(Module::Value, "self_attn.v");
  query = place(query, config.heads, Module::QueryNorm, "self_attn.q");
  key = place(key, config.keyHeads, Module::KeyNorm, "self_attn.k");
  value = make.reshape(clamp(value, "self_attn.v"), {config.keyHeads, config.headDim}, "self_attn.v_heads");

  double scale = config.attentionScale != 0 ? config.attentionScale
                                            : 1.0 / std::sqrt(static_cast<double>(config.headDim));
  auto mixed = graph::AttentionOp::create(
      builder, make.at("self_attn"), query.getType(), query, key, value,
      config.bidirectional ? UnitAttr() : builder.getUnitAttr(),
      builder.getF32FloatAttr(static_cast<float>(scale)));
  if (own.window > 0)
    mixed.setWindow(own.window);
  if (config.attentionSoftcap > 0)
    mixed.setSoftcap(APFloat(static_cast<float>(config.attentionSoftcap)));
  if (!config.slopes.empty())
    mixed.setSlopes(ArrayRef(config.slopes));
  Value merged = make.reshape(mixed, {config.heads * config.headDim}, "self_attn.merge");
  return make.linear(merged, Module::Output, layer, "self_attn.o_proj");
}
