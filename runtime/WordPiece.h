//===- WordPiece.h - The longest tokens, from left to right -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/ByteTrie.h"
#include "runtime/TokenModel.h"

namespace mlsys::rt {

/// A model with "type": "WordPiece". A word is cut into the longest tokens there
/// are, from left to right; those inside it carry a prefix in the vocabulary. A
/// word that cannot be cut so, or is too long, is one unknown token.
class WordPiece : public TokenModel {
public:
  explicit WordPiece(const nlohmann::json &model);

  std::unique_ptr<TokenModel::Session> makeSession() const override;
  std::optional<int32_t> find(std::string_view token) const override;
  void forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const override;

private:
  class Session;

  StringMap ids;
  ByteTrie trie;
  uint32_t insideWords; ///< The node behind the prefix.
  std::string unknownToken;
  std::optional<int32_t> unknown;
  size_t mostCharacters;
};

} // namespace mlsys::rt
