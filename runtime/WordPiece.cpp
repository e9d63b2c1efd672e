//===- WordPiece.cpp - The longest tokens, from left to right -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/WordPiece.h"

#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"
#include "runtime/WordCache.h"

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, model";

/// A longer token would make the work quadratic in its length.
static constexpr size_t longestToken = 4096;

WordPiece::WordPiece(const nlohmann::json &description) : ids(readVocabulary(description)) {
  auto text = [&](const char *key, const char *fallback) {
    bool absent = json::member(description, key).is_null();
    return absent ? std::string(fallback) : json::string(description, key, where);
  };
  std::vector<ByteTrie::Entry> entries;
  for (const auto &[token, id] : ids) {
    if (token.size() > longestToken)
      throw Error("{}: token {} has {} bytes; at most {} are supported", where, id, token.size(),
                  longestToken);
    entries.emplace_back(token, id);
  }
  trie = ByteTrie(std::move(entries));
  insideWords = trie.walk(ByteTrie::root, text("continuing_subword_prefix", "##"));
  unknownToken = text("unk_token", "[UNK]");
  unknown = find(unknownToken);
  const json::Json &most = json::member(description, "max_input_chars_per_word");
  mostCharacters = most.is_null()
                       ? 100
                       : static_cast<size_t>(json::index(most, int64_t(1) << 40, where));
}

std::optional<int32_t> WordPiece::find(std::string_view token) const {
  auto it = ids.find(token);
  return it == ids.end() ? std::nullopt : std::optional(it->second);
}

void WordPiece::forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const {
  for (const auto &[token, id] : ids)
    sink(token, id);
}

class WordPiece::Session : public TokenModel::Session {
public:
  explicit Session(const WordPiece &model) : model(model) {}

  void encode(std::string_view word, std::vector<int64_t> &ids) override {
    if (cache.find(word, ids))
      return;
    size_t before = ids.size();
    if (!cut(word, ids)) {
      ids.resize(before);
      if (!model.unknown)
        throw Error("the text has a word without tokens, and the vocabulary lacks '{}'",
                    model.unknownToken);
      ids.push_back(*model.unknown);
    }
    cache.add(word, std::span<const int64_t>(ids).subspan(before));
  }

private:
  bool cut(std::string_view word, std::vector<int64_t> &ids) const {
    if (word.size() > model.mostCharacters && countCodePoints(word) > model.mostCharacters)
      return false;
    for (size_t begin = 0; begin < word.size();) {
      uint32_t node = begin == 0 ? ByteTrie::root : model.insideWords;
      int32_t best = -1;
      size_t bestEnd = begin;
      for (size_t end = begin; node != ByteTrie::none && end < word.size();) {
        node = model.trie.next(node, static_cast<unsigned char>(word[end]));
        if (node == ByteTrie::none)
          break;
        ++end;
        if (int32_t id = model.trie.value(node); id >= 0) {
          best = id;
          bestEnd = end;
        }
      }
      if (best < 0)
        return false;
      ids.push_back(best);
      begin = bestEnd;
    }
    return true;
  }

  const WordPiece &model;
  WordCache cache;
};

std::unique_ptr<TokenModel::Session> WordPiece::makeSession() const {
  return std::make_unique<Session>(*this);
}
