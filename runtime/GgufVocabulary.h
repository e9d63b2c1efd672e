//===- GgufVocabulary.h - The tokenizer of a GGUF file ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mlsys::rt {

/// The tokenizer.ggml.* values of a GGUF file.
struct GgufVocabulary {
  std::string model; ///< "gpt2" (byte-level) or "llama" (SentencePiece).
  std::string pre;   ///< How byte-level text is split; see the .cpp.
  std::vector<std::string> tokens; ///< By id.
  std::vector<float> scores;       ///< By id; for "llama".
  std::vector<int32_t> types; ///< By id: 1 normal, 2 unknown, 3 control, 4 user
                              ///< defined, 5 unused, 6 byte; may be empty.
  std::vector<std::string> merges; ///< "left right", by rank; for "gpt2".
  int64_t bosId = -1, eosId = -1, unkId = -1;
  bool addBos = false, addEos = false, addSpacePrefix = true;
};

/// A tokenizer.json that behaves as the GGUF file's tokenizer; for
/// Tokenizer::fromJson. Throws rt::Error when the model or its pre-tokenizer is
/// not known, or when the lists do not fit together.
std::string tokenizerJsonFromGguf(const GgufVocabulary &vocabulary);

} // namespace mlsys::rt
