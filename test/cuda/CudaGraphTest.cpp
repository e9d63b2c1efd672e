//===- CudaGraphTest.cpp - CUDA graphs over a fake driver -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

/// Two kernels, the second of which waits by itself, with a buffer each.
class CudaGraphTest : public FakeCudaTest {
protected:
  void SetUp() override {
    FakeCudaTest::SetUp();
    device.emplace(0);
    device->load(makeProgram(builder, {{"one", "text", {{"sm_90", "A"}}}, {"two", "pdl_wait();", {{"sm_90", "B"}}}}));
    launches.resize(2);
    for (uint32_t i = 0; i < 2; ++i) {
      launches[i].kernel = i;
      launches[i].buffers = std::span<void *const>(&addresses[i], 1);
      launches[i].block[0] = 32;
    }
    launches[1].sharedBytes = 100000;
    setParameters(1);
    takeCalls();
  }
  void TearDown() override {
    fake<void(bool)>("fakeRefuseEarlyEdges")(false);
    unsetenv("MLSYS_CUDA_GRAPHS");
    FakeCudaTest::TearDown();
  }
  void run() { device->replay(launches, recording); }
  std::string runs() {
    device->synchronize();
    return takeRuns();
  }

  std::optional<CudaDevice> device;
  flatbuffers::FlatBufferBuilder builder;
  void *addresses[2] = {reinterpret_cast<void *>(512), reinterpret_cast<void *>(1024)};
  std::vector<LaunchArgs> launches;
  std::unique_ptr<LaunchRecording> recording;
};

const char *const oneAndTwo = "one 512\ntwo 1024\n";
const std::string captured = "cuStreamBeginCapture 1\n"
                             "cuLaunchKernelEx one on 100 grid 1 1 1 block 32 1 1 shared 0 s0 parameters 512\n"
                             "cuLaunchKernelEx two on 100 grid 1 1 1 block 32 1 1 shared 100000 s0 attribute 6=1 "
                             "parameters 1024\n"
                             "cuStreamEndCapture\ncuGraphInstantiate 2 nodes\n";

} // namespace

TEST_F(CudaGraphTest, theFirstRunIsCaptured) {
  run();
  // Early launches stay so in the graph.
  EXPECT_EQ(takeCalls(), "cuFuncSetAttribute two 8 100000\n" + captured + "cuGraphUpload s0\ncuGraphLaunch s0\n");
  EXPECT_EQ(runs(), oneAndTwo);
  takeCalls();
  run();
  run();
  EXPECT_EQ(takeCalls(), "cuGraphLaunch s0\ncuGraphLaunch s0\n");
  EXPECT_EQ(runs(), std::string(oneAndTwo) + oneAndTwo);
  EXPECT_EQ(liveGraphs(), 1);
  recording.reset();
  EXPECT_EQ(liveGraphs(), 0);
}

TEST_F(CudaGraphTest, isMadeBeforeItRuns) {
  // Other work that is under way is not waited for and not captured.
  device->launch(launches[0]);
  takeCalls();
  device->prepare(launches, recording);
  device->prepare(launches, recording);
  EXPECT_EQ(takeCalls(), "cuFuncSetAttribute two 8 100000\n" + captured + "cuGraphUpload s0\n");
  EXPECT_EQ(runs(), "one 512\n");
  takeCalls();
  run();
  EXPECT_EQ(takeCalls(), "cuGraphLaunch s0\n");
  EXPECT_EQ(runs(), oneAndTwo);
}

TEST_F(CudaGraphTest, theSecondRunIsCapturedWhereKernelsAreLoadedByTheFirst) {
  // A driver without cuFuncLoad.
  CudaDriver &driver = const_cast<CudaDriver &>(*CudaDriver::get());
  auto load = std::exchange(driver.functionLoad, nullptr);
  device->prepare(launches, recording);
  EXPECT_FALSE(recording);
  run();
  EXPECT_FALSE(contains(takeCalls(), "Graph"));
  EXPECT_EQ(runs(), oneAndTwo);
  takeCalls();
  run();
  EXPECT_EQ(takeCalls(), captured + "cuGraphUpload s0\ncuGraphLaunch s0\n");
  EXPECT_EQ(runs(), oneAndTwo);
  driver.functionLoad = load;
}

TEST_F(CudaGraphTest, otherAddressesMakeAnotherGraph) {
  run();
  run();
  addresses[0] = reinterpret_cast<void *>(2048);
  recording.reset();
  runs();
  run();
  run();
  run();
  EXPECT_EQ(runs(), "one 2048\ntwo 1024\none 2048\ntwo 1024\none 2048\ntwo 1024\n");
  recording.reset();
  EXPECT_EQ(liveGraphs(), 0);
}

TEST_F(CudaGraphTest, withoutEarlyLaunchesWhereTheDriverRefusesThem) {
  fake<void(bool)>("fakeRefuseEarlyEdges")(true);
  run();
  std::string calls = takeCalls();
  EXPECT_FALSE(contains(calls, "attribute")) << calls;
  EXPECT_TRUE(contains(calls, "cuGraphInstantiate 2 nodes\ncuGraphUpload s0\ncuGraphLaunch s0\n")) << calls;
  EXPECT_EQ(runs(), oneAndTwo);
}

TEST_F(CudaGraphTest, failuresAreReported) {
  failNext("cuGraphInstantiate");
  EXPECT_TRUE(contains(errorOf([&] { run(); }), "making a graph of kernels failed: a fake failure (error 719); "
                                               "MLSYS_CUDA_GRAPHS=0 does without graphs"));
  EXPECT_EQ(liveGraphs(), 0);
  failNext("cuLaunchKernelEx");
  EXPECT_TRUE(contains(errorOf([&] { run(); }), "launching kernel one"));
  failNext("");
  // The stream captures no longer.
  runs();
  run();
  EXPECT_EQ(runs(), oneAndTwo);
}

TEST_F(CudaGraphTest, canBeTurnedOff) {
  setenv("MLSYS_CUDA_GRAPHS", "0", 1);
  device.emplace(0);
  flatbuffers::FlatBufferBuilder other;
  device->load(makeProgram(other, {{"one", "text", {{"sm_90", "A"}}}, {"two", "text", {{"sm_90", "B"}}}}));
  takeCalls();
  for (int i = 0; i < 3; ++i)
    run();
  EXPECT_FALSE(contains(takeCalls(), "Graph"));
  EXPECT_FALSE(recording);
  EXPECT_EQ(runs(), std::string(oneAndTwo) + oneAndTwo + oneAndTwo);
}
