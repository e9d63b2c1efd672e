//===- Sampler.cpp - Choosing the next token ------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Sampler.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace mlsys::rt;

static void check(bool holds, const char *name, const char *range, float value) {
  if (!holds)
    throw Error("the {} must be {}, not {}", name, range, value);
}

Sampler::Sampler(SamplerOptions optionsGiven) : options(std::move(optionsGiven)) {
  const SamplerOptions &o = options;
  check(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", "0 or more",
        o.temperature);
  if (o.topK < 0)
    throw Error("top-k must be 0 (all) or more, not {}", o.topK);
  check(o.topP > 0 && o.topP <= 1, "value of top-p", "above 0 and at most 1", o.topP);
  check(o.minP >= 0 && o.minP <= 1, "value of min-p", "from 0 to 1", o.minP);
  check(o.typicalP > 0 && o.typicalP <= 1, "value of typical", "above 0 and at most 1",
        o.typicalP);
  check(o.repeatPenalty > 0 && std::isfinite(o.repeatPenalty), "repeat penalty", "above 0",
        o.repeatPenalty);
  check(std::isfinite(o.presencePenalty), "presence penalty", "a finite number",
        o.presencePenalty);
  check(std::isfinite(o.frequencyPenalty), "frequency penalty", "a finite number",
        o.frequencyPenalty);
  if (o.repeatLastN < -1)
    throw Error("repeat-last-n must be -1 (all tokens) or more, not {}", o.repeatLastN);
  for (auto [id, bias] : o.logitBias)
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity())
      throw Error("the logit bias of token {} must be a finite number or -inf, not {}", id, bias);
}

//===----------------------------------------------------------------------===//
// Bias and penalties
//===----------------------------------------------------------------------===//

void Sampler::addToContext(int64_t id) {
  if (options.repeatLastN == 0)
    return;
  context.push_back(id);
  ++counts[id];
  if (options.repeatLastN > 0 && int64_t(context.size()) > options.repeatLastN) {
    if (auto oldest = counts.find(context.front()); --oldest->second == 0)
      counts.erase(oldest);
    context.pop_front();
  }
}

void Sampler::setContext(std::span<const int64_t> ids) {
  context.clear();
  counts.clear();
  for (int64_t id : ids)
    addToContext(id);
}

/// The logits with bias and penalties.
std::span<const float> Sampler::adjust(std::span<const float> logits) {
  bool penalizes = !counts.empty() &&
                   (options.repeatPenalty != 1 || options.presencePenalty != 0 ||
                    options.frequencyPenalty != 0);
  if (options.logitBias.empty() && !penalizes)
    return logits;
  adjusted.assign(logits.begin(), logits.end());
  for (auto [id, bias] : options.logitBias) {
    if (id < 0 || id >= int64_t(adjusted.size()))
      throw Error("the logit bias is for token {}, which is not in the vocabulary of {}", id,
                  adjusted.size());
    adjusted[size_t(id)] += bias;
  }
  if (!penalizes)
    return adjusted;
  for (auto [id, count] : counts) {
    if (id < 0 || id >= int64_t(adjusted.size()))
      continue;
    float &logit = adjusted[size_t(id)];
    logit = logit < 0 ? logit * options.repeatPenalty : logit / options.repeatPenalty;
    logit -= float(count) * options.frequencyPenalty + options.presencePenalty;
  }
  return adjusted;
}

//===----------------------------------------------------------------------===//
// Filters
//===----------------------------------------------------------------------===//

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

/// Keeps the fewest candidates that make up `share` of the weight, those with the largest
/// `order` first. The candidates are in the order of their tokens.
void Sampler::keepFewest(double share, std::span<const double> order) {
  double total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  std::vector<size_t> heap(candidates.size());
  std::iota(heap.begin(), heap.end(), size_t(0));
  // A heap, since few candidates usually reach the share.
  auto less = [&](size_t a, size_t b) {
    return order[a] != order[b] ? order[a] < order[b] : a > b;
  };
  std::make_heap(heap.begin(), heap.end(), less);
  double reached = 0;
  auto rest = heap.end();
  do {
    std::pop_heap(heap.begin(), rest, less);
    reached += candidates[*--rest].weight;
  } while (rest != heap.begin() && reached < share * total);
  std::sort(rest, heap.end());
  size_t kept = 0;
  for (auto at = rest; at != heap.end(); ++at)
    candidates[kept++] = candidates[*at];
  candidates.resize(kept);
}

void Sampler::keepTopP() {
  if (options.topP >= 1)
    return;
  sortAndSum();
  std::vector<double> order;
  order.reserve(candidates.size());
  for (const Candidate &candidate : candidates)
    order.push_back(candidate.weight);
  keepFewest(options.topP, order);
}

void Sampler::keepMinP() {
  if (options.minP > 0)
    std::erase_if(candidates, [&](const Candidate &candidate) {
      return candidate.weight < options.minP;
    });
}

void Sampler::keepTypical() {
  if (options.typicalP >= 1)
    return;
  double total = sortAndSum(), entropy = 0;
  std::vector<double> order;
  order.reserve(candidates.size());
  for (const Candidate &candidate : candidates) {
    double surprise = -std::log(candidate.weight / total);
    entropy += candidate.weight / total * surprise;
    order.push_back(surprise);
  }
  for (double &surprise : order)
    surprise = -std::abs(surprise - entropy);
  keepFewest(options.typicalP, order);
}

/// Makes the candidates those that may come, by rising id.
void Sampler::filter(std::span<const float> logits) {
  if (logits.empty())
    throw Error("there are no logits to sample from");
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::isnan(logits[i]))
      throw Error(
          "the logit of token {} is NaN: the model's numbers overflow in "
          "this precision, or its weights are broken",
          i);
  size_t best = size_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (!std::isfinite(logits[best]))
    throw Error(
        "the largest logit is {} (token {}): the model's numbers overflow in "
        "this precision, or its weights are broken",
        logits[best], best);
  std::span<const float> changed = adjust(logits);
  if (changed.data() != logits.data()) {
    best = size_t(std::max_element(changed.begin(), changed.end()) - changed.begin());
    if (!std::isfinite(changed[best]))
      throw Error("the logit bias and the penalties leave no token to choose");
  }
  if (options.temperature == 0) {
    candidates.assign(1, {1, int64_t(best)});
    return;
  }
  weigh(changed, changed[best]);
  keepTopK();
  keepTopP();
  keepMinP();
  keepTypical();
}

//===----------------------------------------------------------------------===//
// Drawing
//===----------------------------------------------------------------------===//

/// Number `index` of the splitmix64 generator that starts from `seed`.
static uint64_t randomBits(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

/// A race of exponentially distributed times with the weights as rates: whose time is the
/// least has won with the probability of its weight.
int64_t Sampler::race() {
  uint64_t seed = randomBits(options.seed, draws);
  double least = std::numeric_limits<double>::infinity();
  int64_t winner = candidates.front().index;
  for (const Candidate &candidate : candidates) {
    // In (0, 1), with 52 random bits.
    double number =
        (static_cast<double>(randomBits(seed, uint64_t(candidate.index)) >> 12) + 0.5) * 0x1p-52;
    // -log(x) is above 1 - x, which mostly decides without the logarithm.
    if (1 - number >= least * candidate.weight)
      continue;
    double time = -std::log(number) / candidate.weight;
    if (time < least) {
      least = time;
      winner = candidate.index;
    }
  }
  return winner;
}

int64_t Sampler::sample(std::span<const float> logits) {
  filter(logits);
  int64_t id = candidates.size() == 1 ? candidates.front().index : race();
  accept(id);
  return id;
}

void Sampler::accept(int64_t id) {
  ++draws;
  addToContext(id);
}

std::optional<DeviceSampling> Sampler::forDevice() const {
  if (!options.logitBias.empty() || options.typicalP < 1 || options.repeatPenalty != 1 ||
      options.presencePenalty != 0 || options.frequencyPenalty != 0)
    return std::nullopt;
  return DeviceSampling{options.temperature, options.topK, options.topP, options.minP, options.seed, draws};
}

std::vector<std::pair<int64_t, double>> Sampler::distribution(std::span<const float> logits) {
  filter(logits);
  double total = sortAndSum();
  std::vector<std::pair<int64_t, double>> result;
  for (const Candidate &candidate : candidates)
    result.emplace_back(candidate.index, candidate.weight / total);
  return result;
}
