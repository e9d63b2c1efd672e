//===- GgufVocabulary.cpp - The tokenizer of a GGUF file ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/GgufVocabulary.h"

#include "runtime/Base64.h"
#include "runtime/Error.h"
#include "runtime/GgufPreTokenizers.h"
#include "runtime/Utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

using namespace mlsys::rt;
using Json = nlohmann::json;

/// Token types of the format.
enum TokenType { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };

/// The mark that SentencePiece writes for a space.
static const char *const mark = "\u2581";

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
  isToken("seperator_token_id", vocabulary.sepId);
  isToken("cls_token_id", vocabulary.clsId);
  for (size_t i = 0; i < count; ++i)
    if (!isValidUtf8(vocabulary.tokens[i]))
      throw Error("tokenizer.ggml.tokens: token {} is not UTF-8", i);
  for (size_t i = 0; i < vocabulary.merges.size(); ++i)
    if (!isValidUtf8(vocabulary.merges[i]))
      throw Error("tokenizer.ggml.merges: merge {} is not UTF-8", i);
}

/// Models that score their tokens have a number for each.
static void checkScores(const GgufVocabulary &vocabulary) {
  if (vocabulary.scores.empty())
    throw Error("tokenizer.ggml.scores is missing, which the model '{}' needs", vocabulary.model);
  for (size_t id = 0; id < vocabulary.scores.size(); ++id)
    if (!std::isfinite(vocabulary.scores[id]))
      throw Error("tokenizer.ggml.scores: the score of token {} is {}", id, vocabulary.scores[id]);
}

static Json makeVocabulary(const GgufVocabulary &vocabulary) {
  Json result = Json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    // Of equal tokens (paddings, mostly) the first counts.
    if (!vocabulary.tokens[id].empty())
      result.emplace(vocabulary.tokens[id], id);
  return result;
}

/// True for tokens that are found in the text itself.
static bool isAdded(const GgufVocabulary &vocabulary, size_t id) {
  if (id >= vocabulary.types.size())
    return false;
  int32_t type = vocabulary.types[id];
  return type == Control || type == Unknown || type == UserDefined;
}

static Json makeAddedToken(int64_t id, const std::string &content, bool special) {
  return {{"id", id},         {"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

static Json makeAddedTokens(const GgufVocabulary &vocabulary) {
  Json result = Json::array();
  for (size_t id = 0; id < vocabulary.types.size(); ++id)
    if (isAdded(vocabulary, id))
      result.push_back(makeAddedToken(static_cast<int64_t>(id), vocabulary.tokens[id],
                                      vocabulary.types[id] != UserDefined));
  return result;
}

static Json makePostProcessor(const GgufVocabulary &vocabulary) {
  bool bos = vocabulary.addBos, eos = vocabulary.addEos;
  if (!bos && !eos)
    return nullptr;
  Json special = Json::object();
  auto token = [&](int64_t id, const char *name, int type) -> Json {
    if (id < 0)
      throw Error("tokenizer.ggml.add_{0}_token is set, but there is no "
                  "tokenizer.ggml.{0}_token_id",
                  name);
    const std::string &text = vocabulary.tokens[id];
    special[text] = {{"id", text}, {"ids", Json::array({id})}, {"tokens", Json::array({text})}};
    return {{"SpecialToken", {{"id", text}, {"type_id", type}}}};
  };
  auto part = [](const char *name, int type) -> Json {
    return {{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json single = Json::array(), pair = Json::array();
  int64_t first = vocabulary.clsId >= 0 ? vocabulary.clsId : vocabulary.bosId;
  if (bos)
    single.push_back(token(first, "bos", 0));
  single.push_back(part("A", 0));
  if (eos)
    single.push_back(token(vocabulary.eosId, "eos", 0));
  pair = single;
  // BERT's pairs have no second beginning.
  if (bos && vocabulary.model != "bert")
    pair.push_back(token(first, "bos", 1));
  pair.push_back(part("B", 1));
  if (eos)
    pair.push_back(token(vocabulary.eosId, "eos", 1));
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
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
// The models
//===----------------------------------------------------------------------===//

/// Pairs instead of "left right", so that a part may hold a space.
static Json makeMerges(const GgufVocabulary &vocabulary) {
  Json result = Json::array();
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string &merge = vocabulary.merges[i];
    size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size())
      throw Error("tokenizer.ggml.merges: merge {} is '{}', expected two tokens with a space "
                  "between",
                  i, merge);
    result.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  return result;
}

static void addByteLevel(const GgufVocabulary &vocabulary, Json &root) {
  const GgufPreTokenizer &pre = findGgufPreTokenizer(vocabulary.pre);
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
                   {"merges", makeMerges(vocabulary)},
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
  checkScores(vocabulary);
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

/// Gemma 4's: merges of characters, with no splitting but at line ends. A run of
/// line ends is one token where there is one, whatever the merges say.
static void addCharacterMerges(const GgufVocabulary &vocabulary, Json &root) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string &token = vocabulary.tokens[id];
    if (token.size() > 1 && token.find_first_not_of('\n') == std::string::npos)
      root["added_tokens"].push_back(makeAddedToken(static_cast<int64_t>(id), token, false));
  }
  root["normalizer"] = replace(" ", mark);
  root["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "[^\\n]+|[\\n]+"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  root["decoder"] = sequence("decoders", {replace(mark, " "), {{"type", "ByteFallback"}},
                                          {{"type", "Fuse"}}});
  Json model = {{"type", "BPE"},
                {"vocab", makeVocabulary(vocabulary)},
                {"merges", makeMerges(vocabulary)},
                {"fuse_unk", true},
                {"byte_fallback", true}};
  if (vocabulary.unkId >= 0)
    model["unk_token"] = vocabulary.tokens[vocabulary.unkId];
  root["model"] = std::move(model);
}

/// GGUF marks the beginning of a word, BERT's vocabulary its continuations.
static std::string wordPiece(const std::string &token) {
  if (token.starts_with(mark))
    return token.substr(std::string_view(mark).size());
  if (token.starts_with("[") && token.ends_with("]"))
    return token;
  return "##" + token;
}

static void addWordPiece(const GgufVocabulary &vocabulary, Json &root) {
  if (vocabulary.unkId < 0)
    throw Error("tokenizer.ggml.unknown_token_id is missing, which the model 'bert' needs");
  Json words = Json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    words.emplace(isAdded(vocabulary, id) ? vocabulary.tokens[id] : wordPiece(vocabulary.tokens[id]),
                  id);
  root["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", true},
                        {"strip_accents", vocabulary.stripAccents},
                        {"lowercase", vocabulary.lowercase}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  const std::string &unknown = vocabulary.tokens[vocabulary.unkId];
  root["model"] = {{"type", "WordPiece"},
                   {"vocab", std::move(words)},
                   {"unk_token", isAdded(vocabulary, vocabulary.unkId) ? unknown : wordPiece(unknown)},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100}};
}

static void addUnigram(const GgufVocabulary &vocabulary, Json &root) {
  checkScores(vocabulary);
  Json words = Json::array();
  bool spansWords = false;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string &token = vocabulary.tokens[id];
    words.push_back(Json::array({token, vocabulary.scores[id]}));
    spansWords |= !isAdded(vocabulary, id) && token.find(mark, 1) != std::string::npos;
  }
  Json normalizers = Json::array();
  if (!vocabulary.charsmap.empty())
    normalizers.push_back({{"type", "Precompiled"},
                           {"precompiled_charsmap", encodeBase64(vocabulary.charsmap)}});
  if (vocabulary.removeExtraSpaces) {
    normalizers.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    normalizers.push_back(
        {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  if (!normalizers.empty())
    root["normalizer"] = sequence("normalizers", std::move(normalizers));
  Json metaspace = {{"type", "Metaspace"},
                    {"replacement", mark},
                    {"prepend_scheme", vocabulary.addSpacePrefix ? "always" : "never"},
                    {"split", !spansWords}};
  root["pre_tokenizer"] = metaspace;
  root["decoder"] = std::move(metaspace);
  root["model"] = {{"type", "Unigram"}, {"vocab", std::move(words)}, {"byte_fallback", false}};
  if (vocabulary.unkId >= 0)
    root["model"]["unk_id"] = vocabulary.unkId;
}

namespace {
struct ModelEntry {
  const char *name;
  void (*add)(const GgufVocabulary &, Json &);
};
} // namespace

static constexpr ModelEntry models[] = {{"gpt2", addByteLevel},
                                        {"llama", addSentencePiece},
                                        {"gemma4", addCharacterMerges},
                                        {"bert", addWordPiece},
                                        {"t5", addUnigram}};

std::string mlsys::rt::tokenizerJsonFromGguf(const GgufVocabulary &vocabulary) {
  check(vocabulary);
  Json root = {{"version", "1.0"},
               {"added_tokens", makeAddedTokens(vocabulary)},
               {"normalizer", nullptr},
               {"pre_tokenizer", nullptr},
               {"post_processor", makePostProcessor(vocabulary)}};
  for (const ModelEntry &model : models)
    if (vocabulary.model == model.name) {
      model.add(vocabulary, root);
      return root.dump();
    }
  throw Error("tokenizer.ggml.model '{}' is not supported; supported are gpt2, llama, gemma4, bert "
              "and t5",
              vocabulary.model);
}
