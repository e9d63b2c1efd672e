//===- GgufVocabulary.h - The tokenizer of a GGUF file ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Gguf.h"
#include "runtime/TextMaterial.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::rt {

/// The tokenizer.ggml.* values of a GGUF file. Ids are -1 where there is none.
struct GgufVocabulary {
  std::string model; ///< "gpt2" (byte-level BPE), "llama" (SentencePiece's BPE),
                     ///< "gemma4" (BPE of characters), "bert" (WordPiece) or
                     ///< "t5" (Unigram).
  std::string pre;   ///< How byte-level text is split; see GgufPreTokenizers.h.
  std::vector<std::string> tokens; ///< By id.
  std::vector<float> scores;       ///< By id; for "llama" and "t5".
  std::vector<int32_t> types; ///< By id: 1 normal, 2 unknown, 3 control, 4 user
                              ///< defined, 5 unused, 6 byte; may be empty.
  std::vector<std::string> merges; ///< "left right", by rank; for "gpt2" and "gemma4".
  std::string charsmap; ///< SentencePiece's precompiled normalisation; for "t5".
  int64_t bosId = -1, eosId = -1, unkId = -1, sepId = -1, padId = -1, maskId = -1;
  int64_t clsId = -1; ///< Where it is not bosId.
  bool addBos = false, addEos = false, addSpacePrefix = true;
  bool removeExtraSpaces = false;               ///< For "t5".
  bool lowercase = true, stripAccents = true;   ///< For "bert".
};

/// The vocabulary of a file, with llama.cpp's defaults for what it does not
/// say; nothing when the file has none. Throws rt::Error naming file and key.
std::optional<GgufVocabulary> readGgufVocabulary(const Gguf &file);

/// A tokenizer.json that behaves as the GGUF file's tokenizer; for
/// Tokenizer::fromJson. Throws rt::Error when the model or its pre-tokenizer is
/// not known, or when the lists do not fit together.
std::string tokenizerJsonFromGguf(const GgufVocabulary &vocabulary);

/// What a file says about text: its tokenizer as a tokenizer.json, special
/// tokens and chat templates as a tokenizer_config.json, the ids that begin and
/// end a text. Throws rt::Error naming the file.
TextMaterial readGgufText(const Gguf &file);

} // namespace mlsys::rt
