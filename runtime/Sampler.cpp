//===- Sampler.cpp - Choosing the next token ------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Sampler.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cmath>

using namespace mlsys::rt;

Sampler::Sampler(SamplerOptions options)
    : options(options), state(options.seed) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    throw Error("the temperature must be 0 or more, not {}",
                options.temperature);
  if (options.topK < 0)
    throw Error("top-k must be 0 (all) or more, not {}", options.topK);
  if (!(options.topP > 0 && options.topP <= 1))
    throw Error("top-p must be above 0 and at most 1, not {}", options.topP);
  if (!(options.minP >= 0 && options.minP <= 1))
    throw Error("min-p must be from 0 to 1, not {}", options.minP);
}

/// The next number of splitmix64 in [0, 1), with 53 random bits.
double Sampler::uniform() {
  uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
}

void Sampler::weigh(std::span<const float> logits, float largest) {
  candidates.clear();
  double temperature = options.temperature;
  for (size_t i = 0; i < logits.size(); ++i) {
    double weight =
        std::exp((static_cast<double>(logits[i]) - largest) / temperature);
    // The largest weighs 1; what underflows has no chance.
    if (weight > 0)
      candidates.push_back({weight, static_cast<int64_t>(i)});
  }
}

void Sampler::keepTopK() {
  size_t count = static_cast<size_t>(options.topK);
  if (count == 0 || count >= candidates.size())
    return;
  std::nth_element(
      candidates.begin(), candidates.begin() + count, candidates.end(),
      [](const Candidate &a, const Candidate &b) {
        return a.weight != b.weight ? a.weight > b.weight : a.index < b.index;
      });
  candidates.resize(count);
}

/// Puts the candidates into the order of their tokens, so that the sum does not depend on
/// how they were found.
double Sampler::sortAndSum() {
  std::sort(
      candidates.begin(), candidates.end(),
      [](const Candidate &a, const Candidate &b) { return a.index < b.index; });
  double total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  return total;
}

void Sampler::keepTopP() {
  if (options.topP >= 1)
    return;
  double total = sortAndSum();
  // A heap, since few candidates usually reach P.
  auto less = [](const Candidate &a, const Candidate &b) {
    return a.weight != b.weight ? a.weight < b.weight : a.index > b.index;
  };
  std::make_heap(candidates.begin(), candidates.end(), less);
  double reached = 0;
  auto kept = candidates.end();
  do {
    std::pop_heap(candidates.begin(), kept, less);
    reached += (--kept)->weight;
  } while (kept != candidates.begin() && reached < options.topP * total);
  candidates.erase(candidates.begin(), kept);
}

void Sampler::keepMinP() {
  if (options.minP > 0)
    std::erase_if(candidates, [&](const Candidate &candidate) {
      return candidate.weight < options.minP;
    });
}

int64_t Sampler::sample(std::span<const float> logits) {
  if (logits.empty())
    throw Error("there are no logits to sample from");
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]))
      throw Error(
          "the logit of token {} is NaN: the model's numbers overflow in "
          "this precision, or its weights are broken",
          i);
    if (logits[i] > logits[best])
      best = i;
  }
  if (!std::isfinite(logits[best]))
    throw Error(
        "the largest logit is {} (token {}): the model's numbers overflow in "
        "this precision, or its weights are broken",
        logits[best], best);
  if (options.temperature == 0)
    return static_cast<int64_t>(best);

  weigh(logits, logits[best]);
  keepTopK();
  keepTopP();
  keepMinP();
  double total = sortAndSum();
  double left = uniform() * total;
  for (const Candidate &candidate : candidates) {
    left -= candidate.weight;
    if (left < 0)
      return candidate.index;
  }
  // Rounding may leave a rest above the last candidate.
  return candidates.back().index;
}
