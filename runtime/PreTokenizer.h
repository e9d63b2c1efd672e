//===- PreTokenizer.h - Pre-tokenizers of tokenizer.json --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/FunctionRef.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// A stretch of text on its way to the model.
struct Piece {
  std::string_view text;
  /// The piece begins where the whole input begins.
  bool atStart = false;
};

/// Takes pieces as they are made. The text of a piece lives until the call
/// returns.
using PieceSink = FunctionRef<void(Piece)>;

/// One step of pre-tokenization.
class PreTokenizerStep {
public:
  virtual ~PreTokenizerStep();
  /// Hands the parts of `piece` (not empty) to `sink`, in order; empty parts
  /// may be among them.
  virtual void split(Piece piece, PieceSink sink) const = 0;
};

/// Cuts text into the words that the model then encodes one by one: Split,
/// ByteLevel, Digits, Metaspace, Punctuation, BertPreTokenizer, Whitespace,
/// WhitespaceSplit, CharDelimiterSplit, UnicodeScripts, FixedLength, and
/// sequences of them.
class PreTokenizer {
public:
  /// Reads the "pre_tokenizer" of a tokenizer.json; null gives whole texts. When
  /// the model `takesBytes`, a final ByteLevel step leaves its words as bytes.
  static PreTokenizer fromJson(const nlohmann::json &description, bool takesBytes);

  /// True when words are raw bytes, and the stand-in characters that a final
  /// ByteLevel step writes are left to the model's tables.
  bool yieldsBytes() const { return bytesAtEnd; }

  /// Hands the words of `piece` (well-formed UTF-8) to `sink`; none is empty.
  void split(Piece piece, PieceSink sink) const { run(0, piece, sink); }

private:
  void add(const nlohmann::json &description, int depth);
  void run(size_t step, Piece piece, PieceSink sink) const;

  std::vector<std::unique_ptr<const PreTokenizerStep>> steps;
  bool bytesAtEnd = false;
};

} // namespace mlsys::rt
