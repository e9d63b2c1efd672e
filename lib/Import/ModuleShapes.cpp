//===- ModuleShapes.cpp - Which tensors a model has, of what shape --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ModuleShapes.h"

#include <fmt/format.h>

using namespace mlsys;
using namespace mlsys::importer;

bool importer::isLayerModule(Module module) {
  return module >= Module::AttentionNorm && module <= Module::MlpPostNorm;
}

static bool hasModule(const ModelConfig &config, Module module, int64_t layer) {
  const NormPlacement &placement = config.placement;
  bool experts = isLayerModule(module) && config.layerConfigs[static_cast<size_t>(layer)].experts;
  bool shared = experts && config.experts.sharedIntermediate > 0;
  switch (module) {
  case Module::Embedding:
  case Module::Query:
  case Module::Key:
  case Module::Value:
  case Module::Output:
    return true;
  case Module::Positions:
    return config.learnedPositions > 0;
  case Module::TokenTypes:
    return config.tokenTypes > 0;
  case Module::EmbeddingNorm:
    return config.embeddingNorm;
  case Module::AttentionNorm:
    return placement.before;
  case Module::MlpNorm:
    return placement.before && !(placement.parallel && placement.shared);
  case Module::AttentionPostNorm:
  case Module::MlpPostNorm:
    return placement.after || placement.onResidual;
  case Module::QueryNorm:
  case Module::KeyNorm:
    return config.headNorm != HeadNorm::None;
  case Module::Gate:
    return config.gatedMlp && !experts;
  case Module::Up:
  case Module::Down:
    return !experts;
  case Module::Router:
  case Module::ExpertGate:
  case Module::ExpertUp:
  case Module::ExpertDown:
    return experts;
  case Module::SharedRouter:
    return shared && config.experts.sharedGate;
  case Module::SharedGate:
  case Module::SharedUp:
  case Module::SharedDown:
    return shared;
  case Module::FinalNorm:
    return config.finalNorm;
  case Module::Head:
    return config.head == HeadKind::Language || config.head == HeadKind::MaskedLanguage;
  case Module::HeadDense:
  case Module::HeadNorm:
    return config.head == HeadKind::MaskedLanguage;
  case Module::Classifier:
    return config.head == HeadKind::Classifier;
  case Module::ClassifierDense:
    return config.head == HeadKind::Classifier && config.pooler;
  }
  return false;
}

static bool isNorm(Module module) {
  switch (module) {
  case Module::EmbeddingNorm:
  case Module::AttentionNorm:
  case Module::AttentionPostNorm:
  case Module::MlpNorm:
  case Module::MlpPostNorm:
  case Module::FinalNorm:
  case Module::HeadNorm:
    return true;
  default:
    return false;
  }
}

bool importer::hasWeight(const ModelConfig &config, Module module, int64_t layer) {
  if (isNorm(module) && !config.normScale)
    return false;
  if (module == Module::Head && config.tiedEmbeddings)
    return false;
  return hasModule(config, module, layer);
}

bool importer::hasBias(const ModelConfig &config, Module module, int64_t layer) {
  if (!hasModule(config, module, layer))
    return false;
  if (isNorm(module))
    return config.normBias;
  switch (module) {
  case Module::Query:
    return config.queryBias;
  case Module::Key:
    return config.keyBias;
  case Module::Value:
    return config.valueBias;
  case Module::Output:
    return config.outputBias;
  case Module::QueryNorm:
  case Module::KeyNorm:
    return config.headNormBias;
  case Module::Gate:
  case Module::Up:
  case Module::Down:
    return config.mlpBias;
  case Module::Head:
    return config.headBias;
  case Module::Classifier:
  case Module::ClassifierDense:
    return config.classifierBias;
  case Module::HeadDense:
    return true;
  default:
    return false;
  }
}

std::vector<Extent> importer::weightShape(const ModelConfig &config, Module module) {
  auto extent = [&](const char *key, int64_t value) {
    return Extent{value, fmt::format("{} {}", config.keyName(key), value)};
  };
  auto product = [](const Extent &a, const Extent &b) {
    return Extent{a.value * b.value, fmt::format("{} * {}", a.reason, b.reason)};
  };
  Extent hidden = extent("hidden_size", config.hidden);
  Extent intermediate = extent("intermediate_size", config.intermediate);
  Extent vocabulary = extent("vocab_size", config.vocabulary);
  Extent dim = extent("head_dim", config.headDim);
  Extent heads = extent("num_attention_heads", config.heads);
  Extent keyHeads = extent("num_key_value_heads", config.keyHeads);
  Extent experts = extent("num_experts", config.experts.count);
  Extent expert = extent("moe_intermediate_size", config.experts.intermediate);
  Extent shared = extent("shared_expert_intermediate_size", config.experts.sharedIntermediate);
  switch (module) {
  case Module::Embedding:
  case Module::Head:
    return {vocabulary, hidden};
  case Module::Positions:
    return {extent("max_position_embeddings", config.learnedPositions), hidden};
  case Module::TokenTypes:
    return {extent("type_vocab_size", config.tokenTypes), hidden};
  case Module::Query:
    return {product(heads, dim), hidden};
  case Module::Key:
  case Module::Value:
    return {product(keyHeads, dim), hidden};
  case Module::Output:
    return {hidden, product(heads, dim)};
  case Module::QueryNorm:
    return {config.headNorm == HeadNorm::Shared ? dim : product(heads, dim)};
  case Module::KeyNorm:
    return {config.headNorm == HeadNorm::Shared ? dim : product(keyHeads, dim)};
  case Module::Gate:
  case Module::Up:
    return {intermediate, hidden};
  case Module::Down:
    return {hidden, intermediate};
  case Module::Router:
    return {experts, hidden};
  case Module::ExpertGate:
  case Module::ExpertUp:
    return {experts, expert, hidden};
  case Module::ExpertDown:
    return {experts, hidden, expert};
  case Module::SharedRouter:
    return {Extent{1, "one gate"}, hidden};
  case Module::SharedGate:
  case Module::SharedUp:
    return {shared, hidden};
  case Module::SharedDown:
    return {hidden, shared};
  case Module::HeadDense:
  case Module::ClassifierDense:
    return {hidden, hidden};
  case Module::Classifier:
    return {extent("num_labels", config.labels), hidden};
  default:
    return {hidden};
  }
}
