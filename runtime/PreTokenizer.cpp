//===- PreTokenizer.cpp - Pre-tokenizers of tokenizer.json ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/PreTokenizer.h"

#include "runtime/JsonFields.h"
#include "runtime/PreTokenizerSteps.h"

using namespace mlsys::rt;

PreTokenizerStep::~PreTokenizerStep() = default;

static const char *const where = "tokenizer.json, pre_tokenizer";

void PreTokenizer::add(const nlohmann::json &description, int depth) {
  if (json::string(description, "type", where) == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child : json::list(description, "pretokenizers", where))
      add(child, depth + 1);
    return;
  }
  // Bytes left to the model would hide the stand-ins from a later step.
  if (bytesAtEnd)
    steps.push_back(makeByteCharacters());
  bytesAtEnd = addPreTokenizerSteps(description, steps);
}

PreTokenizer PreTokenizer::fromJson(const nlohmann::json &description, bool takesBytes) {
  PreTokenizer result;
  if (!description.is_null())
    result.add(description, 0);
  if (result.bytesAtEnd && !takesBytes) {
    result.steps.push_back(makeByteCharacters());
    result.bytesAtEnd = false;
  }
  return result;
}

void PreTokenizer::run(size_t step, Piece piece, PieceSink sink) const {
  if (piece.text.empty())
    return;
  if (step == steps.size())
    return sink(piece);
  steps[step]->split(piece, [&](Piece part) { run(step + 1, part, sink); });
}
