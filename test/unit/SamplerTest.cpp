//===- SamplerTest.cpp - Tests of Sampler ---------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Sampler.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

using namespace mlsys::rt;

static constexpr float infinity = std::numeric_limits<float>::infinity();

static int64_t sampleOnce(SamplerOptions options, std::vector<float> logits) {
  return Sampler(options).sample(logits);
}

static std::string failure(SamplerOptions options, std::vector<float> logits) {
  try {
    sampleOnce(options, logits);
  } catch (const Error &error) {
    return error.what();
  }
  return "no error";
}

/// Draws many tokens and compares their counts with `expected`, the probability
/// of each: Pearson's chi-square over the tokens that can come.
static void expectDistribution(SamplerOptions options,
                               const std::vector<float> &logits,
                               const std::vector<double> &expected) {
  constexpr int draws = 20000;
  Sampler sampler(options);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    ++counts.at(sampler.sample(logits));
  double chiSquare = 0;
  int freedom = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " must not come";
      continue;
    }
    double mean = expected[i] * draws;
    chiSquare += (counts[i] - mean) * (counts[i] - mean) / mean;
    ++freedom;
  }
  // Wilson and Hilferty's bound, passed by chance once in ten thousand seeds.
  if (freedom == 0)
    return;
  double spread = 2.0 / (9 * freedom);
  double bound = freedom * std::pow(1 - spread + 3.72 * std::sqrt(spread), 3);
  EXPECT_LT(chiSquare, bound);
}

/// exp(logit / temperature) of the kept tokens, scaled to sum to one.
static std::vector<double> softmax(const std::vector<float> &logits,
                                   double temperature,
                                   const std::vector<bool> &kept) {
  std::vector<double> result(logits.size());
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    if (kept[i])
      total += result[i] = std::exp(logits[i] / temperature);
  for (double &value : result)
    value /= total;
  return result;
}

static const std::vector<float> eight = {0.5f, 2.0f, -1.0f, 1.5f,
                                         0.0f, 2.0f, -3.0f, 1.0f};
static const std::vector<bool> all(8, true);

TEST(SamplerTest, temperatureZeroTakesTheLargest) {
  EXPECT_EQ(sampleOnce({}, {1, 3, 2}), 1);
  EXPECT_EQ(sampleOnce({}, {1, 3, 3}), 1);
  EXPECT_EQ(sampleOnce({}, {-infinity, -5, -infinity}), 1);
  EXPECT_EQ(sampleOnce({}, {7}), 0);
}

TEST(SamplerTest, drawsFromTheSoftmax) {
  expectDistribution({.temperature = 1, .seed = 1}, eight,
                     softmax(eight, 1, all));
  expectDistribution({.temperature = 2.5f, .seed = 2}, eight,
                     softmax(eight, 2.5, all));
}

TEST(SamplerTest, hugeLogitsDoNotOverflow) {
  std::vector<float> logits = {3e38f, 3e38f, -3e38f};
  expectDistribution({.temperature = 1, .seed = 3}, logits, {0.5, 0.5, 0});
  EXPECT_EQ(sampleOnce({.temperature = 1e-30f}, {1, 2, 0}), 1);
}

TEST(SamplerTest, topKKeepsTheMostProbable) {
  std::vector<bool> kept = {false, true, false, true,
                            false, true, false, false};
  expectDistribution({.temperature = 1, .topK = 3, .seed = 4}, eight,
                     softmax(eight, 1, kept));
  // Of the equal ones the lower index stays.
  kept = {false, true, false, false, false, false, false, false};
  expectDistribution({.temperature = 1, .topK = 1, .seed = 5}, eight,
                     softmax(eight, 1, kept));
  expectDistribution({.temperature = 1, .topK = 100, .seed = 6}, eight,
                     softmax(eight, 1, all));
}

TEST(SamplerTest, topPKeepsTheFewestThatReachIt) {
  std::vector<float> logits;
  for (double p : {0.1, 0.4, 0.2, 0.3})
    logits.push_back(static_cast<float>(std::log(p)));
  auto expect = [&](float topP, std::vector<double> expected) {
    expectDistribution({.temperature = 1, .topP = topP, .seed = 7}, logits,
                       expected);
  };
  expect(0.3f, {0, 1, 0, 0});
  expect(0.5f, {0, 4.0 / 7, 0, 3.0 / 7});
  expect(0.8f, {0, 4.0 / 9, 2.0 / 9, 3.0 / 9});
  expect(0.95f, {0.1, 0.4, 0.2, 0.3});
  expect(1e-9f, {0, 1, 0, 0});
}

TEST(SamplerTest, minPDropsTheImprobable) {
  std::vector<float> logits;
  for (double p : {0.1, 0.4, 0.2, 0.3})
    logits.push_back(static_cast<float>(std::log(p)));
  expectDistribution({.temperature = 1, .minP = 0.4f, .seed = 8}, logits,
                     {0, 4.0 / 9, 2.0 / 9, 3.0 / 9});
  expectDistribution({.temperature = 1, .minP = 1, .seed = 9}, logits,
                     {0, 1, 0, 0});
}

TEST(SamplerTest, filtersApplyInOrder) {
  // top-k leaves 0.4, 0.3, 0.2; of that sum top-p takes two; min-p sees those.
  std::vector<float> logits;
  for (double p : {0.1, 0.4, 0.2, 0.3})
    logits.push_back(static_cast<float>(std::log(p)));
  expectDistribution(
      {.temperature = 1, .topK = 3, .topP = 0.75f, .minP = 0.7f, .seed = 10},
      logits, {0, 4.0 / 7, 0, 3.0 / 7});
  // The temperature comes first: at 0.5 the squares count.
  expectDistribution({.temperature = 0.5f, .topP = 0.6f, .seed = 11}, logits,
                     {0, 16.0 / 25, 0, 9.0 / 25});
}

TEST(SamplerTest, equalSeedsDrawEqualTokens) {
  auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<int64_t> tokens;
    for (int i = 0; i < 16; ++i)
      tokens.push_back(sampler.sample(eight));
    return tokens;
  };
  EXPECT_EQ(draw(42), draw(42));
  EXPECT_NE(draw(42), draw(43));
}

TEST(SamplerTest, drawsAreTheSameEverywhere) {
  // Computed apart: draw d is a race with the splitmix64 generator that starts from number d of
  // the one that starts from the seed.
  std::vector<float> even(100, 1.0f);
  Sampler sampler({.temperature = 1, .seed = 0});
  for (int64_t expected : {20, 13, 81, 68, 72, 86, 56, 54})
    EXPECT_EQ(sampler.sample(even), expected);
  Sampler other({.temperature = 1, .seed = 42});
  for (int64_t expected : {57, 0, 10, 82, 32, 17, 27, 1})
    EXPECT_EQ(other.sample(even), expected);
}

/// Logits that differ as two devices' do give the same text for all practical purposes.
TEST(SamplerTest, roundingSeldomChangesADraw) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Sampler one({.temperature = 1, .topP = 0.95f, .seed = 3});
  Sampler other({.temperature = 1, .topP = 0.95f, .seed = 3});
  int differences = 0;
  for (int draw = 0; draw < 500; ++draw) {
    std::vector<float> logits(2000), rounded;
    for (float &logit : logits) {
      logit = 2 * normal(random);
      rounded.push_back(logit * (1 + 1e-5f * normal(random)));
    }
    differences += one.sample(logits) != other.sample(rounded);
  }
  EXPECT_LE(differences, 2);
}

TEST(SamplerTest, impossibleTokensNeverCome) {
  expectDistribution({.temperature = 1, .seed = 12},
                     {-infinity, 0, -infinity, 0}, {0, 0.5, 0, 0.5});
}

TEST(SamplerTest, brokenLogitsAreErrors) {
  for (float temperature : {0.0f, 1.0f}) {
    SamplerOptions options{.temperature = temperature};
    EXPECT_NE(failure(options, {0, NAN, 1}).find("the logit of token 1 is NaN"),
              std::string::npos);
    EXPECT_NE(failure(options, {0, infinity}).find("the largest logit is inf"),
              std::string::npos);
    EXPECT_NE(failure(options, {-infinity}).find("the largest logit is -inf"),
              std::string::npos);
    EXPECT_EQ(failure(options, {}), "there are no logits to sample from");
  }
}

TEST(SamplerTest, optionsOutOfRangeAreErrors) {
  EXPECT_NE(failure({.temperature = -1}, {0}).find("temperature"),
            std::string::npos);
  EXPECT_NE(failure({.temperature = NAN}, {0}).find("temperature"),
            std::string::npos);
  EXPECT_NE(failure({.topK = -1}, {0}).find("top-k"), std::string::npos);
  EXPECT_NE(failure({.topP = 0}, {0}).find("top-p"), std::string::npos);
  EXPECT_EQ(failure({.topP = 1.5f}, {0}),
            "the value of top-p must be above 0 and at most 1, not 1.5");
  EXPECT_EQ(failure({.minP = -0.5f}, {0}), "the value of min-p must be from 0 to 1, not -0.5");
  EXPECT_EQ(failure({.typicalP = 0}, {0}),
            "the value of typical must be above 0 and at most 1, not 0");
  EXPECT_EQ(failure({.repeatPenalty = 0}, {0}), "the repeat penalty must be above 0, not 0");
  EXPECT_EQ(failure({.presencePenalty = infinity}, {0}),
            "the presence penalty must be a finite number, not inf");
  EXPECT_EQ(failure({.frequencyPenalty = NAN}, {0}),
            "the frequency penalty must be a finite number, not nan");
  EXPECT_EQ(failure({.repeatLastN = -2}, {0}),
            "repeat-last-n must be -1 (all tokens) or more, not -2");
  EXPECT_EQ(failure({.logitBias = {{3, infinity}}}, {0}),
            "the logit bias of token 3 must be a finite number or -inf, not inf");
  EXPECT_EQ(failure({.logitBias = {{3, 1.0f}}}, {0}),
            "the logit bias is for token 3, which is not in the vocabulary of 1");
  EXPECT_EQ(failure({.logitBias = {{0, -infinity}}}, {0}),
            "the logit bias and the penalties leave no token to choose");
}
