//===- SamplerDistributionTest.cpp - What the sampler draws from ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Error.h"
#include "runtime/Sampler.h"
#include "runtime/SamplerConfig.h"
#include "test/support/TempFolder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>

using namespace mlsys::rt;
using Json = nlohmann::json;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

SamplerOptions optionsOf(const Json &json) {
  SamplerOptions options;
  auto read = [&](const char *name, auto &value) { value = json.value(name, value); };
  read("temperature", options.temperature);
  read("top_k", options.topK);
  read("top_p", options.topP);
  read("min_p", options.minP);
  read("typical_p", options.typicalP);
  read("repetition_penalty", options.repeatPenalty);
  read("presence_penalty", options.presencePenalty);
  read("frequency_penalty", options.frequencyPenalty);
  read("last", options.repeatLastN);
  Json biases = json.value("bias", Json::object());
  for (const auto &[id, bias] : biases.items())
    options.logitBias.emplace_back(std::stoll(id), bias.is_string() ? -infinity : bias.get<float>());
  return options;
}

/// Each filter, and several together, against Hugging Face's.
TEST(SamplerDistribution, EqualsHuggingFace) {
  std::ifstream file(MLSYS_TEST_DATA "/sampling/cases.json");
  Json data = Json::parse(file);
  ASSERT_GT(data["cases"].size(), 40u);
  for (const Json &entry : data["cases"]) {
    SCOPED_TRACE(entry["options"].dump());
    std::vector<float> logits = data["logits"][entry["logits"].get<size_t>()];
    Sampler sampler(optionsOf(entry["options"]));
    sampler.setContext(data["context"].get<std::vector<int64_t>>());
    auto distribution = sampler.distribution(logits);
    const Json &expected = entry["expected"];
    EXPECT_EQ(distribution.size(), expected.size());
    for (auto [id, probability] : distribution) {
      ASSERT_TRUE(expected.contains(std::to_string(id))) << "token " << id;
      EXPECT_NEAR(probability, expected[std::to_string(id)].get<double>(), 2e-6) << "token " << id;
    }
  }
}

/// The distribution written down again, plainly and in f64: each filter sorts all tokens and
/// marks those that go.
std::vector<double> plainDistribution(const std::vector<float> &logits,
                                      const std::vector<int64_t> &context,
                                      const SamplerOptions &options) {
  size_t size = logits.size();
  std::vector<double> scores(logits.begin(), logits.end()), p(size);
  for (auto [id, bias] : options.logitBias)
    scores[size_t(id)] += bias;
  size_t first = options.repeatLastN < 0 || size_t(options.repeatLastN) > context.size()
                     ? 0
                     : context.size() - size_t(options.repeatLastN);
  for (size_t token = 0; token < size; ++token) {
    auto count = std::count(context.begin() + long(first), context.end(), int64_t(token));
    if (count == 0)
      continue;
    scores[token] *= scores[token] < 0 ? double(options.repeatPenalty) : 1 / double(options.repeatPenalty);
    scores[token] -= double(count) * options.frequencyPenalty + options.presencePenalty;
  }
  auto normalize = [&] {
    double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double &value : p)
      value /= total;
  };
  for (size_t i = 0; i < size; ++i)
    p[i] = std::exp(scores[i] / options.temperature);
  normalize();
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t(0));
  auto keep = [&](auto less, auto goes) {
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return less(a, b) || (!less(b, a) && a < b);
    });
    double before = 0;
    std::vector<double> kept(size, 0.0);
    for (size_t rank = 0; rank < size; ++rank) {
      if (!goes(rank, before))
        kept[order[rank]] = p[order[rank]];
      before += p[order[rank]];
    }
    p = kept;
    normalize();
    std::iota(order.begin(), order.end(), size_t(0));
  };
  auto likelier = [&](size_t a, size_t b) { return p[a] > p[b]; };
  if (options.topK > 0)
    keep(likelier, [&](size_t rank, double) { return rank >= size_t(options.topK); });
  if (options.topP < 1)
    keep(likelier, [&](size_t, double before) { return before >= options.topP; });
  double largest = *std::max_element(p.begin(), p.end());
  for (double &value : p)
    value = value < options.minP * largest ? 0 : value;
  normalize();
  if (options.typicalP < 1) {
    double entropy = 0;
    for (double value : p)
      entropy -= value > 0 ? value * std::log(value) : 0;
    auto distance = [&](size_t i) {
      return p[i] > 0 ? std::abs(-std::log(p[i]) - entropy) : std::numeric_limits<double>::infinity();
    };
    keep([&](size_t a, size_t b) { return distance(a) < distance(b); },
         [&](size_t, double before) { return before >= options.typicalP; });
  }
  return p;
}

/// Pearson's chi-square of many draws; tokens that are expected less than ten times count as one.
TEST(SamplerDistribution, DrawsFollowIt) {
  const std::vector<int64_t> context = {4, 9, 9, 2, 33, 9};
  std::vector<SamplerOptions> all = {
      {.temperature = 1},
      {.temperature = 0.6f, .topK = 12},
      {.temperature = 1.4f, .topP = 0.85f},
      {.temperature = 1, .minP = 0.04f},
      {.temperature = 1.2f, .typicalP = 0.75f},
      {.temperature = 1, .repeatPenalty = 1.5f, .presencePenalty = 0.4f, .frequencyPenalty = 0.3f,
       .repeatLastN = 4},
      {.temperature = 0.9f, .topK = 30, .topP = 0.95f, .minP = 0.01f, .typicalP = 0.9f,
       .repeatPenalty = 1.2f, .logitBias = {{7, 1.5f}, {8, -infinity}}},
  };
  constexpr int draws = 30000;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  uint64_t seed = 100;
  for (SamplerOptions options : all) {
    std::vector<float> logits(48);
    for (float &logit : logits)
      logit = 1.5f * normal(random);
    options.seed = seed++;
    SCOPED_TRACE("seed " + std::to_string(options.seed));
    std::vector<double> expected = plainDistribution(logits, context, options);
    Sampler sampler(options);
    std::vector<int> counts(logits.size());
    for (int i = 0; i < draws; ++i) {
      sampler.setContext(context);
      ++counts[size_t(sampler.sample(logits))];
    }
    double chiSquare = 0, restMean = 0;
    int freedom = -1, rest = 0;
    auto add = [&](int count, double mean) {
      chiSquare += (count - mean) * (count - mean) / mean;
      ++freedom;
    };
    for (size_t i = 0; i < logits.size(); ++i) {
      double mean = expected[i] * draws;
      if (mean >= 10) {
        add(counts[i], mean);
        continue;
      }
      if (mean == 0)
        EXPECT_EQ(counts[i], 0) << "token " << i << " must not come";
      rest += counts[i];
      restMean += mean;
    }
    if (restMean > 0)
      add(rest, restMean);
    ASSERT_GT(freedom, 2);
    // Wilson and Hilferty's bound, passed by chance once in ten thousand seeds.
    double spread = 2.0 / (9 * freedom);
    EXPECT_LT(chiSquare, freedom * std::pow(1 - spread + 3.72 * std::sqrt(spread), 3));
  }
}

/// A generator whose draws follow one another, as in a text, and not only the first one.
TEST(SamplerDistribution, DrawsAreIndependent) {
  constexpr int size = 6, draws = 60000;
  std::vector<float> even(size, 0.0f);
  Sampler sampler({.temperature = 1, .seed = 9});
  std::vector<int> pairs(size * size);
  int64_t last = 0;
  for (int i = 0; i < draws; ++i) {
    int64_t next = sampler.sample(even);
    ++pairs[size_t(last * size + next)];
    last = next;
  }
  double chiSquare = 0, mean = double(draws) / (size * size);
  for (int count : pairs)
    chiSquare += (count - mean) * (count - mean) / mean;
  EXPECT_LT(chiSquare, 75);
}

TEST(SamplerPenalties, LookAtTheWindow) {
  std::vector<float> logits = {1, 1.5f, 1.4f};
  // Greedy: what was there is not likeliest any more.
  Sampler all({.repeatPenalty = 2});
  all.setContext(std::vector<int64_t>{1, 2, 0});
  EXPECT_EQ(all.sample(logits), 1);
  Sampler two({.repeatPenalty = 2, .repeatLastN = 2});
  two.setContext(std::vector<int64_t>{2, 1, 0});
  EXPECT_EQ(two.sample(logits), 2);
  // The token that was drawn joins the window.
  EXPECT_EQ(two.sample(logits), 1);
  Sampler none({.repeatPenalty = 2, .repeatLastN = 0});
  none.setContext(std::vector<int64_t>{1, 1, 1});
  EXPECT_EQ(none.sample(logits), 1);
  // A presence penalty counts once, a frequency penalty each time.
  Sampler presence({.presencePenalty = 0.2f});
  presence.setContext(std::vector<int64_t>{1, 2, 2, 2});
  EXPECT_EQ(presence.sample(logits), 1);
  Sampler frequency({.frequencyPenalty = 0.06f});
  frequency.setContext(std::vector<int64_t>{1, 1, 2});
  EXPECT_EQ(frequency.sample(logits), 1);
  EXPECT_EQ(frequency.sample(logits), 2);
}

TEST(SamplerConfig, ReadsGenerationConfig) {
  EXPECT_EQ(samplerConfig("").temperature, 0);
  EXPECT_EQ(samplerConfig(R"({"temperature": 0.5, "repetition_penalty": 1.25})").temperature, 0);
  EXPECT_EQ(samplerConfig(R"({"repetition_penalty": 1.25})").repeatPenalty, 1.25f);
  SamplerOptions some = samplerConfig(R"({"do_sample": true, "top_p": 0.75, "temperature": null})");
  EXPECT_EQ(some.temperature, 1);
  EXPECT_EQ(some.topK, 50);
  EXPECT_EQ(some.topP, 0.75f);
  SamplerOptions every = samplerConfig(
      R"({"do_sample": true, "temperature": 0.5, "top_k": 7, "min_p": 0.125, "typical_p": 0.25})");
  EXPECT_EQ(every.temperature, 0.5f);
  EXPECT_EQ(every.topK, 7);
  EXPECT_EQ(every.minP, 0.125f);
  EXPECT_EQ(every.typicalP, 0.25f);
  EXPECT_ERROR(samplerConfig(R"({"do_sample": true, "top_k": "x"})"),
               "generation_config.json: 'top_k' must be a number but is string");
  EXPECT_ERROR(samplerConfig(R"({"do_sample": true, "top_k": 1e300})"),
               "generation_config.json: 'top_k' is out of range");
  EXPECT_ERROR(samplerConfig("[1]"), "generation_config.json is not a JSON object");
}

TEST(SamplerConfig, ReadsLogitBias) {
  EXPECT_EQ(parseLogitBias("12+1.5"), (std::pair<int64_t, float>{12, 1.5f}));
  EXPECT_EQ(parseLogitBias("0-2"), (std::pair<int64_t, float>{0, -2.0f}));
  EXPECT_EQ(parseLogitBias("7-inf"), (std::pair<int64_t, float>{7, -infinity}));
  for (const char *text : {"", "12", "12+", "+1", "a+1", "1+x", "1--1", "1+-1", "-3+1", "1+2 "})
    EXPECT_ERROR(parseLogitBias(text), "expected ID+BIAS or ID-BIAS");
}

} // namespace
