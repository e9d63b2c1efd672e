//===- Sampler.h - Choosing the next token ----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DeviceSampling.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mlsys::rt {

/// How the next token is chosen. The logits change in this order, which is that of Hugging
/// Face's generate: logitBias; repeatPenalty, then frequencyPenalty and presencePenalty, for
/// tokens among the last repeatLastN of prompt and answer; temperature; topK; topP; minP;
/// typicalP. Each filter sees the probabilities of what the filters before it left, scaled to
/// sum to one; from the rest a token is drawn.
struct SamplerOptions {
  float temperature = 0; ///< Divides the logits; 0 takes the largest logit.
  int topK = 0;          ///< Keep the K most probable; 0 keeps all.
  float topP = 1;        ///< Keep the fewest whose probabilities reach P.
  float minP = 0;        ///< Drop what is below this part of the largest.
  /// Keep the fewest that reach P, those first whose surprise (minus the logarithm of the
  /// probability) is nearest to its mean; 1 keeps all.
  float typicalP = 1;
  /// Divides positive logits and multiplies negative ones of tokens that were there.
  float repeatPenalty = 1;
  /// Subtracted from the logit of a token that was there, and once for each time it was.
  float presencePenalty = 0, frequencyPenalty = 0;
  /// How many of the latest tokens the penalties look at; -1: all, 0: none.
  int64_t repeatLastN = -1;
  /// Ids and what is added to their logits; minus infinity rules a token out.
  std::vector<std::pair<int64_t, float>> logitBias = {};
  uint64_t seed = 0;
};

/// Draws tokens. The same seed draws the same tokens on every platform, and as far as can be
/// from the slightly different logits of another device: a draw is a race in which each token
/// has a number that only the seed, the count of draws and the token's id decide, and the
/// largest of probability / -log(number) wins. Logits that differ by rounding change a draw
/// about as seldom as their distributions differ (no other token's share moves, as in a
/// cumulative sum). Of equal logits the lower id counts as larger.
class Sampler {
public:
  /// Throws rt::Error when an option is out of range.
  explicit Sampler(SamplerOptions options);

  /// The tokens before the next draw, for the penalties.
  void setContext(std::span<const int64_t> ids);

  /// The id of the chosen token, which joins the context. Logits of minus infinity are never
  /// chosen; NaN or plus infinity, or no finite logit at all, throw rt::Error.
  int64_t sample(std::span<const float> logits);

  /// The next draw as a device makes it: the same token, but for rounding. Nothing when the options need more
  /// than a device does: bias, penalties, typicalP.
  std::optional<DeviceSampling> forDevice() const;
  /// Counts a draw that a device made, as sample() would have.
  void accept(int64_t id);

  /// The probability of each token that the next draw could give, by rising id. Throws as
  /// sample() does.
  std::vector<std::pair<int64_t, double>> distribution(std::span<const float> logits);

private:
  struct Candidate {
    double weight;
    int64_t index;
  };

  void addToContext(int64_t id);
  std::span<const float> adjust(std::span<const float> logits);
  void weigh(std::span<const float> logits, float largest);
  void filter(std::span<const float> logits);
  void keepTopK();
  double sortAndSum();
  void keepFewest(double share, std::span<const double> order);
  void keepTopP();
  void keepMinP();
  void keepTypical();
  int64_t race();

  SamplerOptions options;
  /// Draws so far.
  uint64_t draws = 0;
  /// The tokens that the penalties look at, and how often each is there.
  std::deque<int64_t> context;
  std::unordered_map<int64_t, int64_t> counts;
  std::vector<Candidate> candidates;
  std::vector<float> adjusted;
};

} // namespace mlsys::rt
