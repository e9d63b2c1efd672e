//===- DecoderWeights.cpp - The tensors of a decoder ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DecoderWeights.h"

#include "runtime/Program.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

namespace {
/// Extents of tensors; None ends a shape.
enum class Extent { None, Vocabulary, Hidden, Intermediate, QueryWidth, KeyWidth };

/// When a model has a tensor.
enum class When { Always, QkvBias, OutputBias, MlpBias, Untied };

/// One row of the table: the tensor's names, its shape and when it is there.
/// `{}` in a name is the layer's number.
struct Rule {
  Weight weight;
  const char *huggingFace;
  const char *gguf;
  Extent rows;
  Extent columns;
  When when;
  /// llama.cpp stores its rows in interleaved-rope order.
  bool permuted;
};
} // namespace

#define LAYER "model.layers.{}."

static constexpr Rule rules[] = {
    // clang-format off
    {Weight::Embedding, "model.embed_tokens.weight", "token_embd.weight", Extent::Vocabulary, Extent::Hidden, When::Always, false},
    {Weight::AttentionNorm, LAYER "input_layernorm.weight", "blk.{}.attn_norm.weight", Extent::Hidden, Extent::None, When::Always, false},
    {Weight::Query, LAYER "self_attn.q_proj.weight", "blk.{}.attn_q.weight", Extent::QueryWidth, Extent::Hidden, When::Always, true},
    {Weight::QueryBias, LAYER "self_attn.q_proj.bias", "blk.{}.attn_q.bias", Extent::QueryWidth, Extent::None, When::QkvBias, true},
    {Weight::Key, LAYER "self_attn.k_proj.weight", "blk.{}.attn_k.weight", Extent::KeyWidth, Extent::Hidden, When::Always, true},
    {Weight::KeyBias, LAYER "self_attn.k_proj.bias", "blk.{}.attn_k.bias", Extent::KeyWidth, Extent::None, When::QkvBias, true},
    {Weight::Value, LAYER "self_attn.v_proj.weight", "blk.{}.attn_v.weight", Extent::KeyWidth, Extent::Hidden, When::Always, false},
    {Weight::ValueBias, LAYER "self_attn.v_proj.bias", "blk.{}.attn_v.bias", Extent::KeyWidth, Extent::None, When::QkvBias, false},
    {Weight::Output, LAYER "self_attn.o_proj.weight", "blk.{}.attn_output.weight", Extent::Hidden, Extent::QueryWidth, When::Always, false},
    {Weight::OutputBias, LAYER "self_attn.o_proj.bias", "blk.{}.attn_output.bias", Extent::Hidden, Extent::None, When::OutputBias, false},
    {Weight::MlpNorm, LAYER "post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", Extent::Hidden, Extent::None, When::Always, false},
    {Weight::Gate, LAYER "mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", Extent::Intermediate, Extent::Hidden, When::Always, false},
    {Weight::GateBias, LAYER "mlp.gate_proj.bias", "blk.{}.ffn_gate.bias", Extent::Intermediate, Extent::None, When::MlpBias, false},
    {Weight::Up, LAYER "mlp.up_proj.weight", "blk.{}.ffn_up.weight", Extent::Intermediate, Extent::Hidden, When::Always, false},
    {Weight::UpBias, LAYER "mlp.up_proj.bias", "blk.{}.ffn_up.bias", Extent::Intermediate, Extent::None, When::MlpBias, false},
    {Weight::Down, LAYER "mlp.down_proj.weight", "blk.{}.ffn_down.weight", Extent::Hidden, Extent::Intermediate, When::Always, false},
    {Weight::DownBias, LAYER "mlp.down_proj.bias", "blk.{}.ffn_down.bias", Extent::Hidden, Extent::None, When::MlpBias, false},
    {Weight::FinalNorm, "model.norm.weight", "output_norm.weight", Extent::Hidden, Extent::None, When::Always, false},
    {Weight::Head, "lm_head.weight", "output.weight", Extent::Vocabulary, Extent::Hidden, When::Untied, false},
    // clang-format on
};

#undef LAYER

static int64_t extentOf(const DecoderConfig &config, Extent extent) {
  switch (extent) {
  case Extent::None:
    break;
  case Extent::Vocabulary:
    return config.vocabulary;
  case Extent::Hidden:
    return config.hidden;
  case Extent::Intermediate:
    return config.intermediate;
  case Extent::QueryWidth:
    return config.heads * config.headDim;
  case Extent::KeyWidth:
    return config.keyHeads * config.headDim;
  }
  return 1;
}

/// The extent in the words of its file, e.g. "num_attention_heads 4 * head_dim 16".
static std::string describe(const DecoderConfig &config, Extent extent) {
  bool gguf = config.isGguf;
  switch (extent) {
  case Extent::None:
    break;
  case Extent::Vocabulary:
    return fmt::format("{} {}", gguf ? "llama.vocab_size" : "vocab_size", config.vocabulary);
  case Extent::Hidden:
    return fmt::format("{} {}", gguf ? "llama.embedding_length" : "hidden_size", config.hidden);
  case Extent::Intermediate:
    return fmt::format("{} {}", gguf ? "llama.feed_forward_length" : "intermediate_size",
                       config.intermediate);
  case Extent::QueryWidth:
    return fmt::format("{} {} * {} {}",
                       gguf ? "llama.attention.head_count" : "num_attention_heads", config.heads,
                       gguf ? "head size" : "head_dim", config.headDim);
  case Extent::KeyWidth:
    return fmt::format("{} {} * {} {}",
                       gguf ? "llama.attention.head_count_kv" : "num_key_value_heads",
                       config.keyHeads, gguf ? "head size" : "head_dim", config.headDim);
  }
  return "";
}

static bool applies(const DecoderConfig &config, When when) {
  switch (when) {
  case When::Always:
    return true;
  case When::QkvBias:
    return config.qkvBias;
  case When::OutputBias:
    return config.outputBias;
  case When::MlpBias:
    return config.mlpBias;
  case When::Untied:
    return !config.tiedEmbeddings;
  }
  return false;
}

static std::string nameOf(const char *pattern, int64_t layer) {
  return fmt::format(fmt::runtime(pattern), layer);
}

/// Calls `visit(rule, layer)` for every tensor that the model has.
template <typename F> static void forEachWeight(const DecoderConfig &config, F visit) {
  for (const Rule &rule : rules) {
    if (!applies(config, rule.when))
      continue;
    bool perLayer = StringRef(rule.huggingFace).contains("{}");
    for (int64_t layer = 0, end = perLayer ? config.layers : 1; layer < end; ++layer)
      visit(rule, layer);
  }
}

static DecoderWeight makeWeight(const DecoderConfig &config, const Rule &rule, int64_t layer) {
  DecoderWeight weight;
  weight.name = nameOf(rule.huggingFace, layer);
  weight.shape.push_back(extentOf(config, rule.rows));
  if (rule.columns != Extent::None)
    weight.shape.push_back(extentOf(config, rule.columns));
  if (rule.permuted && config.isGguf)
    weight.unpermuteRows = config.headDim;
  return weight;
}

/// Checks the shape and type of a tensor.
static Error checkTensor(const DecoderConfig &config, const Checkpoint &checkpoint,
                         const Rule &rule, const DecoderWeight &weight) {
  const rt::StoredTensor &stored = *weight.stored;
  const std::string &file = checkpoint.files[stored.file];
  if (stored.shape != weight.shape) {
    std::string reason = describe(config, rule.rows);
    if (rule.columns != Extent::None)
      reason += " and " + describe(config, rule.columns);
    return makeError(fmt::format("{}: tensor {} has shape {}, but {} says {}, which needs {}", file,
                                 stored.name, rt::shapeText(stored.shape), config.file, reason,
                                 rt::shapeText(weight.shape)));
  }
  if (!rt::isFloatDType(stored.dtype))
    return makeError(fmt::format("{}: tensor {} is {}, expected floating-point numbers", file,
                                 stored.name, rt::dtypeName(stored.dtype)));
  return Error::success();
}

/// True for tensors that checkpoints hold although no model reads them: saved
/// rotary frequencies, and the head of a model with tied embeddings.
static bool isIgnored(const DecoderConfig &config, StringRef name) {
  return !config.isGguf && (name.ends_with(".rotary_emb.inv_freq") ||
                            (config.tiedEmbeddings && name == "lm_head.weight"));
}

/// The first few of `names`.
static std::string listNames(const std::vector<std::string> &names) {
  std::vector<std::string> shown(names.begin(), names.begin() + std::min<size_t>(names.size(), 3));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > 3)
    text += fmt::format(" and {} more", names.size() - 3);
  return text;
}

static Error checkNames(const DecoderConfig &config, const Checkpoint &checkpoint,
                        const std::vector<std::string> &missing, const StringSet<> &known) {
  std::string where = checkpoint.files.empty() ? config.file : checkpoint.files.front();
  if (checkpoint.files.size() > 1)
    where += fmt::format(" and {} more files", checkpoint.files.size() - 1);
  if (!missing.empty())
    return makeError(fmt::format("{}: tensor{} {} {} missing; {} describes a {} of {} layers that "
                                 "has {}",
                                 where, missing.size() > 1 ? "s" : "", listNames(missing),
                                 missing.size() > 1 ? "are" : "is", config.file,
                                 config.architecture, config.layers,
                                 missing.size() > 1 ? "them" : "it"));
  std::vector<std::string> unexpected;
  for (const rt::StoredTensor &tensor : checkpoint.tensors)
    if (!known.contains(tensor.name) && !isIgnored(config, tensor.name))
      unexpected.push_back(tensor.name);
  if (unexpected.empty())
    return Error::success();
  return makeError(fmt::format("{}: unexpected tensor{} {}; {} describes a {} of {} layers that "
                               "does not have {}",
                               where, unexpected.size() > 1 ? "s" : "", listNames(unexpected),
                               config.file, config.architecture, config.layers,
                               unexpected.size() > 1 ? "them" : "it"));
}

void DecoderWeights::add(Weight weight, int64_t layer, DecoderWeight entry) {
  indexes[{static_cast<int>(weight), layer}] = weights.size();
  weights.push_back(std::move(entry));
}

Expected<DecoderWeights> DecoderWeights::resolve(const DecoderConfig &config,
                                                 const Checkpoint &checkpoint) {
  StringMap<const rt::StoredTensor *> tensors;
  for (const rt::StoredTensor &tensor : checkpoint.tensors)
    tensors[tensor.name] = &tensor;
  DecoderWeights result;
  StringSet<> known;
  std::vector<std::string> missing;
  Error error = Error::success();
  forEachWeight(config, [&](const Rule &rule, int64_t layer) {
    DecoderWeight weight = makeWeight(config, rule, layer);
    std::string name = config.isGguf ? nameOf(rule.gguf, layer) : weight.name;
    known.insert(name);
    weight.stored = tensors.lookup(name);
    if (!weight.stored)
      return missing.push_back(name);
    if (!error)
      error = checkTensor(config, checkpoint, rule, weight);
    result.add(rule.weight, layer, std::move(weight));
  });
  // What is missing or too much says more than a shape does.
  if (Error names = checkNames(config, checkpoint, missing, known)) {
    consumeError(std::move(error));
    return std::move(names);
  }
  if (error)
    return std::move(error);
  return result;
}

DecoderWeights DecoderWeights::random(const DecoderConfig &config) {
  DecoderWeights result;
  forEachWeight(config, [&](const Rule &rule, int64_t layer) {
    result.add(rule.weight, layer, makeWeight(config, rule, layer));
  });
  return result;
}

const DecoderWeight *DecoderWeights::find(Weight weight, int64_t layer) const {
  auto found = indexes.find({static_cast<int>(weight), layer});
  return found == indexes.end() ? nullptr : &weights[found->second];
}
