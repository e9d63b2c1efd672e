//===- GgufText.cpp - What a GGUF file says about text --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/GgufVocabulary.h"

#include "runtime/Error.h"
#include "runtime/GgufPreTokenizers.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace mlsys::rt {

using Json = nlohmann::json;

//===----------------------------------------------------------------------===//
// The vocabulary
//===----------------------------------------------------------------------===//

/// An array of numbers; nothing when the key is absent.
template <typename T>
static void readNumbers(const Gguf &file, const char *key, std::vector<T> &list) {
  const GgufValue *value = file.find(key);
  if (!value)
    return;
  if (value->type != GgufType::Array || value->elementType == GgufType::String ||
      value->elementType == GgufType::Array)
    throw Error("{}: metadata {} is not an array of numbers", file.path, key);
  list.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    double number = *value->element(i).asDouble();
    if (!(std::abs(number) < 2147483648.0))
      throw Error("{}: metadata {} holds {}, which is too large", file.path, key, number);
    list.push_back(static_cast<T>(number));
  }
}

/// An array of bytes as text.
static std::string readBytes(const Gguf &file, const char *key) {
  const GgufValue *value = file.find(key);
  if (!value)
    return {};
  if (value->type != GgufType::Array ||
      (value->elementType != GgufType::I8 && value->elementType != GgufType::U8))
    throw Error("{}: metadata {} is not an array of bytes", file.path, key);
  return std::string(reinterpret_cast<const char *>(value->raw.data()), value->raw.size());
}

namespace {
/// What llama.cpp takes for a model's special tokens when a file names none.
struct SpecialDefaults {
  const char *model;
  int64_t bos, eos, unk, sep, pad, mask;
};
} // namespace

static constexpr SpecialDefaults specialDefaults[] = {{"llama", 1, 2, 0, -1, -1, -1},
                                                      {"bert", 101, -1, 100, 102, 0, 103},
                                                      {"t5", -1, 1, 2, -1, 0, -1}};

static void readSpecialIds(const Gguf &file, GgufVocabulary &vocabulary) {
  SpecialDefaults defaults = {"", -1, -1, -1, -1, -1, -1};
  for (const SpecialDefaults &entry : specialDefaults)
    if (vocabulary.model == entry.model)
      defaults = entry;
  auto count = static_cast<int64_t>(vocabulary.tokens.size());
  auto read = [&](const char *name, int64_t standard) {
    std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    std::optional<uint64_t> id = file.getUnsigned(key);
    if (!id)
      return standard < count ? standard : -1;
    if (*id >= vocabulary.tokens.size())
      throw Error("{}: {} is {}, but there are {} tokens", file.path, key, *id, count);
    return static_cast<int64_t>(*id);
  };
  vocabulary.bosId = read("bos", defaults.bos);
  vocabulary.eosId = read("eos", defaults.eos);
  vocabulary.unkId = read("unknown", defaults.unk);
  // The format's own spelling, and the right one.
  vocabulary.sepId = read("separator", read("seperator", defaults.sep));
  vocabulary.padId = read("padding", defaults.pad);
  vocabulary.maskId = read("mask", defaults.mask);
  vocabulary.clsId = read("cls", -1);
}

std::optional<GgufVocabulary> readGgufVocabulary(const Gguf &file) {
  const std::vector<std::string> *tokens = file.getStrings("tokenizer.ggml.tokens");
  std::string model = file.getString("tokenizer.ggml.model").value_or("");
  if (!tokens || model == "none" || model == "no_vocab")
    return std::nullopt;
  GgufVocabulary vocabulary;
  vocabulary.tokens = *tokens;
  vocabulary.model = model;
  vocabulary.pre = file.getString("tokenizer.ggml.pre").value_or("");
  if (const std::vector<std::string> *merges = file.getStrings("tokenizer.ggml.merges"))
    vocabulary.merges = *merges;
  readNumbers(file, "tokenizer.ggml.scores", vocabulary.scores);
  readNumbers(file, "tokenizer.ggml.token_type", vocabulary.types);
  vocabulary.charsmap = readBytes(file, "tokenizer.ggml.precompiled_charsmap");
  readSpecialIds(file, vocabulary);

  bool isBert = model == "bert", isUnigram = model == "t5", isLlama = model == "llama";
  bool addsBos = isLlama || isBert || model == "gemma4";
  bool addsSeparator = isBert;
  if (model == "gpt2") {
    addsBos = findGgufPreTokenizer(vocabulary.pre).addsBos;
    addsSeparator = vocabulary.pre == "roberta-bpe" || vocabulary.pre == "jina-v1-en" ||
                    vocabulary.pre == "jina-v2-code";
  }
  // A default holds only where there is the token.
  std::optional<bool> addBos = file.getBool("tokenizer.ggml.add_bos_token");
  vocabulary.addBos = addBos.value_or(addsBos && vocabulary.bosId >= 0);
  std::optional<bool> addEos = file.getBool("tokenizer.ggml.add_eos_token");
  vocabulary.addEos = addEos.value_or(isUnigram && vocabulary.eosId >= 0);
  // A separator at the end does what an end token does.
  bool addSeparator = file.getBool("tokenizer.ggml.add_sep_token").value_or(addsSeparator);
  if (addSeparator && !vocabulary.addEos && vocabulary.sepId >= 0) {
    vocabulary.addEos = true;
    vocabulary.eosId = vocabulary.sepId;
  }
  vocabulary.addSpacePrefix =
      file.getBool("tokenizer.ggml.add_space_prefix").value_or(isLlama || isUnigram);
  vocabulary.removeExtraSpaces =
      file.getBool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  vocabulary.lowercase = file.getBool("tokenizer.ggml.normalizer.lowercase").value_or(true);
  vocabulary.stripAccents =
      file.getBool("tokenizer.ggml.normalizer.strip_accents").value_or(vocabulary.lowercase);
  return vocabulary;
}

//===----------------------------------------------------------------------===//
// Chat templates and ends
//===----------------------------------------------------------------------===//

/// The template of tokenizer.chat_template, or all that the file has by name.
static Json readTemplates(const Gguf &file, const std::string &plain) {
  const std::vector<std::string> *names = file.getStrings("tokenizer.chat_templates");
  if (!names || names->empty())
    return plain.empty() ? Json() : Json(plain);
  Json result = Json::array();
  if (!plain.empty())
    result.push_back({{"name", "default"}, {"template", plain}});
  for (const std::string &name : *names) {
    std::string key = "tokenizer.chat_template." + name;
    std::optional<std::string> text = file.getString(key);
    if (!text)
      throw Error("{}: tokenizer.chat_templates lists '{}', but there is no {}", file.path, name,
                  key);
    result.push_back({{"name", name}, {"template", *text}});
  }
  return result;
}

/// The tokens that end a turn, for files that do not name theirs.
static constexpr std::string_view turnEnds[] = {"<|eot_id|>", "<|im_end|>", "<|end|>",
                                                "<end_of_turn>", "<EOT>", "[EOT]",
                                                "<end_of_utterance>"};

/// Ids that end an answer: those that the file names, else a known end of turn.
static std::vector<int64_t> readEnds(const Gguf &file, const GgufVocabulary &vocabulary) {
  std::vector<int64_t> ends;
  auto add = [&](int64_t id) {
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end())
      ends.push_back(id);
  };
  if (std::optional<uint64_t> eos = file.getUnsigned("tokenizer.ggml.eos_token_id"))
    add(static_cast<int64_t>(*eos));
  else
    add(vocabulary.eosId);
  bool hasTurnEnd = false;
  for (const char *key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (std::optional<uint64_t> id = file.getUnsigned(key)) {
      if (*id >= vocabulary.tokens.size())
        throw Error("{}: {} is {}, but there are {} tokens", file.path, key, *id,
                    vocabulary.tokens.size());
      add(static_cast<int64_t>(*id));
      hasTurnEnd = true;
    }
  for (size_t id = 0; !hasTurnEnd && id < vocabulary.types.size(); ++id)
    if (vocabulary.types[id] == 3 && std::find(std::begin(turnEnds), std::end(turnEnds),
                                               vocabulary.tokens[id]) != std::end(turnEnds))
      add(static_cast<int64_t>(id));
  return ends;
}

TextMaterial readGgufText(const Gguf &file) {
  TextMaterial text;
  text.chatTemplate = file.getString("tokenizer.chat_template").value_or("");
  std::optional<GgufVocabulary> vocabulary = readGgufVocabulary(file);
  if (!vocabulary)
    return text;
  try {
    text.tokenizerJson = tokenizerJsonFromGguf(*vocabulary);
  } catch (const Error &error) {
    throw Error("{}: {}", file.path, error.what());
  }
  text.bosId = vocabulary->bosId;
  text.eosIds = readEnds(file, *vocabulary);

  Json config = Json::object();
  auto addToken = [&](const char *key, int64_t id) {
    if (id >= 0)
      config[key] = vocabulary->tokens[static_cast<size_t>(id)];
  };
  addToken("bos_token", vocabulary->bosId);
  addToken("eos_token", vocabulary->eosId);
  addToken("unk_token", vocabulary->unkId);
  addToken("sep_token", vocabulary->sepId);
  addToken("pad_token", vocabulary->padId);
  addToken("cls_token", vocabulary->clsId);
  addToken("mask_token", vocabulary->maskId);
  Json templates = readTemplates(file, text.chatTemplate);
  if (!templates.is_null())
    config["chat_template"] = std::move(templates);
  text.tokenizerConfigJson = config.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text;
}

} // namespace mlsys::rt
