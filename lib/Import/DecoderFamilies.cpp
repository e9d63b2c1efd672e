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

#include "Families.h"

#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

#define LAYER "layers.{0}."

//===----------------------------------------------------------------------===//
// Parts that several families share
//===----------------------------------------------------------------------===//

static void setBiases(ModelConfig &config, bool attention, bool mlp) {
  config.queryBias = config.keyBias = config.valueBias = config.outputBias = attention;
  config.mlpBias = mlp;
}

static void useLayerNorm(ConfigFields &fields, ModelConfig &config, bool bias) {
  config.norm = NormKind::Layer;
  config.normBias = bias;
  if (!fields.number({"layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"}))
    config.normEpsilon = 1e-5;
}

/// The same window in all layers, or in those that `applies` says.
template <typename F>
static void setWindow(ConfigFields &fields, ModelConfig &config, F applies) {
  int64_t window = fields.integer({"sliding_window"}).value_or(0);
  for (auto [index, layer] : llvm::enumerate(config.layerConfigs))
    layer.window = applies(static_cast<int64_t>(index)) ? window : 0;
}

static void setWindow(ConfigFields &fields, ModelConfig &config) {
  setWindow(fields, config, [](int64_t) { return true; });
}

/// Where a file does not say whether embeddings are tied, they are.
static void tieByDefault(ConfigFields &fields, ModelConfig &config) {
  config.tiedEmbeddings = fields.boolean({"tie_word_embeddings"}).value_or(true);
}

/// A value that is only supported when it is `expected`.
static void expectFlag(ConfigFields &fields, StringRef key, bool expected) {
  if (fields.boolean({key}).value_or(expected) != expected)
    fields.fail(key + " is " + (expected ? "false" : "true") + ", which is not supported");
}

/// The keys of a mixture of experts in all layers.
static void readExperts(ConfigFields &fields, ModelConfig &config) {
  config.experts.count = fields.needInteger({"num_local_experts", "num_experts"});
  config.experts.perToken = fields.needInteger({"num_experts_per_tok"});
  config.experts.intermediate =
      fields.integer({"moe_intermediate_size"}).value_or(config.intermediate);
  for (LayerConfig &layer : config.layerConfigs)
    layer.experts = true;
}

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
#define GGUF_FUSED_QKV                                                                             \
  {Module::Query, "blk.{0}.attn_qkv", Pick::FusedQuery},                                           \
      {Module::Key, "blk.{0}.attn_qkv", Pick::FusedKey}, {                                         \
    Module::Value, "blk.{0}.attn_qkv", Pick::FusedValue                                            \
  }
static constexpr ModuleName phi3GgufNames[] = {
    GGUF_FUSED_QKV,
    {Module::Gate, "blk.{0}.ffn_up", Pick::FirstHalf},
    {Module::Up, "blk.{0}.ffn_up", Pick::SecondHalf},
};
static constexpr ModuleName fusedGgufNames[] = {GGUF_FUSED_QKV};

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
  int64_t usual = config.isGguf && large ? config.hidden / config.heads : config.headDim;
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
// StableLM, StarCoder 2, Phi
//===----------------------------------------------------------------------===//

static void configureStableLm(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  bool bias = fields.boolean({"use_qkv_bias"}).value_or(false);
  config.queryBias = config.keyBias = config.valueBias = bias;
  config.outputBias = false;
  config.placement.parallel = config.placement.shared =
      fields.boolean({"use_parallel_residual"}).value_or(false);
  if (fields.boolean({"qk_layernorm"}).value_or(false))
    config.headNorm = HeadNorm::PerHead;
  if (!fields.has("rope_parameters") && !fields.has("partial_rotary_factor"))
    config.ropes.front().part = 0.25;
}

static constexpr ModuleName stableLmNames[] = {
    {Module::QueryNorm, LAYER "self_attn.q_layernorm.norms.{1}"},
    {Module::KeyNorm, LAYER "self_attn.k_layernorm.norms.{1}"},
};

static void configureStarCoder2(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  bool bias = fields.boolean({"use_bias"}).value_or(true);
  setBiases(config, bias, bias);
  config.gatedMlp = false;
  if (!fields.has("hidden_act"))
    config.activation = Activation::GeluTanh;
  setWindow(fields, config);
}

static constexpr ModuleName starCoder2Names[] = {
    {Module::Up, LAYER "mlp.c_fc"},
    {Module::Down, LAYER "mlp.c_proj"},
};

static void configurePhi(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  setBiases(config, true, true);
  config.headBias = true;
  config.gatedMlp = false;
  config.placement.parallel = config.placement.shared = true;
  if (!fields.has("hidden_act"))
    config.activation = Activation::GeluTanh;
  if (fields.boolean({"qk_layernorm"}).value_or(false))
    config.headNorm = HeadNorm::Shared;
  config.headNormBias = true;
  if (!fields.has("rope_parameters") && !fields.has("partial_rotary_factor"))
    config.ropes.front().part = 0.5;
}

static constexpr ModuleName phiNames[] = {
    {Module::Output, LAYER "self_attn.dense"},
    {Module::QueryNorm, LAYER "self_attn.q_layernorm"},
    {Module::KeyNorm, LAYER "self_attn.k_layernorm"},
    {Module::Up, LAYER "mlp.fc1"},
    {Module::Down, LAYER "mlp.fc2"},
    {Module::FinalNorm, "final_layernorm"},
};

//===----------------------------------------------------------------------===//
// GPT-NeoX, Falcon
//===----------------------------------------------------------------------===//

static void configureGptNeoX(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  bool bias = fields.boolean({"attention_bias"}).value_or(true);
  setBiases(config, bias, true);
  config.gatedMlp = false;
  config.placement.parallel = fields.boolean({"use_parallel_residual"}).value_or(true);
  if (!fields.has("hidden_act"))
    config.activation = Activation::Gelu;
  if (!fields.has("rope_parameters") && !fields.has("rotary_pct") && !fields.has("partial_rotary_factor"))
    config.ropes.front().part = 0.25;
}

static constexpr ModuleName gptNeoXNames[] = {
    {Module::Embedding, "embed_in"},
    {Module::Query, LAYER "attention.query_key_value", Pick::GroupedQuery},
    {Module::Key, LAYER "attention.query_key_value", Pick::GroupedKey},
    {Module::Value, LAYER "attention.query_key_value", Pick::GroupedValue},
    {Module::Output, LAYER "attention.dense"},
    {Module::Up, LAYER "mlp.dense_h_to_4h"},
    {Module::Down, LAYER "mlp.dense_4h_to_h"},
    {Module::FinalNorm, "final_layer_norm"},
    {Module::Head, "embed_out"},
};

static void configureFalcon(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  expectFlag(fields, "alibi", false);
  bool bias = fields.boolean({"bias"}).value_or(false);
  setBiases(config, bias, bias);
  config.gatedMlp = false;
  if (!fields.has("activation") && !fields.has("hidden_act"))
    config.activation = Activation::Gelu;
  bool isNew = fields.boolean({"new_decoder_architecture"}).value_or(false);
  if (!isNew)
    config.keyHeads = fields.boolean({"multi_query"}).value_or(true) ? 1 : config.heads;
  int64_t norms = fields.integer({"num_ln_in_parallel_attn"}).value_or(isNew ? 2 : 1);
  config.placement.parallel = isNew || fields.boolean({"parallel_attn"}).value_or(true);
  config.placement.shared = config.placement.parallel && norms != 2;
}

#define FALCON_LAYER "h.{0}."
#define FALCON_NAMES                                                                               \
  {Module::Embedding, "word_embeddings"},                                                          \
      {Module::Query, FALCON_LAYER "self_attention.query_key_value", Pick::GroupedQuery},          \
      {Module::Key, FALCON_LAYER "self_attention.query_key_value", Pick::GroupedKey},              \
      {Module::Value, FALCON_LAYER "self_attention.query_key_value", Pick::GroupedValue},          \
      {Module::Output, FALCON_LAYER "self_attention.dense"},                                       \
      {Module::Up, FALCON_LAYER "mlp.dense_h_to_4h"},                                              \
      {Module::Down, FALCON_LAYER "mlp.dense_4h_to_h"}, {                                          \
    Module::FinalNorm, "ln_f"                                                                      \
  }
static constexpr ModuleName falconNames[] = {
    FALCON_NAMES,
    // With one norm of its own for each of attention and MLP, and else.
    {Module::AttentionNorm, FALCON_LAYER "ln_attn|" FALCON_LAYER "input_layernorm"},
    {Module::MlpNorm, FALCON_LAYER "ln_mlp|" FALCON_LAYER "post_attention_layernorm"},
};
static constexpr ModuleName falconGgufNames[] = {
    GGUF_FUSED_QKV,
    // With two norms, llama.cpp's attn_norm is the MLP's.
    {Module::AttentionNorm, "blk.{0}.attn_norm_2|blk.{0}.attn_norm"},
    {Module::MlpNorm, "blk.{0}.attn_norm"},
};

//===----------------------------------------------------------------------===//
// GPT-2, GPT-J, GPT-BigCode, OPT
//===----------------------------------------------------------------------===//

static void configureGpt2(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  setBiases(config, true, true);
  config.gatedMlp = false;
  if (!fields.has("activation_function") && !fields.has("hidden_act"))
    config.activation = Activation::GeluTanh;
  config.learnedPositions = config.contextLength;
  config.ropes.clear();
  for (LayerConfig &layer : config.layerConfigs)
    layer.rope = -1;
  expectFlag(fields, "scale_attn_weights", true);
  expectFlag(fields, "scale_attn_by_inverse_layer_idx", false);
  expectFlag(fields, "add_cross_attention", false);
}

#define GPT_LAYER "h.{0}."
static constexpr ModuleName gpt2Names[] = {
    {Module::Embedding, "wte"},
    {Module::Positions, "wpe"},
    {Module::AttentionNorm, GPT_LAYER "ln_1"},
    {Module::Query, GPT_LAYER "attn.c_attn", Pick::FusedQuery, true},
    {Module::Key, GPT_LAYER "attn.c_attn", Pick::FusedKey, true},
    {Module::Value, GPT_LAYER "attn.c_attn", Pick::FusedValue, true},
    {Module::Output, GPT_LAYER "attn.c_proj", Pick::Whole, true},
    {Module::MlpNorm, GPT_LAYER "ln_2"},
    {Module::Up, GPT_LAYER "mlp.c_fc", Pick::Whole, true},
    {Module::Down, GPT_LAYER "mlp.c_proj", Pick::Whole, true},
    {Module::FinalNorm, "ln_f"},
};

static void configureGptBigCode(ConfigFields &fields, ModelConfig &config) {
  configureGpt2(fields, config);
  if (fields.boolean({"multi_query"}).value_or(true))
    config.keyHeads = 1;
}

// With several key heads each head's query, key and value lie together; with one, groups of one
// are the same as one after another.
static constexpr ModuleName gptBigCodeNames[] = {
    {Module::Embedding, "wte"},
    {Module::Positions, "wpe"},
    {Module::AttentionNorm, GPT_LAYER "ln_1"},
    {Module::Query, GPT_LAYER "attn.c_attn", Pick::GroupedQuery},
    {Module::Key, GPT_LAYER "attn.c_attn", Pick::GroupedKey},
    {Module::Value, GPT_LAYER "attn.c_attn", Pick::GroupedValue},
    {Module::Output, GPT_LAYER "attn.c_proj"},
    {Module::MlpNorm, GPT_LAYER "ln_2"},
    {Module::Up, GPT_LAYER "mlp.c_fc"},
    {Module::Down, GPT_LAYER "mlp.c_proj"},
    {Module::FinalNorm, "ln_f"},
};

static void configureGptJ(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  setBiases(config, false, true);
  config.headBias = true;
  config.gatedMlp = false;
  config.placement.parallel = config.placement.shared = true;
  if (!fields.has("activation_function") && !fields.has("hidden_act"))
    config.activation = Activation::GeluTanh;
  int64_t rotary = fields.integer({"rotary_dim"}).value_or(config.headDim);
  if (config.headDim > 0)
    config.ropes.front().part = static_cast<double>(rotary) / static_cast<double>(config.headDim);
}

static constexpr ModuleName gptJNames[] = {
    {Module::Embedding, "wte"},
    {Module::AttentionNorm, GPT_LAYER "ln_1"},
    {Module::Query, GPT_LAYER "attn.q_proj"},
    {Module::Key, GPT_LAYER "attn.k_proj"},
    {Module::Value, GPT_LAYER "attn.v_proj"},
    {Module::Output, GPT_LAYER "attn.out_proj"},
    {Module::Up, GPT_LAYER "mlp.fc_in"},
    {Module::Down, GPT_LAYER "mlp.fc_out"},
    {Module::FinalNorm, "ln_f"},
};

static void configureOpt(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  bool bias = fields.boolean({"enable_bias"}).value_or(true);
  setBiases(config, bias, bias);
  config.gatedMlp = false;
  if (!fields.has("activation_function"))
    config.activation = Activation::Relu;
  config.learnedPositions = config.contextLength;
  config.firstPosition = 2;
  config.ropes.clear();
  for (LayerConfig &layer : config.layerConfigs)
    layer.rope = -1;
  if (!fields.boolean({"do_layer_norm_before"}).value_or(true)) {
    config.placement.before = false;
    config.placement.onResidual = true;
    config.finalNorm = false;
  }
  expectFlag(fields, "_remove_final_layer_norm", false);
  expectFlag(fields, "layer_norm_elementwise_affine", true);
  if (fields.integer({"word_embed_proj_dim"}).value_or(config.hidden) != config.hidden)
    fields.fail("word_embed_proj_dim differs from hidden_size, which is not supported");
}

#define OPT_LAYER "layers.{0}."
static constexpr ModuleName optNames[] = {
    {Module::Positions, "embed_positions", Pick::FromFirstPosition},
    {Module::AttentionNorm, OPT_LAYER "self_attn_layer_norm"},
    {Module::AttentionPostNorm, OPT_LAYER "self_attn_layer_norm"},
    {Module::Output, OPT_LAYER "self_attn.out_proj"},
    {Module::MlpNorm, OPT_LAYER "final_layer_norm"},
    {Module::MlpPostNorm, OPT_LAYER "final_layer_norm"},
    {Module::Up, OPT_LAYER "fc1"},
    {Module::Down, OPT_LAYER "fc2"},
    {Module::FinalNorm, "final_layer_norm"},
};

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
    {"gpt2", "gpt2", "GPT2", "transformer.", configureGpt2, gpt2Names, fusedGgufNames},
    {"gpt_neox", "gptneox", "GPTNeoX", "gpt_neox.", configureGptNeoX, gptNeoXNames, fusedGgufNames},
    {"gptj", nullptr, "GPTJ", "transformer.", configureGptJ, gptJNames, {}, true, true},
    {"gpt_bigcode", "starcoder", "GPTBigCode", "transformer.", configureGptBigCode, gptBigCodeNames, fusedGgufNames},
    {"opt", nullptr, "OPT", "model.decoder.", configureOpt, optNames, {}},
    {"olmo", "olmo", "Olmo", "model.", configureOlmo, {}, {}, false, true},
    {"olmo2", "olmo2", "Olmo2", "model.", configureOlmo2, olmo2Names, {}},
    {"olmoe", "olmoe", "Olmoe", "model.", configureOlmoe, {}, {}},
    {"falcon", "falcon", "Falcon", "transformer.", configureFalcon, falconNames, falconGgufNames},
    {"stablelm", "stablelm", "StableLm", "model.", configureStableLm, stableLmNames, {}},
    {"starcoder2", "starcoder2", "Starcoder2", "model.", configureStarCoder2, starCoder2Names, {}},
    {"phi", "phi2", "Phi", "model.", configurePhi, phiNames, fusedGgufNames},
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
