//===- AnswerText.cpp - The text of generated ids ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/AnswerText.h"

#include <algorithm>

using namespace mlsys::rt;

AnswerText::AnswerText(const Tokenizer &tokenizer, std::vector<std::string> stopStrings)
    : tokenizer(tokenizer), detokenizer(tokenizer, /*skipSpecialTokens=*/true),
      stop(std::move(stopStrings)) {}

void AnswerText::follow(std::span<const int64_t> prompt) {
  Detokenizer copy(tokenizer, /*skipSpecialTokens=*/true);
  for (int64_t id : prompt) {
    detokenizer.push(id);
    copy.push(id);
  }
  held = copy.finish();
}

/// Takes off `text` the beginning that it shares with what the prompt left held, and that off
/// `held`.
std::string AnswerText::withoutHeld(std::string text) {
  size_t shared =
      std::mismatch(held.begin(), held.end(), text.begin(), text.end()).first - held.begin();
  // Other text than the prompt's: nothing of it is left to come.
  held = shared == text.size() ? held.substr(shared) : "";
  return text.substr(shared);
}

std::string AnswerText::push(int64_t id) { return stop.push(withoutHeld(detokenizer.push(id))); }

std::string AnswerText::finish() {
  std::string text = stop.push(withoutHeld(detokenizer.finish()));
  return text + stop.finish();
}
