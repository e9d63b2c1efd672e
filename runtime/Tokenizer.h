//===- Tokenizer.h - From text to token ids and back ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/PostProcessor.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// A tokenizer.json, with the results of Hugging Face's tokenizers library. Its
/// sections "truncation" and "padding" are not applied: how long a text may be is
/// the caller's decision. Immutable and cheap to copy; one object may serve many
/// threads.
class Tokenizer {
public:
  /// Reads the texts of tokenizer.json and, if there is one, of
  /// tokenizer_config.json (more added tokens, names of bos and eos, the chat
  /// template). Throws rt::Error naming what is wrong or not supported.
  static Tokenizer fromJson(const std::string &tokenizerJson,
                            const std::string &tokenizerConfigJson = "");

  /// The ids of `text`. Added tokens are found in the text. With
  /// `addSpecialTokens` the post-processor adds its own, such as bos. Text that
  /// is not UTF-8 is repaired first (see isValidUtf8).
  std::vector<int64_t> encode(std::string_view text,
                              bool addSpecialTokens = true) const;

  /// The ids of `text` in which special tokens are text like any other, so that
  /// nobody can write them; none is added either.
  std::vector<int64_t> encodePlain(std::string_view text) const;

  /// The same as `encode`, with type ids.
  Encoding encodeTyped(std::string_view text, bool addSpecialTokens = true) const;

  /// The ids of two texts that a model compares, such as a question and a
  /// passage. Throws rt::Error when the tokenizer does not say how they go
  /// together.
  Encoding encodePair(std::string_view first, std::string_view second,
                      bool addSpecialTokens = true) const;

  /// The text of `ids`. Ids that are no tokens are left out, and so are special
  /// tokens if asked for.
  std::string decode(std::span<const int64_t> ids,
                     bool skipSpecialTokens) const;

  /// The bytes that token `id` stands for, which may be part of a character;
  /// empty when `id` is no token.
  std::string tokenBytes(int64_t id) const;

  /// The token `id` as the vocabulary writes it, if there is one.
  std::optional<std::string_view> token(int64_t id) const;

  /// True for special tokens, such as bos.
  bool isSpecial(int64_t id) const;

  /// One more than the largest id.
  int64_t vocabSize() const;

  /// The id of a token as the vocabulary writes it, if it has it.
  std::optional<int64_t> tokenId(std::string_view token) const;

  /// From tokenizer_config.json: the tokens' names and the chat template; empty
  /// when it says none.
  const std::string &bosToken() const;
  const std::string &eosToken() const;
  const std::string &chatTemplate() const;

private:
  friend class Detokenizer;
  struct Data;
  explicit Tokenizer(std::shared_ptr<const Data> data);

  std::shared_ptr<const Data> data;
};

} // namespace mlsys::rt
