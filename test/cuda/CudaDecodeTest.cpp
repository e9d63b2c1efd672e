//===- CudaDecodeTest.cpp - Decode loops over a fake driver ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include "runtime/Commands.h"
#include "runtime/Generator.h"
#include "runtime/Program.h"
#include "runtime/ProgramModel.h"
#include "test/unit/TestPrograms.h"

#include <sstream>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

size_t count(const std::string &text, const std::string &part) {
  size_t result = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++result;
  return result;
}

class CudaDecodeTest : public FakeCudaTest {
protected:
  void SetUp() override {
    FakeCudaTest::SetUp();
    program::ProgramT program = cudaLanguageProgram();
    for (auto &kernel : program.targets[0]->kernels) {
      kernel->cubins.push_back(std::make_unique<program::CubinT>());
      kernel->cubins[0]->arch = "sm_90";
      kernel->cubins[0]->data = {'A', 0};
    }
    OpenOptions options;
    options.device.device = "cuda";
    model = openProgram(LoadedProgram::fromBytes(pack(program), ""), options);
  }
  void TearDown() override {
    model = {};
    EXPECT_EQ(usedBytes(), 0u);
    EXPECT_EQ(pinnedBytes(), 0u);
    EXPECT_EQ(liveGraphs(), 0);
    FakeCudaTest::TearDown();
  }

  /// The calls of the last tokens of a generation, from where the graph is there.
  std::string callsOf(int tokens) {
    Sampler sampler({});
    GenerationLimits limits;
    limits.maxTokens = tokens;
    limits.sampler = &sampler;
    int seen = 0;
    std::string calls;
    generate(*model.language, std::vector<int64_t>(40, 1), limits,
             [&](std::span<const float> logits) { return sampler.sample(logits); },
             [&](int64_t) {
               std::string some = takeCalls();
               if (++seen > 4)
                 calls += some;
             });
    return calls;
  }

  ModelHandle model;
};

} // namespace

TEST_F(CudaDecodeTest, aStepIsOneGraphAndTheHostWaitsForTheOneBefore) {
  std::string calls = callsOf(16);
  // The step's two kernels and the sampling kernels.
  EXPECT_EQ(count(calls, "cuGraphLaunch s0\n"), 11u) << calls;
  EXPECT_EQ(count(calls, "cuMemcpyDtoHAsync 8 s0\n"), 11u);
  EXPECT_EQ(count(calls, "cuEventSynchronize s0\n"), 12u);
  EXPECT_FALSE(contains(calls, "cuStreamSynchronize")) << calls;
  EXPECT_FALSE(contains(calls, "pageable")) << calls;
  EXPECT_FALSE(contains(calls, "cuMemAlloc")) << calls;
  EXPECT_FALSE(contains(calls, "cuLaunchKernelEx")) << calls;
  std::string runs = takeRuns();
  EXPECT_EQ(count(runs, "mlsys_sample_step"), 15u) << runs;
  // The prompt takes five steps.
  EXPECT_EQ(count(runs, "next_token"), 5u + 15u);
  EXPECT_EQ(liveGraphs(), 1);
}

TEST_F(CudaDecodeTest, theGraphIsMadeWhileThePromptIsRun) {
  Sampler sampler({});
  GenerationLimits limits;
  limits.maxTokens = 6;
  limits.sampler = &sampler;
  std::string prompt, later;
  int seen = 0;
  takeCalls();
  generate(*model.language, std::vector<int64_t>(8, 1), limits,
           [&](std::span<const float> logits) { return sampler.sample(logits); },
           [&](int64_t) {
             (seen++ ? later : prompt) += takeCalls();
             return Next::Continue;
           });
  // Behind the launches of the prompt, ahead of the copy that waits for its logits.
  EXPECT_LT(prompt.find("cuLaunchKernelEx"), prompt.find("cuStreamBeginCapture")) << prompt;
  EXPECT_LT(prompt.find("cuGraphUpload"), prompt.rfind("cuMemcpyDtoHAsync")) << prompt;
  EXPECT_FALSE(contains(prompt, "cuGraphLaunch")) << prompt;
  EXPECT_FALSE(contains(later, "cuStreamBeginCapture")) << later;
  EXPECT_EQ(count(later, "cuGraphLaunch"), 5u) << later;
}

TEST_F(CudaDecodeTest, graphsOutliveAGeneration) {
  callsOf(16);
  // Memory for any context was there before, so that nothing has moved.
  EXPECT_FALSE(contains(callsOf(20), "cuStreamBeginCapture"));
  EXPECT_EQ(liveGraphs(), 1);
}

TEST_F(CudaDecodeTest, aBenchGeneratesOnTheDevice) {
  BenchRequest bench;
  bench.promptLengths = {};
  bench.generateLengths = {12};
  bench.depths = {20};
  bench.repetitions = 2;
  std::ostringstream out, log;
  EXPECT_EQ(runBench(model, bench, {out, log}), 0);
  // The first repetition is not counted, but is one.
  EXPECT_EQ(count(takeRuns(), "mlsys_sample_step"), 3u * 12);
  EXPECT_TRUE(contains(out.str(), "tg12 @ d20")) << out.str();
}

TEST_F(CudaDecodeTest, failuresOfAStepReachTheCaller) {
  failNext("cuGraphLaunch");
  EXPECT_TRUE(contains(errorOf([&] { callsOf(16); }), "launching a graph of kernels failed: a fake failure"));
  failNext("");
  EXPECT_EQ(count(callsOf(8), "cuGraphLaunch"), 3u);
}
