//===- GgufConfigBoundary.cpp - What the metadata of a GGUF file say ------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The metadata are written as the config.json that they were made from, and what a
// family says of that is read from it. The runtime's reader throws.
//
//===----------------------------------------------------------------------===//

#include "GgufConfig.h"

#include "Families.h"

#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"
#include "runtime/Program.h"

using namespace mlsys;
using namespace mlsys::importer;
using rt::Gguf;

namespace {
/// A key of config.json and that of the metadata, behind the architecture.
struct KeyPair {
  const char *config;
  const char *metadata;
};
} // namespace

static constexpr KeyPair keyPairs[] = {
    {"num_hidden_layers", "block_count"},
    {"hidden_size", "embedding_length"},
    {"intermediate_size", "feed_forward_length"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"max_position_embeddings", "context_length"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"layer_norm_eps", "attention.layer_norm_epsilon"},
    {"vocab_size", "vocab_size"},
    {"rope_theta", "rope.freq_base"},
    {"sliding_window", "attention.sliding_window"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {"num_experts", "expert_count"},
    {"num_experts_per_tok", "expert_used_count"},
    {"moe_intermediate_size", "expert_feed_forward_length"},
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"},
    {"embedding_multiplier", "embedding_scale"},
    {"residual_multiplier", "residual_scale"},
    {"attention_multiplier", "attention.scale"},
    {"logits_scaling", "logit_scale"},
    {"logit_scale", "logit_scale"},
    {"clip_qkv", "attention.clamp_kqv"},
    {"alibi_bias_max", "attention.max_alibi_bias"},
    {"use_parallel_residual", "use_parallel_residual"},
    {"norm_topk_prob", "expert_weights_norm"},
    {"rope_local_base_freq", "rope.freq_base_swa"},
};

/// The same inside rope_scaling.
static constexpr KeyPair scalingPairs[] = {
    {"factor", "rope.scaling.factor"},
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
    {"attention_factor", "rope.scaling.attn_factor"},
    {"beta_fast", "rope.scaling.yarn_beta_fast"},
    {"beta_slow", "rope.scaling.yarn_beta_slow"},
    {"rope_type", "rope.scaling.type"},
};

bool importer::isRopeTensor(const rt::StoredTensor &tensor) {
  return tensor.name == "rope_freqs.weight" || tensor.name == "rope_factors_long.weight" ||
         tensor.name == "rope_factors_short.weight";
}

/// The elements of a small tensor; empty when there is none.
static std::vector<float> readFloats(const Gguf &file, const char *name) {
  const rt::StoredTensor *tensor = file.findTensor(name);
  if (!tensor)
    return {};
  if (tensor->shape.size() != 1 || tensor->shape[0] > 1 << 16)
    throw rt::Error("{}: tensor {} has shape {}, expected a short vector", file.path, tensor->name,
                    rt::shapeText(tensor->shape));
  rt::MappedFile mapped(file.files[tensor->file]);
  std::vector<float> values(static_cast<size_t>(tensor->shape[0]));
  rt::convertToF32(tensor->dtype, mapped.data() + tensor->offset, values.data(), tensor->shape[0]);
  return values;
}

static llvm::json::Array arrayOf(const std::vector<float> &values) {
  llvm::json::Array array;
  for (float value : values)
    array.push_back(static_cast<double>(value));
  return array;
}

/// A metadata value as JSON: null when it is absent, an empty list for any list.
static llvm::json::Value jsonOf(const Gguf &file, const std::string &key) {
  const rt::GgufValue *value = file.find(key);
  if (!value)
    return nullptr;
  if (value->type == rt::GgufType::String)
    return value->text;
  if (value->type == rt::GgufType::Bool)
    return value->bits != 0;
  if (value->type == rt::GgufType::F32 || value->type == rt::GgufType::F64)
    return value->asDouble().value_or(0);
  // An extent that is too large is refused like any other.
  if (std::optional<uint64_t> number = value->asUnsigned())
    return static_cast<int64_t>(std::min<uint64_t>(*number, INT64_MAX));
  if (std::optional<double> number = value->asDouble())
    return static_cast<int64_t>(*number);
  return llvm::json::Array();
}

/// rope_scaling, from metadata and from tensors.
static void addRopeScaling(const Gguf &file, const std::string &prefix,
                           llvm::json::Object &config) {
  std::string type = file.getString((prefix + "rope.scaling.type")).value_or("none");
  std::vector<float> longFactors = readFloats(file, "rope_factors_long.weight");
  std::vector<float> shortFactors = readFloats(file, "rope_factors_short.weight");
  llvm::json::Object scaling;
  if (!longFactors.empty() || !shortFactors.empty()) {
    type = "longrope";
    scaling["long_factor"] = arrayOf(longFactors);
    scaling["short_factor"] = arrayOf(shortFactors);
  }
  if (type == "none")
    return;
  for (const KeyPair &pair : scalingPairs)
    scaling[pair.config] = jsonOf(file, prefix + pair.metadata);
  scaling["rope_type"] = type;
  config["rope_scaling"] = std::move(scaling);
}

/// The config.json that the file could have been made from.
static llvm::json::Object makeConfig(const Gguf &file, const std::string &architecture) {
  std::string prefix = architecture + ".";
  llvm::json::Object config;
  for (const KeyPair &pair : keyPairs)
    config[pair.config] = jsonOf(file, prefix + pair.metadata);
  config["type_vocab_size"] = jsonOf(file, "tokenizer.ggml.token_type_count");
  auto has = [&](const char *name) { return file.findTensor(name) != nullptr; };
  if (!file.getUnsigned((prefix + "vocab_size")))
    if (const rt::StoredTensor *table = file.findTensor("token_embd.weight");
        table && !table->shape.empty())
      config["vocab_size"] = table->shape[0];
  config["tie_word_embeddings"] = !has("output.weight");
  bool headNorms = has("blk.0.attn_q_norm.weight");
  config["qk_layernorm"] = headNorms;
  config["use_qk_norm"] = headNorms;
  // Falcon's.
  config["new_decoder_architecture"] = has("blk.0.attn_norm_2.weight");
  config["multi_query"] = file.getUnsigned((prefix + "attention.head_count_kv")) == 1;
  if (config["norm_topk_prob"].kind() == llvm::json::Value::Null)
    config["norm_topk_prob"] = architecture == "qwen3moe";
  std::optional<uint64_t> rotary = file.getUnsigned((prefix + "rope.dimension_count"));
  std::optional<uint64_t> heads = file.getUnsigned((prefix + "attention.head_count"));
  std::optional<uint64_t> hidden = file.getUnsigned((prefix + "embedding_length"));
  std::optional<uint64_t> dim = file.getUnsigned((prefix + "attention.key_length"));
  if (!dim && heads && hidden && *heads > 0)
    dim = *hidden / *heads;
  if (rotary && dim && *dim > 0)
    config["partial_rotary_factor"] = static_cast<double>(*rotary) / static_cast<double>(*dim);
  addRopeScaling(file, prefix, config);
  return config;
}

/// Biases are what the file has.
static void readBiases(const Gguf &file, ModelConfig &config) {
  auto has = [&](const char *module) {
    return file.findTensor(std::string("blk.0.") + module + ".bias") != nullptr;
  };
  bool fused = has("attn_qkv");
  config.queryBias = fused || has("attn_q");
  config.keyBias = fused || has("attn_k");
  config.valueBias = fused || has("attn_v");
  config.outputBias = has("attn_output");
  config.mlpBias = has("ffn_up");
  config.headBias = file.findTensor("output.bias") != nullptr;
}

/// bf16 for quantized matrices, else their own type.
static std::optional<program::DType> checkpointType(const Gguf &file) {
  for (const char *name : {"blk.0.attn_q.weight", "blk.0.attn_qkv.weight"})
    if (const rt::StoredTensor *tensor = file.findTensor(name))
      return rt::dtypeBlockElements(tensor->dtype) > 1 ? program::DType::BF16 : tensor->dtype;
  return std::nullopt;
}

llvm::Expected<ModelConfig> importer::readGgufConfig(const Gguf &file) {
  std::optional<std::string> architecture = file.getString("general.architecture");
  if (!architecture)
    throw rt::Error("{}: metadata general.architecture is missing", file.path);
  const Family *family = findGgufFamily(*architecture);
  if (!family)
    throw rt::Error("{}: architecture '{}' is not supported; supported are {}", file.path,
                    *architecture, listGgufFamilies());
  std::string prefix = *architecture + ".";
  if (*architecture == "llama" && file.getUnsigned("llama.expert_count").value_or(0) > 0)
    family = findFamily("mixtral");

  auto spell = [&](llvm::StringRef key) {
    bool inside = key.consume_front("rope_scaling.");
    for (const KeyPair &pair : inside ? llvm::ArrayRef(scalingPairs) : llvm::ArrayRef(keyPairs))
      if (key == pair.config)
        return prefix + pair.metadata;
    return key.str();
  };
  llvm::json::Object object = makeConfig(file, *architecture);
  ConfigFields fields(object, file.path, spell, "metadata ");
  ModelConfig config;
  config.file = file.path;
  config.isGguf = true;
  config.architecture = std::string(family->classPrefix) + "ForCausalLM";
  config.dtype = checkpointType(file);
  fields.needInteger({"intermediate_size"});
  fields.needInteger({"max_position_embeddings"});
  if (!fields.has("layer_norm_eps"))
    fields.needNumber({"rms_norm_eps"});
  for (const KeyPair &pair : keyPairs)
    config.keyNames[pair.config] = prefix + pair.metadata;
  llvm::Expected<ModelConfig> read = readModelConfig(*family, fields, std::move(config));
  if (!read)
    return read;
  if (read->bidirectional) {
    read->head = HeadKind::Hidden;
    read->architecture = std::string(family->classPrefix) + "Model";
  }
  std::optional<uint64_t> valueLength = file.getUnsigned(prefix + "attention.value_length");
  if (valueLength && *valueLength != static_cast<uint64_t>(read->headDim))
    throw rt::Error("{}: {}attention.value_length is {} but the key's is {}; they must be equal",
                    file.path, prefix, *valueLength, read->headDim);
  readBiases(file, *read);
  for (RopeConfig &rope : read->ropes)
    rope.divisors = readFloats(file, "rope_freqs.weight");
  for (const RopeConfig &rope : read->ropes)
    if (llvm::Error error = checkRope(rope, read->headDim, read->file))
      return std::move(error);
  return read;
}
