//===- GptFamilies.cpp - GPT-2, GPT-NeoX and their relatives --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Decoders with layer norms and an MLP that is, but for StableLM, not gated. See
// DecoderFamilies.cpp.
//
//===----------------------------------------------------------------------===//

#include "FamilyParts.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

#define LAYER "layers.{0}."

static constexpr ModuleName fusedGgufNames[] = {GGUF_FUSED_QKV};

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
// GPT-NeoX, Falcon, Bloom, MPT
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

void importer::useSlopes(ModelConfig &config, double maximum) {
  dropRotation(config);
  // Other numbers of heads are refused later.
  if (config.heads < 1 || config.heads > 1 << 14)
    return;
  auto heads = static_cast<uint64_t>(config.heads), count = llvm::bit_floor(heads);
  for (uint64_t head = 0; head < heads; ++head) {
    double power = head < count ? static_cast<double>(head + 1) : static_cast<double>(head - count) + 0.5;
    config.slopes.push_back(static_cast<float>(std::exp2(-maximum * power / static_cast<double>(count))));
  }
}

static void configureFalcon(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  if (fields.boolean({"alibi"}).value_or(false)) {
    useSlopes(config);
    // Of bf16, and scaled with the product of query and key.
    for (float &slope : config.slopes) {
      APFloat rounded(slope);
      bool exact;
      rounded.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &exact);
      slope = static_cast<float>(rounded.convertToDouble() / std::sqrt(static_cast<double>(config.headDim)));
    }
  }
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

static void configureBloom(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, true);
  tieByDefault(fields, config);
  setBiases(config, true, true);
  useSlopes(config);
  config.embeddingNorm = true;
  config.gatedMlp = false;
  config.activation = Activation::GeluTanh;
  expectFlag(fields, "apply_residual_connection_post_layernorm", false);
}

static constexpr ModuleName bloomNames[] = {
    FALCON_NAMES,
    {Module::EmbeddingNorm, "word_embeddings_layernorm"},
    {Module::AttentionNorm, FALCON_LAYER "input_layernorm"},
    {Module::MlpNorm, FALCON_LAYER "post_attention_layernorm"},
};

static void configureMpt(ConfigFields &fields, ModelConfig &config) {
  useLayerNorm(fields, config, false);
  tieByDefault(fields, config);
  config.gatedMlp = false;
  config.activation = Activation::Gelu;
  if (std::optional<int64_t> ratio = fields.integer({"expansion_ratio"}); ratio && *ratio > 0 && *ratio <= 64)
    config.intermediate = *ratio * std::clamp<int64_t>(config.hidden, 0, 1 << 28);
  expectFlag(fields, "no_bias", true);
  if (fields.has("logit_scale"))
    fields.fail(fields.spell("logit_scale") + " is not supported");
  std::string norm = fields.string({"norm_type"}).value_or("layernorm");
  if (norm != "layernorm" && norm != "low_precision_layernorm")
    fields.fail("norm_type '" + norm + "' is not supported; supported are layernorm and low_precision_layernorm");
  std::optional<ConfigFields> inside = fields.child("attn_config");
  ConfigFields &attention = inside ? *inside : fields;
  std::string type = attention.string({"attn_type"}).value_or("multihead_attention");
  if (type != "multihead_attention")
    fields.fail("attn_config.attn_type '" + type + "' is not supported; supported is multihead_attention");
  expectFlag(attention, "qk_ln", false);
  expectFlag(attention, "prefix_lm", false);
  expectFlag(attention, "alibi", true);
  double maximum = attention.number({"alibi_bias_max"}).value_or(8);
  if (!(maximum > 0 && maximum <= 64))
    return fields.fail(attention.spell("alibi_bias_max") +
                       " must be above 0 and at most 64; models without ALiBi are not supported");
  useSlopes(config, maximum);
  config.clampQkv = attention.number({"clip_qkv"}).value_or(0);
  config.attentionScale = attention.number({"softmax_scale"}).value_or(0);
}

static constexpr ModuleName mptNames[] = {
    {Module::Embedding, "wte"},
    {Module::AttentionNorm, "blocks.{0}.norm_1"},
    {Module::Query, "blocks.{0}.attn.Wqkv", Pick::FusedQuery},
    {Module::Key, "blocks.{0}.attn.Wqkv", Pick::FusedKey},
    {Module::Value, "blocks.{0}.attn.Wqkv", Pick::FusedValue},
    {Module::Output, "blocks.{0}.attn.out_proj"},
    {Module::MlpNorm, "blocks.{0}.norm_2"},
    {Module::Up, "blocks.{0}.ffn.up_proj"},
    {Module::Down, "blocks.{0}.ffn.down_proj"},
    {Module::FinalNorm, "norm_f"},
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
  dropRotation(config);
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
  dropRotation(config);
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
    {"gpt2", "gpt2", "GPT2", "transformer.", configureGpt2, gpt2Names, fusedGgufNames},
    {"gpt_neox", "gptneox", "GPTNeoX", "gpt_neox.", configureGptNeoX, gptNeoXNames, fusedGgufNames},
    {"gptj", nullptr, "GPTJ", "transformer.", configureGptJ, gptJNames, {}, true, true},
    {"gpt_bigcode", "starcoder", "GPTBigCode", "transformer.", configureGptBigCode, gptBigCodeNames, fusedGgufNames},
    {"opt", nullptr, "OPT", "model.decoder.", configureOpt, optNames, {}},
    {"falcon", "falcon", "Falcon", "transformer.", configureFalcon, falconNames, falconGgufNames},
    {"bloom", "bloom", "Bloom", "transformer.", configureBloom, bloomNames, fusedGgufNames},
    {"mpt", "mpt", "Mpt", "transformer.", configureMpt, mptNames, fusedGgufNames},
    {"stablelm", "stablelm", "StableLm", "model.", configureStableLm, stableLmNames, {}},
    {"starcoder2", "starcoder2", "Starcoder2", "model.", configureStarCoder2, starCoder2Names, {}},
    {"phi", "phi2", "Phi", "model.", configurePhi, phiNames, fusedGgufNames},
    // clang-format on
};

ArrayRef<Family> importer::getGptFamilies() { return families; }
