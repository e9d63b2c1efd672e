//===- Encoder.h - From token ids to rows of numbers ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Embeddings and scores: whole sequences go through a model, several in one step and
// without padding.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/KvCache.h"
#include "runtime/LanguageModel.h"

#include <vector>

namespace mlsys::rt {

/// One sequence for `encode`.
struct EncoderInput {
  std::span<const int64_t> ids;
  /// The segment of each token; empty: zeros.
  std::span<const int64_t> tokenTypes = {};
};

/// Runs sequences from their start. Returns [rows, model.vocabSize()] floats: a row for every
/// token, one sequence after another, when the model is perToken(), and the row of each
/// sequence's last token otherwise. `cache` is the model's and keeps nothing of them. A
/// sequence of an encoder must fit into one step; other models take long ones in parts.
/// Throws rt::Error.
std::vector<float> encode(LanguageModel &model, KvCache &cache,
                          std::span<const EncoderInput> inputs);

} // namespace mlsys::rt
