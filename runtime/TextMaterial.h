//===- TextMaterial.h - What turns ids into text ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::rt {

/// The texts that turn a language model's ids into text: files as their bytes;
/// what a model does not have is empty.
struct TextMaterial {
  std::string tokenizerJson, tokenizerConfigJson, generationConfigJson;
  std::string chatTemplate;
  /// -1: none.
  int64_t bosId = -1;
  std::vector<int64_t> eosIds;
  /// What the model was made for; 0 when unknown.
  int64_t contextLength = 0;
  int64_t vocabSize = 0;
  /// What the model gives: "logits" of tokens, "hidden" states or "scores" of a text.
  std::string output = "logits";
  /// How hidden states become an embedding ("mean", "cls" or "last"; empty when the files do not
  /// say), and whether it is scaled to length 1.
  std::string pooling;
  bool normalize = false;
  /// The names of scores.
  std::vector<std::string> labels;
};

/// The tokenizer of a folder that has a tokenizer.json, with its
/// tokenizer_config.json if there is one; nothing for other paths. Throws
/// rt::Error when a file cannot be read.
std::optional<TextMaterial> readTokenizerFolder(const std::string &path);

} // namespace mlsys::rt
