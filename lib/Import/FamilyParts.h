//===- FamilyParts.h - What several families share --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Families.h"

#include "llvm/ADT/STLExtras.h"

namespace mlsys::importer {

/// Biases of all projections of attention, and of the MLP.
inline void setBiases(ModelConfig &config, bool attention, bool mlp) {
  config.queryBias = config.keyBias = config.valueBias = config.outputBias = attention;
  config.mlpBias = mlp;
}

/// Layer norm, with an epsilon of 1e-5 where the file does not say it.
inline void useLayerNorm(ConfigFields &fields, ModelConfig &config, bool bias) {
  config.norm = NormKind::Layer;
  config.normBias = bias;
  if (!fields.number({"layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"}))
    config.normEpsilon = 1e-5;
}

/// No layer rotates queries and keys.
inline void dropRotation(ModelConfig &config) {
  config.ropes.clear();
  for (LayerConfig &layer : config.layerConfigs)
    layer.rope = -1;
}

/// ALiBi instead of rotation. Of n heads, n a power of two, head i has the slope 2^(-maximum * (i + 1) / n); where
/// there are more heads, those beyond have every second slope of 2n heads.
void useSlopes(ModelConfig &config, double maximum = 8);

/// The same window in all layers, or in those that `applies` says.
template <typename F>
void setWindow(ConfigFields &fields, ModelConfig &config, F applies) {
  int64_t window = fields.integer({"sliding_window"}).value_or(0);
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs))
    layer.window = applies(static_cast<int64_t>(index)) ? window : 0;
}

inline void setWindow(ConfigFields &fields, ModelConfig &config) {
  setWindow(fields, config, [](int64_t) { return true; });
}

/// Where a file does not say whether embeddings are tied, they are.
inline void tieByDefault(ConfigFields &fields, ModelConfig &config) {
  config.tiedEmbeddings = fields.boolean({"tie_word_embeddings"}).value_or(true);
}

/// A value that is only supported when it is `expected`.
inline void expectFlag(ConfigFields &fields, llvm::StringRef key, bool expected) {
  if (fields.boolean({key}).value_or(expected) != expected)
    fields.fail(key + " is " + (expected ? "false" : "true") + ", which is not supported");
}

/// The keys of a mixture of experts in all layers.
inline void readExperts(ConfigFields &fields, ModelConfig &config) {
  config.experts.count = fields.needInteger({"num_local_experts", "num_experts"});
  config.experts.perToken = fields.needInteger({"num_experts_per_tok"});
  config.experts.intermediate =
      fields.integer({"moe_intermediate_size"}).value_or(config.intermediate);
  for (LayerConfig &layer : config.layerConfigs)
    layer.experts = true;
}

/// llama.cpp's fused query, key and value.
#define GGUF_FUSED_QKV                                                                             \
  {Module::Query, "blk.{0}.attn_qkv", Pick::FusedQuery},                                           \
      {Module::Key, "blk.{0}.attn_qkv", Pick::FusedKey}, {                                         \
    Module::Value, "blk.{0}.attn_qkv", Pick::FusedValue                                            \
  }

} // namespace mlsys::importer
