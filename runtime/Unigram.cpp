//===- Unigram.cpp - The likeliest tokens of a word -----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Unigram.h"

#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"
#include "runtime/WordCache.h"

#include <algorithm>

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, model";

/// How much less likely than any token an unknown character is.
static constexpr double unknownPenalty = 10;

/// A longer token would make the work quadratic in its length.
static constexpr size_t longestToken = 4096;

Unigram::Unigram(const nlohmann::json &description) {
  double lowest = INFINITY;
  for (const json::Json &entry : json::list(description, "vocab", where)) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      throw Error("{}: token {} is not a pair of a string and a score", where, tokens.size());
    const std::string &token = entry[0].get_ref<const std::string &>();
    if (token.size() > longestToken)
      throw Error("{}: token {} has {} bytes; at most {} are supported", where, tokens.size(),
                  token.size(), longestToken);
    tokens.push_back(token);
    scores.push_back(entry[1].get<double>());
    lowest = std::min(lowest, scores.back());
  }
  if (static_cast<int64_t>(tokens.size()) > idLimit)
    throw Error("{}: {} tokens are too many", where, tokens.size());
  unknownScore = lowest - unknownPenalty;
  if (const json::Json &id = json::member(description, "unk_id"); !id.is_null())
    unknown = static_cast<int32_t>(json::index(id, static_cast<int64_t>(tokens.size()), where));
  byteFallback = json::boolean(description, "byte_fallback", false, where);
  if (const json::Json &alpha = json::member(description, "alpha");
      alpha.is_number() && alpha.get<double>() != 0)
    throw Error("{}: sampling of tokens ('alpha') is not supported", where);

  std::vector<ByteTrie::Entry> entries;
  for (size_t id = 0; id < tokens.size(); ++id) {
    // Of equal tokens the last one counts.
    ids.insert_or_assign(tokens[id], static_cast<int32_t>(id));
    if (!tokens[id].empty())
      entries.emplace_back(tokens[id], static_cast<int32_t>(id));
  }
  trie = ByteTrie(std::move(entries));
  byteTokens = findByteTokens([this](std::string_view token) { return find(token); });
}

std::optional<int32_t> Unigram::find(std::string_view token) const {
  auto it = ids.find(token);
  return it == ids.end() ? std::nullopt : std::optional(it->second);
}

void Unigram::forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const {
  for (size_t id = 0; id < tokens.size(); ++id)
    sink(tokens[id], static_cast<int32_t>(id));
}

class Unigram::Session : public TokenModel::Session {
public:
  explicit Session(const Unigram &model) : model(model) {}

  void encode(std::string_view word, std::vector<int64_t> &ids) override {
    if (cache.find(word, ids))
      return;
    size_t before = ids.size();
    findBestPath(word);
    appendPath(word, ids);
    cache.add(word, std::span<const int64_t>(ids).subspan(before));
  }

private:
  /// The best way to write the text up to a byte, by its last token.
  struct Step {
    double score;
    int32_t id; ///< -1: there is no way yet.
    uint32_t begin;
  };

  void findBestPath(std::string_view word) {
    if (word.size() >= ~uint32_t(0))
      throw Error("a word of {} bytes is too long to encode", word.size());
    steps.assign(word.size() + 1, {0, -1, 0});
    auto propose = [&](size_t begin, size_t end, double score, int32_t id) {
      Step &step = steps[end];
      if (step.id < 0 || score > step.score)
        step = {score, id, static_cast<uint32_t>(begin)};
    };
    for (size_t begin = 0; begin < word.size();) {
      double score = steps[begin].score;
      size_t length = codePointLength(word[begin]);
      bool hasCharacter = false;
      uint32_t node = ByteTrie::root;
      for (size_t end = begin; end < word.size();) {
        node = model.trie.next(node, static_cast<unsigned char>(word[end]));
        if (node == ByteTrie::none)
          break;
        ++end;
        int32_t id = model.trie.value(node);
        if (id < 0)
          continue;
        propose(begin, end, model.scores[id] + score, id);
        hasCharacter |= end - begin == length;
      }
      if (!hasCharacter) {
        if (model.unknown < 0)
          throw Error("the text has a character without a token, and the tokenizer has no unk_id");
        propose(begin, begin + length, model.unknownScore + score, model.unknown);
      }
      begin += length;
    }
  }

  void appendPath(std::string_view word, std::vector<int64_t> &ids) {
    path.clear();
    for (size_t end = word.size(); end > 0; end = steps[end].begin)
      path.push_back(static_cast<uint32_t>(end));
    for (size_t i = path.size(); i-- > 0;) {
      const Step &step = steps[path[i]];
      if (step.id != model.unknown) {
        ids.push_back(step.id);
        continue;
      }
      while (i > 0 && steps[path[i - 1]].id == model.unknown)
        --i;
      appendUnknown(word.substr(step.begin, path[i] - step.begin), ids);
    }
  }

  void appendUnknown(std::string_view text, std::vector<int64_t> &ids) {
    if (auto id = model.find(text)) {
      ids.push_back(*id);
      return;
    }
    auto has = [&](char byte) { return model.byteTokens[static_cast<unsigned char>(byte)] >= 0; };
    if (!model.byteFallback || !std::all_of(text.begin(), text.end(), has)) {
      ids.push_back(model.unknown);
      return;
    }
    for (unsigned char byte : text)
      ids.push_back(model.byteTokens[byte]);
  }

  const Unigram &model;
  WordCache cache;
  std::vector<Step> steps;
  std::vector<uint32_t> path;
};

std::unique_ptr<TokenModel::Session> Unigram::makeSession() const {
  return std::make_unique<Session>(*this);
}
