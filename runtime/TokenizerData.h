//===- TokenizerData.h - What a tokenizer consists of -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/AddedTokens.h"
#include "runtime/Bpe.h"
#include "runtime/Normalizer.h"
#include "runtime/PreTokenizer.h"
#include "runtime/TokenDecoder.h"
#include "runtime/Tokenizer.h"

namespace mlsys::rt {

/// The loaded parts. The text goes through them from top to bottom.
struct Tokenizer::Data {
  AddedTokenMatcher rawMatcher; ///< Tokens found before normalization.
  Normalizer normalizer;
  AddedTokenMatcher normalizedMatcher; ///< Tokens found after it.
  PreTokenizer preTokenizer;
  std::optional<Bpe> model;
  /// The post-processor: ids, with -1 where the ids of the text go.
  std::vector<int64_t> frame = {-1};
  TokenDecoder decoder;

  std::vector<std::string> tokens; ///< By id; empty where there is none.
  std::vector<bool> special;       ///< By id.
  StringMap added;                 ///< Added tokens by content.
  std::string bosToken, eosToken, chatTemplate;

  /// Appends the ids of a stretch without tokens of rawMatcher.
  void encodeStretch(Bpe::Session &session, Piece stretch,
                     std::vector<int64_t> &ids) const;

  void addToken(const AddedToken &token);
  void loadTokens(const nlohmann::json &root, const nlohmann::json &config);
  void loadPostProcessor(const nlohmann::json &description, int depth);
  void loadConfig(const nlohmann::json &config);
};

} // namespace mlsys::rt
