//===- DecoderFamilies.cpp - Families of causal language models -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What each family has beyond readCommonConfig, after transformers' modeling_*.py, and
// what it calls its tensors.
//
//===----------------------------------------------------------------------===//

#include "FamilyParts.h"

#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

#define LAYER "layers.{0}."

//===----------------------------------------------------------------------===//
// Llama and its relatives
//===----------------------------------------------------------------------===//

static void configureLlama(ConfigFields &, ModelConfig &) {}

static void configureMistral(ConfigFields &fields, ModelConfig &config) { setWindow(fields, config); }

static void configureMixtral(ConfigFields &fields, ModelConfig &config) {
  setWindow(fields, config);
  readExperts(fields, config);
}

static constexpr ModuleName mixtralNames[] = {
    {Module::Router, LAYER "block_sparse_moe.gate"},
    {Module::ExpertGate, LAYER "block_sparse_moe.experts.{1}.w1"},
    {Module::ExpertUp, LAYER "block_sparse_moe.experts.{1}.w3"},
    {Module::ExpertDown, LAYER "block_sparse_moe.experts.{1}.w2"},
};

static void configureQwen2(ConfigFields &fields, ModelConfig &config) {
  config.queryBias = config.keyBias = config.valueBias = true;
  config.outputBias = false;
  int64_t first = fields.integer({"max_window_layers"}).value_or(28);
  if (fields.boolean({"use_sliding_window"}).value_or(false))
    setWindow(fields, config, [&](int64_t layer) { return layer >= first; });
}

static void configureQwen3(ConfigFields &fields, ModelConfig &config) {
  bool bias = config.queryBias;
  configureQwen2(fields, config);
  setBiases(config, bias, false);
  config.headNorm = HeadNorm::Shared;
}

/// The layers that are no mixture of experts.
static void readDenseLayers(ConfigFields &fields, ModelConfig &config) {
  int64_t step = fields.integer({"decoder_sparse_step"}).value_or(1);
  std::vector<double> dense = fields.numbers("mlp_only_layers");
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs))
    layer.experts = config.experts.count > 0 && step > 0 &&
                    (static_cast<int64_t>(index) + 1) % step == 0 &&
                    !llvm::is_contained(dense, static_cast<double>(index));
}

static void configureQwen2Moe(ConfigFields &fields, ModelConfig &config) {
  configureQwen2(fields, config);
  bool bias = fields.boolean({"qkv_bias"}).value_or(true);
  config.queryBias = config.keyBias = config.valueBias = bias;
  readExperts(fields, config);
  config.experts.normalize = fields.boolean({"norm_topk_prob"}).value_or(false);
  config.experts.sharedIntermediate = fields.needInteger({"shared_expert_intermediate_size"});
  config.experts.sharedGate = true;
  readDenseLayers(fields, config);
}

static void configureQwen3Moe(ConfigFields &fields, ModelConfig &config) {
  configureQwen3(fields, config);
  readExperts(fields, config);
  config.experts.normalize = fields.boolean({"norm_topk_prob"}).value_or(false);
  readDenseLayers(fields, config);
}

static void configureGranite(ConfigFields &fields, ModelConfig &config) {
  config.embeddingScale = fields.number({"embedding_multiplier"}).value_or(1);
  config.residualScale = fields.number({"residual_multiplier"}).value_or(1);
  config.attentionScale = fields.number({"attention_multiplier"}).value_or(1);
  double divisor = fields.number({"logits_scaling"}).value_or(1);
  if (divisor == 0)
    fields.fail(fields.spell("logits_scaling") + " is 0");
  else
    config.logitScale = 1 / divisor;
}

static void configureGraniteMoe(ConfigFields &fields, ModelConfig &config) {
  configureGranite(fields, config);
  readExperts(fields, config);
}

static constexpr ModuleName graniteMoeNames[] = {
    {Module::Router, LAYER "block_sparse_moe.router.layer"},
    {Module::ExpertGate, LAYER "block_sparse_moe.input_linear", Pick::FirstHalf},
    {Module::ExpertUp, LAYER "block_sparse_moe.input_linear", Pick::SecondHalf},
    {Module::ExpertDown, LAYER "block_sparse_moe.output_linear"},
};

static void configureSeedOss(ConfigFields &fields, ModelConfig &config) {
  bool bias = fields.boolean({"attention_bias"}).value_or(true);
  config.queryBias = config.keyBias = config.valueBias = bias;
  config.outputBias = fields.boolean({"attention_out_bias"}).value_or(false);
}

static void configureErnie(ConfigFields &fields, ModelConfig &config) {
  tieByDefault(fields, config);
  bool bias = fields.boolean({"use_bias"}).value_or(false);
  setBiases(config, bias, bias);
}

static void configureSmolLm3(ConfigFields &fields, ModelConfig &config) {
  tieByDefault(fields, config);
  std::vector<double> rotated = fields.numbers("no_rope_layers");
  int64_t interval = fields.integer({"no_rope_layer_interval"}).value_or(4);
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs)) {
    bool rotates = index < rotated.size() ? rotated[index] != 0
                                          : interval <= 0 || (static_cast<int64_t>(index) + 1) % interval != 0;
    layer.rope = rotates ? 0 : -1;
  }
}

//===----------------------------------------------------------------------===//
// Phi-3, Gemma
//===----------------------------------------------------------------------===//

static void configurePhi3(ConfigFields &fields, ModelConfig &config) { setWindow(fields, config); }

static constexpr ModuleName phi3Names[] = {
    {Module::Query, LAYER "self_attn.qkv_proj", Pick::FusedQuery},
    {Module::Key, LAYER "self_attn.qkv_proj", Pick::FusedKey},
    {Module::Value, LAYER "self_attn.qkv_proj", Pick::FusedValue},
    {Module::Gate, LAYER "mlp.gate_up_proj", Pick::FirstHalf},
    {Module::Up, LAYER "mlp.gate_up_proj", Pick::SecondHalf},
};
static constexpr ModuleName phi3GgufNames[] = {
    GGUF_FUSED_QKV,
    {Module::Gate, "blk.{0}.ffn_up", Pick::FirstHalf},
    {Module::Up, "blk.{0}.ffn_up", Pick::SecondHalf},
};

static void configureGemma(ConfigFields &fields, ModelConfig &config) {
  tieByDefault(fields, config);
  // GGUF files hold 1 + scale already.
  config.normPlusOne = !config.isGguf;
  config.embeddingScale = std::sqrt(static_cast<double>(config.hidden));
  if (config.activation == Activation::Gelu || !fields.has("hidden_activation"))
    config.activation = Activation::GeluTanh;
}

static void configureGemma2(ConfigFields &fields, ModelConfig &config) {
  configureGemma(fields, config);
  config.placement.after = true;
  // GGUF files do not say it: of these sizes alone it is not the head size.
  bool large = config.layers == 46 || config.layers == 62;
  int64_t usual =
      config.isGguf && large && config.heads > 0 ? config.hidden / config.heads : config.headDim;
  double scalar = fields.number({"query_pre_attn_scalar"}).value_or(static_cast<double>(usual));
  config.attentionScale = scalar > 0 ? 1 / std::sqrt(scalar) : 0;
  config.attentionSoftcap = fields.number({"attn_logit_softcapping"}).value_or(0);
  config.finalSoftcap = fields.number({"final_logit_softcapping"}).value_or(0);
  setWindow(fields, config, [](int64_t layer) { return layer % 2 == 0; });
}

static void configureGemma3(ConfigFields &fields, ModelConfig &config) {
  configureGemma2(fields, config);
  config.headNorm = HeadNorm::Shared;
  expectFlag(fields, "use_bidirectional_attention", false);
  int64_t pattern = fields.integer({"sliding_window_pattern", "_sliding_window_pattern"}).value_or(6);
  setWindow(fields, config, [&](int64_t layer) { return pattern > 0 && (layer + 1) % pattern != 0; });
  // Windows have a rope of their own.
  RopeConfig local;
  local.theta = fields.number({"rope_local_base_freq"}).value_or(10000);
  double positions = static_cast<double>(config.contextLength);
  if (std::optional<ConfigFields> inside = fields.child("rope_parameters")) {
    if (std::optional<ConfigFields> full = inside->child("full_attention"))
      config.ropes.front() = parseRope(*full, 1000000, 1, positions, positions);
    if (std::optional<ConfigFields> sliding = inside->child("sliding_attention"))
      local = parseRope(*sliding, 10000, 1, positions, positions);
  }
  config.ropes.push_back(local);
  std::vector<std::string> types = fields.strings("layer_types");
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs)) {
    bool sliding = index < types.size() ? types[index] == "sliding_attention" : layer.window > 0;
    layer.rope = sliding ? 1 : 0;
  }
}

static constexpr ModuleName gemma2Names[] = {
    {Module::AttentionPostNorm, LAYER "post_attention_layernorm"},
    {Module::MlpNorm, LAYER "pre_feedforward_layernorm"},
    {Module::MlpPostNorm, LAYER "post_feedforward_layernorm"},
};

//===----------------------------------------------------------------------===//
// OLMo, GLM-4, Cohere
//===----------------------------------------------------------------------===//

static void configureOlmo(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, false);
  config.normScale = false;
  config.normEpsilon = 1e-5;
  config.clampQkv = fields.number({"clip_qkv"}).value_or(0);
}

static void configureOlmo2(ConfigFields &, ModelConfig &config) {
  config.placement.before = false;
  config.placement.after = true;
  config.headNorm = HeadNorm::Joint;
}

static constexpr ModuleName olmo2Names[] = {
    {Module::AttentionPostNorm, LAYER "post_attention_layernorm"},
    {Module::MlpPostNorm, LAYER "post_feedforward_layernorm"},
};

/// Norms as OLMo 2's, but of each head; only windows are rotated where there are any.
static void configureExaone4(ConfigFields &fields, ModelConfig &config) {
  configureOlmo2(fields, config);
  config.headNorm = HeadNorm::Shared;
  if (fields.integer({"sliding_window"}).value_or(0) == 0)
    return;
  std::vector<std::string> types = fields.strings("layer_types");
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs))
    layer.rope = index < types.size() && types[index] == "sliding_attention" ? 0 : -1;
}

static void configureOlmoe(ConfigFields &fields, ModelConfig &config) {
  config.headNorm = HeadNorm::Joint;
  config.clampQkv = fields.number({"clip_qkv"}).value_or(0);
  readExperts(fields, config);
  config.experts.normalize = fields.boolean({"norm_topk_prob"}).value_or(false);
}

static void configureGlm4(ConfigFields &fields, ModelConfig &config) {
  config.placement.after = true;
  config.outputBias = false;
  if (!fields.has("rope_parameters") && !fields.has("partial_rotary_factor"))
    config.ropes.front().part = 0.5;
}

static constexpr ModuleName glm4Names[] = {
    {Module::AttentionPostNorm, LAYER "post_self_attn_layernorm"},
    {Module::MlpPostNorm, LAYER "post_mlp_layernorm"},
    {Module::Gate, LAYER "mlp.gate_up_proj", Pick::FirstHalf},
    {Module::Up, LAYER "mlp.gate_up_proj", Pick::SecondHalf},
};
static constexpr ModuleName glm4GgufNames[] = {
    {Module::Gate, "blk.{0}.ffn_up", Pick::FirstHalf},
    {Module::Up, "blk.{0}.ffn_up", Pick::SecondHalf},
};

static void configureCohere(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, false);
  tieByDefault(fields, config);
  config.placement.parallel = config.placement.shared = true;
  config.logitScale = fields.number({"logit_scale"}).value_or(0.0625);
  if (fields.boolean({"use_qk_norm"}).value_or(false))
    config.headNorm = HeadNorm::PerHead;
}

static void configureCohere2(ConfigFields &fields, ModelConfig &config) {
  configureCohere(fields, config);
  config.headNorm = HeadNorm::None;
  int64_t pattern = fields.integer({"sliding_window_pattern", "_sliding_window_pattern"}).value_or(4);
  setWindow(fields, config, [&](int64_t layer) { return pattern > 0 && (layer + 1) % pattern != 0; });
  // Only windows are rotated.
  std::vector<std::string> types = fields.strings("layer_types");
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs)) {
    bool sliding = index < types.size() ? types[index] == "sliding_attention" : layer.window > 0;
    layer.rope = sliding ? 0 : -1;
  }
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static const Family families[] = {
    // clang-format off
    {"llama", "llama", "Llama", "model.", configureLlama, {}, {}, false, true},
    {"mistral", nullptr, "Mistral", "model.", configureMistral, {}, {}},
    {"mixtral", nullptr, "Mixtral", "model.", configureMixtral, mixtralNames, {}, false, true},
    {"qwen2", "qwen2", "Qwen2", "model.", configureQwen2, {}, {}},
    {"qwen3", "qwen3", "Qwen3", "model.", configureQwen3, {}, {}},
    {"qwen2_moe", "qwen2moe", "Qwen2Moe", "model.", configureQwen2Moe, {}, {}},
    {"qwen3_moe", "qwen3moe", "Qwen3Moe", "model.", configureQwen3Moe, {}, {}},
    {"phi3", "phi3", "Phi3", "model.", configurePhi3, phi3Names, phi3GgufNames},
    {"gemma", "gemma", "Gemma", "model.", configureGemma, {}, {}},
    {"gemma2", "gemma2", "Gemma2", "model.", configureGemma2, gemma2Names, {}},
    {"gemma3_text", "gemma3", "Gemma3", "model.", configureGemma3, gemma2Names, {}},
    {"olmo", "olmo", "Olmo", "model.", configureOlmo, {}, {}, false, true},
    {"olmo2", "olmo2", "Olmo2", "model.", configureOlmo2, olmo2Names, {}},
    {"olmoe", "olmoe", "Olmoe", "model.", configureOlmoe, {}, {}},
    {"cohere", "command-r", "Cohere", "model.", configureCohere, {}, {}, true, true},
    {"cohere2", "cohere2", "Cohere2", "model.", configureCohere2, {}, {}, true, true},
    {"granite", "granite", "Granite", "model.", configureGranite, {}, {}, false, true},
    {"granitemoe", "granitemoe", "GraniteMoe", "model.", configureGraniteMoe, graniteMoeNames, {}, false, true},
    {"glm4", "glm4", "Glm4", "model.", configureGlm4, glm4Names, glm4GgufNames, true, true},
    {"seed_oss", "seed_oss", "SeedOss", "model.", configureSeedOss, {}, {}},
    {"ernie4_5", "ernie4_5", "Ernie4_5", "model.", configureErnie, {}, {}, true, true},
    {"exaone4", "exaone4", "Exaone4", "model.", configureExaone4, olmo2Names, {}},
    {"smollm3", "smollm3", "SmolLM3", "model.", configureSmolLm3, {}, {}, false, true},
    // clang-format on
};

ArrayRef<Family> importer::getDecoderFamilies() { return families; }
