//===- GgufBoundary.cpp - Reads GGUF models -------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The runtime's reader throws; this file turns that into llvm::Error.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/MappedFile.h"
#include "runtime/Program.h"

using namespace mlsys;
using namespace mlsys::importer;
using rt::Gguf;

static uint64_t needUnsigned(const Gguf &file, const char *key) {
  std::optional<uint64_t> value = file.getUnsigned(key);
  if (!value)
    throw rt::Error("{}: metadata {} is missing", file.path, key);
  return *value;
}

/// A value that becomes an extent; what does not fit is refused by
/// checkDecoderConfig.
static int64_t extent(uint64_t value) {
  return static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX));
}

static std::optional<int64_t> optionalExtent(const Gguf &file, const char *key) {
  std::optional<uint64_t> value = file.getUnsigned(key);
  return value ? std::optional<int64_t>(extent(*value)) : std::nullopt;
}

/// The elements of a small tensor.
static std::vector<float> readFloats(const Gguf &file, const rt::StoredTensor &tensor) {
  if (tensor.shape.size() != 1 || tensor.shape[0] > 1 << 16)
    throw rt::Error("{}: tensor {} has shape {}, expected a short vector", file.path, tensor.name,
                    rt::shapeText(tensor.shape));
  rt::MappedFile mapped(file.files[tensor.file]);
  std::vector<float> values(static_cast<size_t>(tensor.shape[0]));
  rt::convertToF32(tensor.dtype, mapped.data() + tensor.offset, values.data(), tensor.shape[0]);
  return values;
}

static RopeConfig readRope(const Gguf &file) {
  RopeConfig rope;
  rope.theta = file.getDouble("llama.rope.freq_base").value_or(10000);
  std::string type = file.getString("llama.rope.scaling.type").value_or("none");
  if (type == "linear") {
    rope.type = type;
    std::optional<double> factor = file.getDouble("llama.rope.scaling.factor");
    if (!factor)
      throw rt::Error("{}: metadata llama.rope.scaling.factor is missing", file.path);
    rope.factor = *factor;
  } else if (type != "none") {
    throw rt::Error("{}: rope scaling type '{}' is not supported; supported are none and linear, "
                    "and llama3's as tensor rope_freqs.weight",
                    file.path, type);
  }
  if (const rt::StoredTensor *tensor = file.findTensor("rope_freqs.weight"))
    rope.divisors = readFloats(file, *tensor);
  return rope;
}

/// bf16 for quantized matrices, else their own type.
static std::optional<program::DType> checkpointType(const Gguf &file) {
  const rt::StoredTensor *tensor = file.findTensor("blk.0.attn_q.weight");
  if (!tensor)
    return std::nullopt;
  return rt::dtypeBlockElements(tensor->dtype) > 1 ? program::DType::BF16 : tensor->dtype;
}

/// The features of a model, from its metadata and the tensors that it has.
static DecoderConfig readConfig(const Gguf &file) {
  std::optional<std::string> architecture = file.getString("general.architecture");
  if (!architecture)
    throw rt::Error("{}: metadata general.architecture is missing", file.path);
  if (*architecture != "llama")
    throw rt::Error("{}: architecture '{}' is not supported; supported is llama", file.path,
                    *architecture);
  if (file.getUnsigned("llama.expert_count").value_or(0) > 0)
    throw rt::Error("{}: mixtures of experts (llama.expert_count) are not supported", file.path);

  DecoderConfig config;
  config.file = file.path;
  config.isGguf = true;
  config.architecture = "LlamaForCausalLM";
  config.layers = extent(needUnsigned(file, "llama.block_count"));
  config.hidden = extent(needUnsigned(file, "llama.embedding_length"));
  config.intermediate = extent(needUnsigned(file, "llama.feed_forward_length"));
  config.heads = extent(needUnsigned(file, "llama.attention.head_count"));
  config.keyHeads = optionalExtent(file, "llama.attention.head_count_kv").value_or(config.heads);
  config.contextLength = extent(needUnsigned(file, "llama.context_length"));
  std::optional<double> epsilon = file.getDouble("llama.attention.layer_norm_rms_epsilon");
  if (!epsilon)
    throw rt::Error("{}: metadata llama.attention.layer_norm_rms_epsilon is missing", file.path);
  config.normEpsilon = *epsilon;

  std::optional<int64_t> rotary = optionalExtent(file, "llama.rope.dimension_count");
  std::optional<int64_t> keyLength = optionalExtent(file, "llama.attention.key_length");
  int64_t split = config.heads > 0 ? config.hidden / config.heads : 0;
  config.headDim = keyLength.value_or(split);
  if (rotary && *rotary != config.headDim)
    throw rt::Error("{}: llama.rope.dimension_count is {} but the head size is {}; rotating a part "
                    "of a head is not supported",
                    file.path, *rotary, config.headDim);
  std::optional<int64_t> valueLength = optionalExtent(file, "llama.attention.value_length");
  if (valueLength && *valueLength != config.headDim)
    throw rt::Error("{}: llama.attention.value_length is {} but the key's is {}; they must be "
                    "equal",
                    file.path, *valueLength, config.headDim);

  const rt::StoredTensor *table = file.findTensor("token_embd.weight");
  int64_t rows = table && !table->shape.empty() ? table->shape[0] : 0;
  config.vocabulary = optionalExtent(file, "llama.vocab_size").value_or(rows);
  config.tiedEmbeddings = !file.findTensor("output.weight");
  config.qkvBias = file.findTensor("blk.0.attn_q.bias");
  config.outputBias = file.findTensor("blk.0.attn_output.bias");
  config.mlpBias = file.findTensor("blk.0.ffn_gate.bias");
  config.rope = readRope(file);
  config.dtype = checkpointType(file);
  return config;
}

llvm::Expected<ModelFiles> importer::readGgufModel(llvm::StringRef path) {
  ModelFiles files;
  try {
    Gguf file = rt::readGguf(path.str());
    files.config = readConfig(file);
    files.text = rt::readGgufText(file);
    files.checkpoint.files = file.files;
    std::erase_if(file.tensors,
                  [](const rt::StoredTensor &tensor) { return tensor.name == "rope_freqs.weight"; });
    files.checkpoint.tensors = std::move(file.tensors);
  } catch (const std::exception &error) {
    return makeError(error.what());
  }
  if (llvm::Error error = checkDecoderConfig(files.config))
    return std::move(error);
  return files;
}
