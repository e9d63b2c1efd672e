//===- GgufVocabulary.cpp - The tokenizer of a GGUF file ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/GgufVocabulary.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>
#include <string_view>
#include <unordered_map>

using namespace mlsys::rt;
using Json = nlohmann::json;

/// Token types of the format.
enum TokenType { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };

/// The mark that SentencePiece writes for a space.
static const char *const mark = "\u2581";

//===----------------------------------------------------------------------===//
// Pre-tokenizers of byte-level models
//===----------------------------------------------------------------------===//

static const char *const gpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

static const char *const llama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

static const char *const qwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

static const char *const tekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

static const char *const gpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {
/// What a value of tokenizer.ggml.pre stands for: patterns whose matches are
/// split off, one after another.
struct PreTokenizerEntry {
  const char *name;
  std::vector<const char *> patterns;
  bool ignoreMerges = false;
  bool composes = false; ///< Text is put into NFC first.
};
} // namespace

static std::span<const PreTokenizerEntry> preTokenizers() {
  static const PreTokenizerEntry table[] = {
      {"default",
       {R"([\p{P}\$\+<=>\^~\|]+)", gpt2Pattern, R"(\p{N}+)",
        "[0-9][0-9][0-9]"}},
      {"gpt-2", {gpt2Pattern}},
      {"phi-2", {gpt2Pattern}},
      {"mpt", {gpt2Pattern}},
      {"olmo", {gpt2Pattern}},
      {"roberta-bpe", {gpt2Pattern}},
      {"llama-bpe", {llama3Pattern}, true},
      {"llama3", {llama3Pattern}, true},
      {"llama-v3", {llama3Pattern}, true},
      {"dbrx", {llama3Pattern}},
      {"smaug-bpe", {llama3Pattern}},
      {"smollm", {R"(\p{N})", gpt2Pattern}},
      {"starcoder", {R"(\p{N})", gpt2Pattern}},
      {"refact", {R"(\p{N})", gpt2Pattern}},
      {"codeshell", {R"(\p{N})", gpt2Pattern}},
      {"command-r", {R"(\p{N})", gpt2Pattern}},
      {"exaone", {R"(\p{N})", gpt2Pattern}},
      {"qwen2", {qwen2Pattern}, false, true},
      {"stablelm2", {qwen2Pattern}},
      {"deepseek-r1-qwen", {qwen2Pattern}, false, true},
      {"tekken", {tekkenPattern}, true},
      {"gpt-4o", {gpt4oPattern}},
      {"llama4", {gpt4oPattern}},
  };
  return table;
}

static const PreTokenizerEntry &findPreTokenizer(std::string_view name) {
  if (name.empty())
    name = "default";
  std::string known;
  for (const PreTokenizerEntry &entry : preTokenizers()) {
    if (entry.name == name)
      return entry;
    known.append(known.empty() ? "" : ", ").append(entry.name);
  }
  throw Error("tokenizer.ggml.pre '{}' is not known; known are {}", name,
              known);
}

//===----------------------------------------------------------------------===//
// The parts of the tokenizer.json
//===----------------------------------------------------------------------===//

static void check(const GgufVocabulary &vocabulary) {
  size_t count = vocabulary.tokens.size();
  if (count == 0)
    throw Error("tokenizer.ggml.tokens is empty");
  auto fits = [&](const char *name, size_t size) {
    if (size != 0 && size != count)
      throw Error("tokenizer.ggml.{} has {} entries for {} tokens", name, size,
                  count);
  };
  fits("token_type", vocabulary.types.size());
  fits("scores", vocabulary.scores.size());
  auto isToken = [&](const char *name, int64_t id) {
    if (id != -1 && (id < 0 || id >= static_cast<int64_t>(count)))
      throw Error("tokenizer.ggml.{} is {}, but there are {} tokens", name, id,
                  count);
  };
  isToken("bos_token_id", vocabulary.bosId);
  isToken("eos_token_id", vocabulary.eosId);
  isToken("unknown_token_id", vocabulary.unkId);
  for (size_t i = 0; i < count; ++i)
    if (!isValidUtf8(vocabulary.tokens[i]))
      throw Error("tokenizer.ggml.tokens: token {} is not UTF-8", i);
  for (size_t i = 0; i < vocabulary.merges.size(); ++i)
    if (!isValidUtf8(vocabulary.merges[i]))
      throw Error("tokenizer.ggml.merges: merge {} is not UTF-8", i);
}

static Json makeVocabulary(const GgufVocabulary &vocabulary) {
  Json result = Json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    // Of equal tokens (paddings, mostly) the first counts.
    if (!vocabulary.tokens[id].empty())
      result.emplace(vocabulary.tokens[id], id);
  return result;
}

static Json makeAddedTokens(const GgufVocabulary &vocabulary) {
  Json result = Json::array();
  for (size_t id = 0; id < vocabulary.types.size(); ++id) {
    int32_t type = vocabulary.types[id];
    bool special = type == Control || type == Unknown;
    if (!special && type != UserDefined)
      continue;
    result.push_back({{"id", id},
                      {"content", vocabulary.tokens[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", special}});
  }
  return result;
}

static Json makePostProcessor(const GgufVocabulary &vocabulary) {
  bool bos = vocabulary.addBos, eos = vocabulary.addEos;
  if (!bos && !eos)
    return nullptr;
  Json template_ = Json::array(), special = Json::object();
  auto add = [&](int64_t id, const char *name) {
    if (id < 0)
      throw Error("tokenizer.ggml.add_{0}_token is set, but there is no "
                  "tokenizer.ggml.{0}_token_id",
                  name);
    const std::string &token = vocabulary.tokens[id];
    template_.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    special[token] = {{"id", token},
                      {"ids", Json::array({id})},
                      {"tokens", Json::array({token})}};
  };
  if (bos)
    add(vocabulary.bosId, "bos");
  template_.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (eos)
    add(vocabulary.eosId, "eos");
  return {{"type", "TemplateProcessing"},
          {"single", template_},
          {"pair", Json::array()},
          {"special_tokens", special}};
}

static Json replace(const char *from, const char *to) {
  return {
      {"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

static Json sequence(const char *key, Json steps) {
  return {{"type", "Sequence"}, {key, std::move(steps)}};
}

//===----------------------------------------------------------------------===//
// The two models
//===----------------------------------------------------------------------===//

static void addByteLevel(const GgufVocabulary &vocabulary, Json &root) {
  const PreTokenizerEntry &pre = findPreTokenizer(vocabulary.pre);
  Json steps = Json::array();
  for (const char *pattern : pre.patterns)
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  Json bytes = {{"type", "ByteLevel"},
                {"add_prefix_space", false},
                {"trim_offsets", true},
                {"use_regex", false}};
  steps.push_back(bytes);
  root["pre_tokenizer"] = sequence("pretokenizers", std::move(steps));
  root["decoder"] = bytes;
  if (pre.composes)
    root["normalizer"] = {{"type", "NFC"}};
  root["model"] = {{"type", "BPE"},
                   {"vocab", makeVocabulary(vocabulary)},
                   {"merges", vocabulary.merges},
                   {"ignore_merges", pre.ignoreMerges}};
}

/// The merges that SentencePiece's scores stand for: every way to make a token
/// of two, by falling score of the whole. As in Hugging Face's converter, of
/// equal scores the longer left part comes first, then the longer right part,
/// then the order of the ids.
static Json deriveMerges(const GgufVocabulary &vocabulary) {
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    ids.emplace(vocabulary.tokens[id], id);
  struct Merge {
    int64_t whole, left, right;
    float score;
    size_t leftLength, rightLength;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    std::string_view whole = vocabulary.tokens[id];
    // A token longer than this would make the work quadratic in its length.
    constexpr size_t longest = 4096;
    if (whole.size() > longest)
      throw Error(
          "tokenizer.ggml.tokens: token {} has {} bytes; at most {} are "
          "supported",
          id, whole.size(), longest);
    if (ids[whole] != static_cast<int64_t>(id))
      continue;
    size_t length = countCodePoints(whole), leftLength = 0;
    for (size_t at = 0; at < whole.size();) {
      at += codePointLength(whole[at]);
      ++leftLength;
      auto left = ids.find(whole.substr(0, at));
      auto right = ids.find(whole.substr(at));
      if (left != ids.end() && right != ids.end() && at < whole.size())
        merges.push_back({static_cast<int64_t>(id), left->second, right->second,
                          vocabulary.scores[id], leftLength,
                          length - leftLength});
    }
  }
  std::sort(merges.begin(), merges.end(), [](const Merge &a, const Merge &b) {
    if (a.score != b.score)
      return a.score > b.score;
    if (a.leftLength != b.leftLength)
      return a.leftLength > b.leftLength;
    if (a.rightLength != b.rightLength)
      return a.rightLength > b.rightLength;
    if (a.whole != b.whole)
      return a.whole < b.whole;
    return a.left < b.left;
  });
  Json result = Json::array();
  for (const Merge &merge : merges)
    result.push_back(Json::array(
        {vocabulary.tokens[merge.left], vocabulary.tokens[merge.right]}));
  return result;
}

static void addSentencePiece(const GgufVocabulary &vocabulary, Json &root) {
  if (vocabulary.scores.empty())
    throw Error(
        "tokenizer.ggml.scores is missing, which the model 'llama' needs");
  for (size_t id = 0; id < vocabulary.scores.size(); ++id)
    if (vocabulary.scores[id] != vocabulary.scores[id])
      throw Error("tokenizer.ggml.scores: the score of token {} is NaN", id);
  Json normalizers = Json::array(), decoders = Json::array();
  if (vocabulary.addSpacePrefix)
    normalizers.push_back({{"type", "Prepend"}, {"prepend", mark}});
  normalizers.push_back(replace(" ", mark));
  root["normalizer"] = sequence("normalizers", std::move(normalizers));
  decoders.push_back(replace(mark, " "));
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (vocabulary.addSpacePrefix)
    decoders.push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  root["decoder"] = sequence("decoders", std::move(decoders));
  Json model = {{"type", "BPE"},
                {"vocab", makeVocabulary(vocabulary)},
                {"merges", deriveMerges(vocabulary)},
                {"fuse_unk", true},
                {"byte_fallback", true}};
  if (vocabulary.unkId >= 0)
    model["unk_token"] = vocabulary.tokens[vocabulary.unkId];
  root["model"] = std::move(model);
}

std::string mlsys::rt::tokenizerJsonFromGguf(const GgufVocabulary &vocabulary) {
  check(vocabulary);
  Json root = {{"version", "1.0"},
               {"added_tokens", makeAddedTokens(vocabulary)},
               {"normalizer", nullptr},
               {"pre_tokenizer", nullptr},
               {"post_processor", makePostProcessor(vocabulary)}};
  if (vocabulary.model == "gpt2")
    addByteLevel(vocabulary, root);
  else if (vocabulary.model == "llama")
    addSentencePiece(vocabulary, root);
  else
    throw Error(
        "tokenizer.ggml.model '{}' is not supported; supported are gpt2 and "
        "llama",
        vocabulary.model);
  return root.dump();
}
