//===- Sampler.h - Choosing the next token ----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlsys::rt {

/// How the next token is chosen. The filters apply in this order, as in Hugging
/// Face's generate: temperature, topK, topP, minP; what is left is drawn from
/// with its probabilities scaled to sum to one.
struct SamplerOptions {
  float temperature = 0; ///< Divides the logits; 0 takes the largest logit.
  int topK = 0;          ///< Keep the K most probable; 0 keeps all.
  float topP = 1;        ///< Keep the fewest whose probabilities reach P.
  float minP = 0;        ///< Drop what is below this part of the largest.
  uint64_t seed = 0;
};

/// Draws tokens. The same seed gives the same draws on every platform: the
/// generator is our own, and of equal logits the lower index counts as larger.
class Sampler {
public:
  /// Throws rt::Error when an option is out of range.
  explicit Sampler(SamplerOptions options);

  /// The index of the chosen logit. Logits of minus infinity are never chosen;
  /// NaN or plus infinity, or no finite logit at all, throw rt::Error.
  int64_t sample(std::span<const float> logits);

private:
  struct Candidate {
    double weight;
    int64_t index;
  };

  void weigh(std::span<const float> logits, float largest);
  void keepTopK();
  double sortAndSum();
  void keepTopP();
  void keepMinP();
  double uniform();

  SamplerOptions options;
  uint64_t state;
  std::vector<Candidate> candidates;
};

} // namespace mlsys::rt
