//===- TokenModel.h - From words to token ids -------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/FunctionRef.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlsys::rt {

/// Finds by std::string_view in maps that are keyed by std::string.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

/// From strings to numbers.
using StringMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

/// The "model" of a tokenizer.json: a vocabulary and a way to write words with
/// it. Immutable; one object may serve many threads.
class TokenModel {
public:
  /// Ids are below this, which bounds what a lying file can allocate.
  static constexpr int64_t idLimit = int64_t(1) << 24;

  /// What encoding texts needs besides the model: buffers and a cache of words.
  /// Not to be shared between threads.
  class Session {
  public:
    virtual ~Session();
    /// Appends the ids of one word (well-formed UTF-8, not empty).
    virtual void encode(std::string_view word, std::vector<int64_t> &ids) = 0;
  };

  virtual ~TokenModel();

  /// Reads the "model" member: BPE, Unigram, WordPiece or WordLevel. With
  /// `wordsAreBytes`, which only BPE takes, the words to encode are raw bytes
  /// and the vocabulary writes them with byte-level characters.
  static std::unique_ptr<const TokenModel> fromJson(const nlohmann::json &model,
                                                    bool wordsAreBytes);

  /// True when the model that `model` describes takes words as bytes.
  static bool takesBytes(const nlohmann::json &model);

  /// A session; the model outlives it.
  virtual std::unique_ptr<Session> makeSession() const = 0;

  /// The id of `token`, if the vocabulary has it.
  virtual std::optional<int32_t> find(std::string_view token) const = 0;

  /// Hands every token of the vocabulary and its id to `sink`.
  virtual void forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const = 0;
};

/// Reads the "vocab" object of a model.
StringMap readVocabulary(const nlohmann::json &model);

/// The ids of <0x00> to <0xFF>, or -1 where there is none, from `find`.
std::vector<int32_t> findByteTokens(FunctionRef<std::optional<int32_t>(std::string_view)> find);

} // namespace mlsys::rt
