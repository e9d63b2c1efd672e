//===- Detokenizer.h - Text from token ids, one at a time -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Tokenizer.h"

#include <cstdint>
#include <memory>
#include <string>

namespace mlsys::rt {

/// Turns generated ids into text as they come. Every piece is whole UTF-8
/// characters, and all pieces joined equal Tokenizer::decode of all ids. With
/// byte-fallback tokens a run of bytes appears once the run has ended, since
/// only then is known whether it is UTF-8.
class Detokenizer {
public:
  /// Keeps what it needs of `tokenizer`.
  Detokenizer(const Tokenizer &tokenizer, bool skipSpecialTokens);
  ~Detokenizer();
  Detokenizer(Detokenizer &&) noexcept;
  Detokenizer &operator=(Detokenizer &&) noexcept;

  /// The text that is settled once `id` is there; often empty.
  std::string push(int64_t id);

  /// The text that was held back. Another sequence may follow.
  std::string finish();

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace mlsys::rt
