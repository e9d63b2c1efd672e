//===- Unigram.h - The likeliest tokens of a word ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/ByteTrie.h"
#include "runtime/TokenModel.h"

namespace mlsys::rt {

/// A model with "type": "Unigram": tokens with scores. A word becomes the tokens
/// with the highest sum of scores; characters without a token fuse to one
/// unknown token, or become bytes.
class Unigram : public TokenModel {
public:
  explicit Unigram(const nlohmann::json &model);

  std::unique_ptr<TokenModel::Session> makeSession() const override;
  std::optional<int32_t> find(std::string_view token) const override;
  void forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const override;

private:
  class Session;

  std::vector<std::string> tokens; ///< By id.
  std::vector<double> scores;      ///< By id.
  StringMap ids;
  ByteTrie trie;
  std::vector<int32_t> byteTokens;
  double unknownScore = 0;
  int32_t unknown = -1;
  bool byteFallback = false;
};

} // namespace mlsys::rt
