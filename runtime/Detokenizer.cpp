//===- Detokenizer.cpp - Text from token ids, one at a time ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Detokenizer.h"

#include "runtime/TokenizerData.h"

using namespace mlsys::rt;

struct Detokenizer::State {
  Tokenizer tokenizer;
  bool skipSpecialTokens;
  DecoderStream stream;
};

Detokenizer::Detokenizer(const Tokenizer &tokenizer, bool skipSpecialTokens)
    : state(new State{tokenizer, skipSpecialTokens,
                      DecoderStream(tokenizer.data->decoder)}) {}

Detokenizer::~Detokenizer() = default;
Detokenizer::Detokenizer(Detokenizer &&) noexcept = default;
Detokenizer &Detokenizer::operator=(Detokenizer &&) noexcept = default;

std::string Detokenizer::push(int64_t id) {
  if (!state->tokenizer.token(id) ||
      (state->skipSpecialTokens && state->tokenizer.isSpecial(id)))
    return "";
  return state->stream.push(state->tokenizer.data->decoded[id]);
}

std::string Detokenizer::finish() { return state->stream.finish(); }
