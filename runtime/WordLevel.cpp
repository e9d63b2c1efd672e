//===- WordLevel.cpp - One token a word -----------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/WordLevel.h"

#include "runtime/JsonFields.h"

using namespace mlsys::rt;

WordLevel::WordLevel(const nlohmann::json &description) : ids(readVocabulary(description)) {
  unknownToken = json::member(description, "unk_token").is_null()
                     ? "<unk>"
                     : json::string(description, "unk_token", "tokenizer.json, model");
}

std::optional<int32_t> WordLevel::find(std::string_view token) const {
  auto it = ids.find(token);
  return it == ids.end() ? std::nullopt : std::optional(it->second);
}

void WordLevel::forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const {
  for (const auto &[token, id] : ids)
    sink(token, id);
}

class WordLevel::Session : public TokenModel::Session {
public:
  explicit Session(const WordLevel &model) : model(model), unknown(model.find(model.unknownToken)) {}

  void encode(std::string_view word, std::vector<int64_t> &ids) override {
    std::optional<int32_t> id = model.find(word);
    if (!id)
      id = unknown;
    if (!id)
      throw Error("the text has the unknown word '{}', and the vocabulary lacks '{}'", word,
                  model.unknownToken);
    ids.push_back(*id);
  }

private:
  const WordLevel &model;
  std::optional<int32_t> unknown;
};

std::unique_ptr<TokenModel::Session> WordLevel::makeSession() const {
  return std::make_unique<Session>(*this);
}
