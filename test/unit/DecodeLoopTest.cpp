//===- DecodeLoopTest.cpp - Generation whose tokens the device chooses ----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "TestPrograms.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/Program.h"
#include "runtime/ProgramModel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

ModelHandle openOn(const std::string &device, int64_t contextLength = 64) {
  OpenOptions options;
  options.device = {device, 2};
  return openProgram(
      LoadedProgram::fromBytes(pack(device == "cpu" ? languageProgram(contextLength) : cudaLanguageProgram(contextLength)),
                               ""),
      options);
}

struct Outcome {
  Generation generation;
  std::vector<int64_t> cached, seen;
  /// Tokens that the host chose.
  int hostDraws = 0;
};

/// Generates with a sampler that the device may take over, when `ahead` says so.
Outcome run(Conversation &conversation, std::vector<int64_t> prompt, GenerationLimits limits, bool ahead,
            SamplerOptions options = {}, int64_t stopAt = -1) {
  Outcome result;
  Sampler sampler(options);
  if (ahead)
    limits.sampler = &sampler;
  result.generation = conversation.generate(
      prompt, limits,
      [&](std::span<const float> logits) {
        ++result.hostDraws;
        return sampler.sample(logits);
      },
      [&](int64_t id) {
        result.seen.push_back(id);
        return id == stopAt ? Next::Stop : Next::Continue;
      });
  result.cached.assign(conversation.ids().begin(), conversation.ids().end());
  return result;
}

void expectSame(const Outcome &a, const Outcome &b) {
  EXPECT_EQ(a.generation.ids, b.generation.ids);
  EXPECT_EQ(a.generation.reason, b.generation.reason);
  EXPECT_EQ(a.generation.decodeSteps, b.generation.decodeSteps);
  EXPECT_EQ(a.seen, b.seen);
  EXPECT_EQ(a.cached, b.cached);
}

GenerationLimits most(int64_t tokens) {
  GenerationLimits limits;
  limits.maxTokens = tokens;
  return limits;
}

} // namespace

TEST(DecodeLoop, GivesWhatTheHostGives) {
  ModelHandle host = openOn("cpu"), gpu = openOn("host-cuda");
  for (int64_t tokens : {1, 2, 3, 20, 60, 100, -1}) {
    Conversation onHost(*host.language), onGpu(*gpu.language), stepwise(*gpu.language);
    Outcome expected = run(onHost, {1, 2}, most(tokens), false);
    Outcome got = run(onGpu, {1, 2}, most(tokens), true);
    expectSame(got, expected);
    EXPECT_EQ(got.hostDraws, 1);
    expectSame(run(stepwise, {1, 2}, most(tokens), false), expected);
  }
}

TEST(DecodeLoop, StopsWhereTheHostStops) {
  ModelHandle host = openOn("cpu"), gpu = openOn("host-cuda");
  Conversation plain(*host.language);
  std::vector<int64_t> ids = run(plain, {3}, most(30), false).generation.ids;
  for (size_t at : {0u, 1u, 2u, 5u, 11u}) {
    GenerationLimits limits = most(30);
    limits.stopIds = {ids[at]};
    Conversation a(*host.language), b(*gpu.language), c(*host.language), d(*gpu.language);
    expectSame(run(b, {3}, limits, true), run(a, {3}, limits, false));
    expectSame(run(d, {3}, most(30), true, {}, ids[at]), run(c, {3}, most(30), false, {}, ids[at]));
    // The conversation goes on from what is in the cache.
    std::vector<int64_t> next(b.ids().begin(), b.ids().end());
    next.push_back(4);
    expectSame(run(b, next, most(9), true), run(a, next, most(9), false));
  }
}

TEST(DecodeLoop, CancelsBetweenTokens) {
  ModelHandle gpu = openOn("host-cuda");
  std::atomic<bool> cancel = false;
  GenerationLimits limits = most(-1);
  limits.cancel = &cancel;
  Sampler sampler({});
  limits.sampler = &sampler;
  Conversation conversation(*gpu.language);
  int count = 0;
  Generation result = conversation.generate(
      std::vector<int64_t>{1}, limits, [&](std::span<const float> logits) { return sampler.sample(logits); },
      [&](int64_t) {
        cancel = ++count == 5;
        return Next::Continue;
      });
  EXPECT_EQ(result.reason, StopReason::Cancelled);
  EXPECT_EQ(result.ids.size(), 5u);
  EXPECT_EQ(conversation.ids().size(), 5u);
}

TEST(DecodeLoop, DrawsAsTheHostDraws) {
  ModelHandle host = openOn("cpu"), gpu = openOn("host-cuda");
  SamplerOptions options;
  options.temperature = 1;
  options.topK = 12;
  options.seed = 77;
  Conversation a(*host.language), b(*gpu.language);
  Outcome expected = run(a, {1, 2, 3}, most(40), false, options), got = run(b, {1, 2, 3}, most(40), true, options);
  expectSame(got, expected);
  EXPECT_EQ(got.hostDraws, 1);
  // What the device does not do, the host does.
  options.repeatPenalty = 1.5f;
  Conversation c(*host.language), d(*gpu.language);
  expected = run(c, {1, 2, 3}, most(40), false, options), got = run(d, {1, 2, 3}, most(40), true, options);
  expectSame(got, expected);
  EXPECT_EQ(got.hostDraws, 40);
}

TEST(DecodeLoop, CanBeTurnedOff) {
  ModelHandle gpu = openOn("host-cuda");
  setenv("MLSYS_DEVICE_SAMPLING", "0", 1);
  Conversation conversation(*gpu.language);
  EXPECT_EQ(run(conversation, {1}, most(6), true).hostDraws, 6);
  unsetenv("MLSYS_DEVICE_SAMPLING");
}
