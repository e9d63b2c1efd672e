//===- LogProbs.cpp - How probable tokens were ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/LogProbs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlsys;
using namespace mlsys::rt;

TokenLogProbs rt::logProbs(std::span<const float> logits, int64_t id, int64_t count) {
  double largest = *std::max_element(logits.begin(), logits.end()), total = 0;
  for (float logit : logits)
    total += std::exp(double(logit) - largest);
  double shift = largest + std::log(total);
  TokenLogProbs result{id, double(logits[size_t(id)]) - shift, {}};
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  auto end = order.begin() + std::clamp<int64_t>(count, 0, int64_t(order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    return logits[size_t(a)] != logits[size_t(b)] ? logits[size_t(a)] > logits[size_t(b)] : a < b;
  });
  for (auto at = order.begin(); at != end; ++at)
    result.best.emplace_back(*at, double(logits[size_t(*at)]) - shift);
  return result;
}
