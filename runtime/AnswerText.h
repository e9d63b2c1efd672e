//===- AnswerText.h - The text of generated ids -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Detokenizer.h"
#include "runtime/StopStrings.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// Turns generated ids into the text to show, as they come: without special tokens, and up to a
/// stop string.
class AnswerText {
public:
  AnswerText(const Tokenizer &tokenizer, std::vector<std::string> stopStrings);

  /// Before the first id: the ids go on from `prompt`, whose text is not shown. What a token
  /// becomes may depend on the tokens before it.
  void follow(std::span<const int64_t> prompt);

  /// The text that is settled once `id` is there; often empty.
  std::string push(int64_t id);
  /// The text that was held back.
  std::string finish();
  /// True when the text has come to a stop string.
  bool stopped() const { return stop.stopped(); }

private:
  std::string withoutHeld(std::string text);

  Tokenizer tokenizer;
  Detokenizer detokenizer;
  StopStrings stop;
  /// The end of the prompt's text that the detokenizer still holds.
  std::string held;
};

} // namespace mlsys::rt
