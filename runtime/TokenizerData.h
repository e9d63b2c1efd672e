//===- TokenizerData.h - What a tokenizer consists of -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/AddedTokens.h"
#include "runtime/Normalizer.h"
#include "runtime/PostProcessor.h"
#include "runtime/PreTokenizer.h"
#include "runtime/TokenDecoder.h"
#include "runtime/TokenModel.h"
#include "runtime/Tokenizer.h"

#include <mutex>

namespace mlsys::rt {

/// The loaded parts. The text goes through them from top to bottom.
struct Tokenizer::Data {
  AddedTokenMatcher rawMatcher; ///< Tokens found before normalization.
  Normalizer normalizer;
  AddedTokenMatcher normalizedMatcher; ///< Tokens found after it.
  PreTokenizer preTokenizer;
  std::unique_ptr<const TokenModel> model;
  PostProcessor postProcessor;
  TokenDecoder decoder;

  std::vector<std::string> tokens; ///< By id; empty where there is none.
  std::vector<std::string> decoded; ///< By id, what the decoder is given.
  std::vector<bool> special;        ///< By id.
  StringMap added;                  ///< Added tokens by content.
  std::string bosToken, eosToken, chatTemplate;

  /// What a thread needs to encode.
  struct Session {
    std::unique_ptr<TokenModel::Session> model;
    Normalizer::Buffers buffers;
  };

  /// Appends the ids of `text`, without what the post-processor adds. With
  /// `specialIsText` special tokens are not looked for.
  void encode(std::string_view text, bool specialIsText, std::vector<int64_t> &ids) const;

  void loadTokens(const nlohmann::json &root, const nlohmann::json &config);
  void loadConfig(const nlohmann::json &config);

private:
  void encodeStretch(Session &session, Piece stretch, bool specialIsText,
                     std::vector<int64_t> &ids) const;
  std::vector<AddedToken> readAddedTokens(const nlohmann::json &root,
                                          const nlohmann::json &config) const;

  /// Sessions that no thread uses now; they keep their caches.
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Session>> idleSessions;
};

} // namespace mlsys::rt
