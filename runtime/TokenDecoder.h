//===- TokenDecoder.h - Decoders of tokenizer.json --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Normalizer.h"
#include "runtime/Utf8.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// From tokens to text: Replace, ByteFallback, Fuse, Strip, ByteLevel,
/// Metaspace, WordPiece, BPEDecoder, CTC, and sequences of them. Immutable; a
/// DecoderStream runs it.
class TokenDecoder {
public:
  /// Reads the "decoder" of a tokenizer.json; null joins tokens with spaces.
  static TokenDecoder fromJson(const nlohmann::json &description);

  /// The bytes that one token stands for, wherever it is. They need not be
  /// whole characters.
  std::string bytesOf(std::string_view token) const;

private:
  friend class DecoderStream;
  enum class Kind {
    Replace,
    ByteFallback,
    Fuse,
    Strip,
    ByteLevel,
    Metaspace,
    WordPiece,
    WordEnd, ///< BPEDecoder.
    Ctc,
    Join
  };
  struct Step {
    Kind kind;
    Replacement replacement;    ///< For Replace.
    std::string character = {}; ///< For Strip and Metaspace.
    std::string mark = {};      ///< WordPiece: prefix; WordEnd: suffix; Ctc: padding.
    std::string delimiter = {}; ///< For Ctc: between words.
    bool cleans = false;        ///< WordPiece, Ctc: no space before punctuation.
    size_t start = 0, stop = 0; ///< For Strip: how many to take off at most.
    bool dropsFirst = false;    ///< For Metaspace: none in the first token.
  };
  void add(const nlohmann::json &description, int depth);
  static bool read(Step &step, const std::string &type, const nlohmann::json &description);

  std::vector<Step> steps;
};

/// Decodes tokens as they come. What a later token may still change is held
/// back, so the pieces joined are the decoded whole.
class DecoderStream {
public:
  /// `decoder` outlives this object.
  explicit DecoderStream(const TokenDecoder &decoder);

  /// The text that is settled once `token` is there; whole characters only.
  std::string push(std::string_view token);

  /// The text that was held back. The stream then starts anew.
  std::string finish();

private:
  struct State {
    std::string buffer; ///< The token so far, where a step needs it whole.
    std::string bytes;  ///< ByteFallback: the current run of byte tokens.
    std::string last;   ///< WordEnd, Ctc: the last token.
    Utf8Repairer repairer;
    size_t taken = 0;    ///< Strip: characters taken off in front.
    size_t held = 0;     ///< Strip: characters that may be the token's end.
    bool inside = false; ///< Strip: past the front of the token.
    size_t tokens = 0;   ///< Tokens that have ended.
  };
  void text(size_t step, std::string_view part);
  void endToken(size_t step);
  void flush(size_t step);
  void flushBytes(size_t step);
  void strip(size_t step, std::string_view part);

  const TokenDecoder &decoder;
  std::vector<State> states;
  std::string out;
};

} // namespace mlsys::rt
