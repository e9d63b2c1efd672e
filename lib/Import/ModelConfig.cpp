//===- ModelConfig.cpp - What a configuration says about a model ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

#include "Families.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

/// How deep the JSON of a configuration may nest.
static constexpr int maxJsonDepth = 64;
/// The largest layer count and the largest other extent.
static constexpr int64_t maxLayers = 4096;
static constexpr int64_t maxExtent = int64_t(1) << 28;

Error importer::makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// The deepest nesting of brackets outside strings.
static int jsonDepth(StringRef text) {
  int depth = 0, deepest = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

Expected<json::Object> importer::parseJsonObject(StringRef text, StringRef file) {
  // The parser recurses.
  if (jsonDepth(text) > maxJsonDepth)
    return makeError(file + ": JSON nests deeper than " + Twine(maxJsonDepth) + " levels");
  Expected<json::Value> value = json::parse(text);
  if (!value)
    return makeError(file + ": not JSON: " + toString(value.takeError()));
  json::Object *object = value->getAsObject();
  if (!object)
    return makeError(file + ": expected a JSON object");
  return std::move(*object);
}

//===----------------------------------------------------------------------===//
// What all families have
//===----------------------------------------------------------------------===//

/// Names of activation functions, as transformers' ACT2FN has them.
static void readActivation(ConfigFields &fields, ModelConfig &config) {
  std::optional<std::string> name =
      fields.string({"hidden_act", "hidden_activation", "activation_function", "activation"});
  if (!name)
    return;
  std::optional<Activation> found =
      StringSwitch<std::optional<Activation>>(*name)
          .Cases({"silu", "swish"}, Activation::Silu)
          .Cases({"gelu", "gelu_python"}, Activation::Gelu)
          .Cases({"gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh"}, Activation::GeluTanh)
          .Case("quick_gelu", Activation::QuickGelu)
          .Case("relu", Activation::Relu)
          .Cases({"relu2", "relu_squared"}, Activation::ReluSquared)
          .Default(std::nullopt);
  if (!found)
    fields.fail("hidden_act '" + *name + "' is not supported; supported are silu, gelu, "
                "gelu_pytorch_tanh, quick_gelu, relu and relu2");
  config.activation = found.value_or(config.activation);
}

/// rope_parameters (transformers 5), or rope_theta and rope_scaling (4).
static RopeConfig readRope(ConfigFields &fields, const ModelConfig &config) {
  double theta = fields.number({"rope_theta", "rotary_emb_base"}).value_or(10000);
  double part = fields.number({"partial_rotary_factor", "rotary_pct"}).value_or(1);
  double positions = static_cast<double>(config.contextLength);
  double original = fields.number({"original_max_position_embeddings"}).value_or(positions);
  for (StringRef key : {"rope_parameters", "rope_scaling"})
    if (std::optional<ConfigFields> inside = fields.child(key);
        inside && !inside->has("full_attention"))
      return parseRope(*inside, theta, part, positions, original);
  RopeConfig rope;
  rope.theta = theta;
  rope.part = part;
  return rope;
}

static void readCommonConfig(ConfigFields &fields, ModelConfig &config) {
  config.layers = fields.needInteger({"num_hidden_layers", "n_layer", "num_layers", "n_layers"});
  config.hidden = fields.needInteger({"hidden_size", "n_embd", "n_embed", "d_model"});
  config.vocabulary = fields.needInteger({"vocab_size"});
  config.heads = fields.needInteger({"num_attention_heads", "n_head", "n_heads"});
  // What is too large is refused later.
  int64_t usual = 4 * std::clamp<int64_t>(config.hidden, 0, maxExtent);
  config.intermediate =
      fields.integer({"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"}).value_or(usual);
  config.keyHeads = fields.integer({"num_key_value_heads", "num_kv_heads"}).value_or(config.heads);
  int64_t split = config.heads > 0 ? config.hidden / config.heads : 0;
  std::optional<int64_t> headDim = fields.integer({"head_dim"});
  if (!headDim && config.heads > 0 && split * config.heads != config.hidden)
    fields.fail(fields.spell("hidden_size") + " " + Twine(config.hidden) + " is not a multiple of " +
                fields.spell("num_attention_heads") + " " + Twine(config.heads) +
                " and there is no head_dim");
  config.headDim = headDim.value_or(split);
  config.contextLength =
      fields.integer({"max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"}).value_or(2048);
  config.normEpsilon = fields
                           .number({"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
                                    "norm_epsilon", "norm_eps"})
                           .value_or(config.normEpsilon);
  config.tiedEmbeddings = fields.boolean({"tie_word_embeddings"}).value_or(config.tiedEmbeddings);
  bool bias = fields.boolean({"attention_bias"}).value_or(false);
  config.queryBias = config.keyBias = config.valueBias = config.outputBias = bias;
  config.mlpBias = fields.boolean({"mlp_bias"}).value_or(false);
  readActivation(fields, config);
  config.ropes = {readRope(fields, config)};
  if (config.layers > 0 && config.layers <= maxLayers)
    config.layerConfigs.resize(static_cast<size_t>(config.layers));
}

/// layer_types, where a configuration lists them, says which layers have the window.
static void readLayerTypes(ConfigFields &fields, ModelConfig &config) {
  std::vector<std::string> types = fields.strings("layer_types");
  if (types.empty())
    return;
  if (types.size() != config.layerConfigs.size())
    return fields.fail("layer_types lists " + Twine(types.size()) + " layers, but num_hidden_layers is " +
                       Twine(config.layers));
  int64_t window = fields.integer({"sliding_window"}).value_or(0);
  for (auto [type, layer] : llvm::zip_equal(types, config.layerConfigs)) {
    if (type != "full_attention" && type != "sliding_attention")
      return fields.fail("layer type '" + type + "' is not supported; supported are full_attention "
                         "and sliding_attention");
    layer.window = type == "sliding_attention" ? window : 0;
    if (type == "sliding_attention" && window <= 0)
      return fields.fail("layer_types says sliding_attention, but there is no sliding_window");
  }
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

static Error checkModelConfig(const ModelConfig &config) {
  struct Extent {
    const char *name;
    int64_t value, maximum, minimum = 1;
  };
  const Extent extents[] = {
      {"number of layers", config.layers, maxLayers},
      {"hidden size", config.hidden, maxExtent},
      {"intermediate size", config.intermediate, maxExtent},
      {"vocabulary size", config.vocabulary, maxExtent},
      {"number of attention heads", config.heads, 1 << 14},
      {"number of key and value heads", config.keyHeads, 1 << 14},
      {"head size", config.headDim, 1 << 14},
      {"context length", config.contextLength, maxExtent},
      {"number of experts", config.experts.count, 1 << 14, 0},
      {"number of experts a token takes", config.experts.perToken, config.experts.count, 0},
      {"intermediate size of the experts", config.experts.intermediate, maxExtent, 0},
      {"intermediate size of the shared expert", config.experts.sharedIntermediate, maxExtent, 0},
      {"number of token types", config.tokenTypes, maxExtent, 0},
      {"number of learned positions", config.learnedPositions, maxExtent, 0},
      {"number of labels", config.labels, maxExtent, 0},
  };
  for (const Extent &extent : extents)
    if (extent.value < extent.minimum || extent.value > extent.maximum)
      return makeError(config.file + ": the " + extent.name + " is " + Twine(extent.value) +
                       ", expected " + Twine(extent.minimum) + " to " + Twine(extent.maximum));
  if (config.heads % config.keyHeads != 0)
    return makeError(config.file + ": " + Twine(config.heads) +
                     " attention heads are not a multiple of " + Twine(config.keyHeads) +
                     " key and value heads");
  if (config.headDim % 2 != 0)
    return makeError(config.file + ": the head size is " + Twine(config.headDim) +
                     ", expected an even number");
  bool anyExperts = llvm::any_of(config.layerConfigs, [](const LayerConfig &layer) { return layer.experts; });
  if (anyExperts && (config.experts.count < 1 || config.experts.perToken < 1 || config.experts.intermediate < 1))
    return makeError(config.file + ": a mixture of experts needs at least one expert a token");
  for (const LayerConfig &layer : config.layerConfigs)
    if (layer.window < 0 || layer.window > maxExtent)
      return makeError(config.file + ": sliding_window is " + Twine(layer.window) + ", expected 1 to " +
                       Twine(maxExtent));
  // At most 2^28 each of the other two.
  if (config.experts.count * std::max(config.experts.intermediate, config.experts.sharedIntermediate) >
      maxExtent)
    return makeError(config.file + ": all experts together have more than " + Twine(maxExtent) +
                     " rows");
  if (!(config.normEpsilon >= 0 && config.normEpsilon < 1))
    return makeError(config.file + ": the epsilon of the norms is not between 0 and 1");
  for (double number : {config.attentionSoftcap, config.finalSoftcap, config.attentionScale, config.clampQkv})
    if (!(number >= 0) || !std::isfinite(number))
      return makeError(config.file + ": a soft cap, an attention scale or a clamp is negative");
  for (const RopeConfig &rope : config.ropes)
    if (Error error = checkRope(rope, config.headDim, config.file))
      return error;
  return Error::success();
}

Expected<ModelConfig> importer::readModelConfig(const Family &family, ConfigFields &fields,
                                                ModelConfig config) {
  config.family = &family;
  readCommonConfig(fields, config);
  if (!fields.error().empty())
    return makeError(fields.error());
  // Dynamic scaling goes beyond the positions that a configuration says.
  const RopeConfig &rope = config.ropes.front();
  if (rope.type == "dynamic" && rope.factor >= 1 && rope.factor < 1 << 16 &&
      config.contextLength > 0 && config.contextLength <= maxExtent)
    config.contextLength =
        static_cast<int64_t>(static_cast<double>(config.contextLength) * rope.factor);
  family.configure(fields, config);
  readLayerTypes(fields, config);
  config.keyNames.insert(fields.foundNames().begin(), fields.foundNames().end());
  if (config.experts.count == 0)
    config.experts = {};
  if (!fields.error().empty())
    return makeError(fields.error());
  if (Error error = checkModelConfig(config))
    return std::move(error);
  return config;
}
