//===- LogProbs.h - How probable tokens were --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace mlsys::rt {

/// The natural logarithm of the probability that the model gave a token, before any sampling
/// option, and the same of the most probable tokens.
struct TokenLogProbs {
  int64_t id = 0;
  double logProb = 0;
  /// Ids and logarithms, the most probable first; of equal ones the lower id.
  std::vector<std::pair<int64_t, double>> best;
};

/// The logarithms of softmax(logits) of `id` and of the `count` best.
TokenLogProbs logProbs(std::span<const float> logits, int64_t id, int64_t count);

} // namespace mlsys::rt
