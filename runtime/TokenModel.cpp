//===- TokenModel.cpp - From words to token ids ---------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TokenModel.h"

#include "runtime/Bpe.h"
#include "runtime/JsonFields.h"
#include "runtime/Unigram.h"
#include "runtime/WordLevel.h"
#include "runtime/WordPiece.h"

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, model";

TokenModel::~TokenModel() = default;
TokenModel::Session::~Session() = default;

/// The type of a model. Old files leave it out, so its members tell.
static std::string typeOf(const nlohmann::json &model) {
  if (!json::member(model, "type").is_null())
    return json::string(model, "type", where);
  if (!json::member(model, "merges").is_null())
    return "BPE";
  if (json::member(model, "vocab").is_array())
    return "Unigram";
  bool hasPrefix = !json::member(model, "continuing_subword_prefix").is_null();
  return hasPrefix ? "WordPiece" : "WordLevel";
}

bool TokenModel::takesBytes(const nlohmann::json &model) { return typeOf(model) == "BPE"; }

std::unique_ptr<const TokenModel> TokenModel::fromJson(const nlohmann::json &model,
                                                       bool wordsAreBytes) {
  std::string type = typeOf(model);
  if (type == "BPE")
    return std::make_unique<Bpe>(model, wordsAreBytes);
  if (type == "Unigram")
    return std::make_unique<Unigram>(model);
  if (type == "WordPiece")
    return std::make_unique<WordPiece>(model);
  if (type == "WordLevel")
    return std::make_unique<WordLevel>(model);
  throw Error("{} '{}' is not supported; supported are BPE, Unigram, WordPiece and WordLevel", where,
              type);
}

StringMap mlsys::rt::readVocabulary(const nlohmann::json &model) {
  const json::Json &vocabulary = json::member(model, "vocab");
  if (!vocabulary.is_object())
    throw Error("{}: 'vocab' must be an object but is {}", where, vocabulary.type_name());
  StringMap result;
  result.reserve(vocabulary.size());
  for (const auto &[token, id] : vocabulary.items())
    result.emplace(token, json::index(id, TokenModel::idLimit, where));
  return result;
}

std::vector<int32_t>
mlsys::rt::findByteTokens(FunctionRef<std::optional<int32_t>(std::string_view)> find) {
  std::vector<int32_t> result;
  for (int byte = 0; byte < 256; ++byte)
    result.push_back(find(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  return result;
}
