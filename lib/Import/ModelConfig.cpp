//===- ModelConfig.cpp - What a config.json says about a decoder ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;
using program::DType;

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

static std::string textOf(const json::Value &value) {
  std::string text;
  raw_string_ostream(text) << value;
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

namespace {
/// Typed access to an object's entries. The first entry of a wrong type is
/// remembered as the error; null counts as absent.
class Fields {
public:
  Fields(const json::Object &object, StringRef file, StringRef prefix = "")
      : object(object), file(file), prefix(prefix) {}

  std::string error;

  bool has(StringRef key) const { return find(key) != nullptr; }

  std::optional<int64_t> integer(StringRef key) {
    return get<int64_t>(key, "an integer", [](const json::Value &v) { return v.getAsInteger(); });
  }
  std::optional<double> number(StringRef key) {
    return get<double>(key, "a number", [](const json::Value &v) { return v.getAsNumber(); });
  }
  std::optional<bool> boolean(StringRef key) {
    return get<bool>(key, "true or false", [](const json::Value &v) { return v.getAsBoolean(); });
  }
  std::optional<StringRef> string(StringRef key) {
    return get<StringRef>(key, "a string", [](const json::Value &v) { return v.getAsString(); });
  }
  const json::Object *child(StringRef key) {
    auto value = get<const json::Object *>(
        key, "an object", [](const json::Value &v) -> std::optional<const json::Object *> {
          if (const json::Object *child = v.getAsObject())
            return child;
          return std::nullopt;
        });
    return value.value_or(nullptr);
  }

  int64_t needInteger(StringRef key) { return need(key, integer(key)); }
  double needNumber(StringRef key) { return need(key, number(key)); }

  void fail(const Twine &message) {
    if (error.empty())
      error = (file + ": " + message).str();
  }

private:
  const json::Value *find(StringRef key) const {
    const json::Value *value = object.get(key);
    return value && value->kind() != json::Value::Null ? value : nullptr;
  }
  template <typename T, typename F>
  std::optional<T> get(StringRef key, StringRef expected, F convert) {
    const json::Value *value = find(key);
    if (!value)
      return std::nullopt;
    std::optional<T> result = convert(*value);
    if (!result)
      fail(prefix + key + " is " + textOf(*value) + ", expected " + expected);
    return result;
  }
  template <typename T> T need(StringRef key, std::optional<T> value) {
    if (!value)
      fail(prefix + key + " is missing");
    return value.value_or(T());
  }

  const json::Object &object;
  std::string file, prefix;
};
} // namespace

//===----------------------------------------------------------------------===//
// config.json
//===----------------------------------------------------------------------===//

/// rope_parameters (transformers 5), or rope_theta and rope_scaling (4).
static RopeConfig parseRope(Fields &root, StringRef file) {
  RopeConfig rope;
  if (std::optional<double> theta = root.number("rope_theta"))
    rope.theta = *theta;
  StringRef name = root.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const json::Object *object = root.child(name);
  if (!object)
    return rope;
  Fields fields(*object, file, (name + ".").str());
  if (std::optional<double> theta = fields.number("rope_theta"))
    rope.theta = *theta;
  std::optional<StringRef> type = fields.string("rope_type");
  if (!type)
    type = fields.string("type");
  rope.type = type.value_or("default").str();
  if (rope.type == "linear" || rope.type == "llama3")
    rope.factor = fields.needNumber("factor");
  if (rope.type == "llama3") {
    rope.lowFrequencyFactor = fields.needNumber("low_freq_factor");
    rope.highFrequencyFactor = fields.needNumber("high_freq_factor");
    rope.originalContext = fields.needNumber("original_max_position_embeddings");
  }
  if (rope.type != "default" && rope.type != "linear" && rope.type != "llama3")
    fields.fail(name + ": rope type '" + rope.type +
                "' is not supported; supported are default, linear and llama3");
  if (std::optional<double> part = fields.number("partial_rotary_factor"); part && *part != 1)
    fields.fail(name + ".partial_rotary_factor other than 1 is not supported");
  if (!fields.error.empty() && root.error.empty())
    root.error = fields.error;
  return rope;
}

static std::optional<DType> parseDType(Fields &root) {
  StringRef key = root.has("dtype") ? "dtype" : "torch_dtype";
  std::optional<StringRef> name = root.string(key);
  if (!name)
    return std::nullopt;
  StringRef plain = *name;
  plain.consume_front("torch.");
  if (plain == "float32")
    return DType::F32;
  if (plain == "bfloat16")
    return DType::BF16;
  if (plain == "float16")
    return DType::F16;
  root.fail(key + " is \"" + *name + "\"; supported are float32, bfloat16 and float16");
  return std::nullopt;
}

/// The model must be one of the Llama family.
static void checkModelType(Fields &root, const json::Object &object) {
  std::optional<StringRef> type = root.string("model_type");
  if (!type)
    return root.fail("model_type is missing; supported is llama");
  if (*type != "llama")
    return root.fail("model_type '" + *type + "' is not supported; supported is llama");
  if (const json::Array *list = object.getArray("architectures"); list && !list->empty()) {
    std::optional<StringRef> name = list->front().getAsString();
    if (name != "LlamaForCausalLM")
      root.fail("architecture " + textOf(list->front()) +
                " is not supported; supported is LlamaForCausalLM");
  }
  if (root.has("quantization_config"))
    root.fail("quantization_config: quantized safetensors are not supported; use the original "
              "checkpoint or a GGUF file");
}

Expected<DecoderConfig> importer::parseHuggingFaceConfig(const json::Object &object,
                                                         StringRef file) {
  Fields root(object, file);
  DecoderConfig config;
  config.file = file.str();
  config.architecture = "LlamaForCausalLM";
  checkModelType(root, object);
  config.layers = root.needInteger("num_hidden_layers");
  config.hidden = root.needInteger("hidden_size");
  config.intermediate = root.needInteger("intermediate_size");
  config.vocabulary = root.needInteger("vocab_size");
  config.heads = root.needInteger("num_attention_heads");
  config.keyHeads = root.integer("num_key_value_heads").value_or(config.heads);
  int64_t split = config.heads > 0 ? config.hidden / config.heads : 0;
  std::optional<int64_t> headDim = root.integer("head_dim");
  if (!headDim && split * config.heads != config.hidden)
    root.fail("hidden_size " + Twine(config.hidden) + " is not a multiple of num_attention_heads " +
              Twine(config.heads) + " and there is no head_dim");
  config.headDim = headDim.value_or(split);
  config.contextLength = root.integer("max_position_embeddings").value_or(2048);
  config.normEpsilon = root.number("rms_norm_eps").value_or(1e-6);
  config.tiedEmbeddings = root.boolean("tie_word_embeddings").value_or(false);
  config.qkvBias = config.outputBias = root.boolean("attention_bias").value_or(false);
  config.mlpBias = root.boolean("mlp_bias").value_or(false);
  config.rope = parseRope(root, file);
  config.dtype = parseDType(root);
  StringRef activation = root.string("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    root.fail("hidden_act '" + activation + "' is not supported; supported is silu");
  if (!root.error.empty())
    return makeError(root.error);
  if (Error error = checkDecoderConfig(config))
    return std::move(error);
  return config;
}

//===----------------------------------------------------------------------===//
// Checks and frequencies
//===----------------------------------------------------------------------===//

Error importer::checkDecoderConfig(const DecoderConfig &config) {
  struct Extent {
    const char *name;
    int64_t value, maximum;
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
  };
  for (const Extent &extent : extents)
    if (extent.value < 1 || extent.value > extent.maximum)
      return makeError(config.file + ": the " + extent.name + " is " + Twine(extent.value) +
                       ", expected 1 to " + Twine(extent.maximum));
  if (config.heads % config.keyHeads != 0)
    return makeError(config.file + ": " + Twine(config.heads) +
                     " attention heads are not a multiple of " + Twine(config.keyHeads) +
                     " key and value heads");
  if (config.headDim % 2 != 0)
    return makeError(config.file + ": the head size is " + Twine(config.headDim) +
                     ", expected an even number");
  auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  const RopeConfig &rope = config.rope;
  if (!positive(rope.theta) || !positive(rope.factor))
    return makeError(config.file + ": rope theta and factor must be positive numbers");
  if (rope.type == "llama3" &&
      (!positive(rope.lowFrequencyFactor) || !positive(rope.originalContext) ||
       !(rope.highFrequencyFactor > rope.lowFrequencyFactor)))
    return makeError(config.file + ": llama3 rope needs positive factors, the high one above the "
                                   "low one, and a positive original context");
  if (!(config.normEpsilon >= 0 && config.normEpsilon < 1))
    return makeError(config.file + ": the epsilon of the norms is not between 0 and 1");
  if (!rope.divisors.empty() && static_cast<int64_t>(rope.divisors.size()) != config.headDim / 2)
    return makeError(config.file + ": tensor rope_freqs.weight has " + Twine(rope.divisors.size()) +
                     " elements, but the head size needs " + Twine(config.headDim / 2));
  for (float divisor : rope.divisors)
    if (!positive(divisor))
      return makeError(config.file + ": tensor rope_freqs.weight holds a value that is not "
                                     "positive");
  return Error::success();
}

/// Llama 3's scaling of one frequency: long waves are slowed down by the factor,
/// short ones kept, those between interpolated.
static float scaleLlama3(const RopeConfig &rope, float frequency) {
  float context = static_cast<float>(rope.originalContext);
  float low = static_cast<float>(rope.lowFrequencyFactor);
  float high = static_cast<float>(rope.highFrequencyFactor);
  float factor = static_cast<float>(rope.factor);
  float wave = static_cast<float>(2 * M_PI) / frequency;
  if (wave > context / low)
    return frequency / factor;
  if (wave < context / high)
    return frequency;
  float smooth = (context / wave - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

std::vector<float> importer::ropeFrequencies(const RopeConfig &rope, int64_t headDim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < headDim; i += 2) {
    // In f32 step by step, as the models' authors compute it.
    float exponent = static_cast<float>(i) / static_cast<float>(headDim);
    float frequency = 1.0f / static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    if (rope.type == "llama3")
      frequency = scaleLlama3(rope, frequency);
    else if (rope.type == "linear")
      frequency /= static_cast<float>(rope.factor);
    if (!rope.divisors.empty())
      frequency /= rope.divisors[static_cast<size_t>(i / 2)];
    frequencies.push_back(frequency);
  }
  return frequencies;
}
