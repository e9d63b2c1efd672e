//===- CudaDeviceTest.cpp - CudaDevice over a fake driver -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include "runtime/Nvrtc.h"

#include <algorithm>
#include <filesystem>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

using CudaDeviceTest = FakeCudaTest;

TEST_F(CudaDeviceTest, listsGpus) {
  EXPECT_TRUE(cudaAvailable());
  std::vector<GpuInfo> gpus = listGpus();
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[0].name, "Fake 100");
  EXPECT_EQ(gpus[0].arch(), "sm_90a");
  EXPECT_EQ(gpus[1].arch(), "sm_86");
  EXPECT_EQ(gpus[1].maxSharedBytes, 101376u);
  EXPECT_EQ(gpus[1].multiprocessors, 132);
  EXPECT_EQ(gpus[1].memoryBytes, size_t(80) << 30);
}

TEST_F(CudaDeviceTest, cubinsRunOnTheirArchitecture) {
  GpuInfo hopper, ampere;
  hopper.major = 9;
  ampere.major = 8;
  ampere.minor = 6;
  EXPECT_TRUE(cubinRunsOn("sm_90a", hopper));
  EXPECT_TRUE(cubinRunsOn("sm_90", hopper));
  EXPECT_FALSE(cubinRunsOn("sm_80", hopper));
  EXPECT_FALSE(cubinRunsOn("sm_100a", hopper));
  EXPECT_TRUE(cubinRunsOn("sm_80", ampere));
  EXPECT_FALSE(cubinRunsOn("sm_89", ampere));
  EXPECT_FALSE(cubinRunsOn("sm_", ampere));
  EXPECT_FALSE(cubinRunsOn("gfx90", ampere));
}

TEST_F(CudaDeviceTest, takesTheBestCubinAndLaunchesIt) {
  CudaDevice device(0);
  EXPECT_FALSE(device.hostAccessible());
  EXPECT_TRUE(contains(device.description(), "Fake 100"));
  EXPECT_EQ(takeCalls(), "cuDevicePrimaryCtxRetain 100\ncuStreamCreate 1\ncuStreamCreate 1\n");
  flatbuffers::FlatBufferBuilder builder;
  device.load(makeProgram(builder, {{"plain", "text", {{"sm_80", "A"}, {"sm_90", "B"}, {"sm_90a", "C"}}},
                                    {"waiting", "pdl_wait();", {{"sm_90", "D"}}}}));
  EXPECT_EQ(takeCalls(), "cuModuleLoadData C\ncuModuleGetFunction plain\ncuFuncLoad plain\n"
                         "cuModuleLoadData D\ncuModuleGetFunction waiting\ncuFuncLoad waiting\n");

  void *buffers[] = {reinterpret_cast<void *>(4096), reinterpret_cast<void *>(8192)};
  int64_t symbols[] = {77};
  LaunchArgs args;
  args.buffers = buffers;
  args.symbols = symbols;
  args.grid[0] = 3;
  args.grid[1] = 2;
  args.block[0] = 128;
  args.sharedBytes = 1024;
  setParameters(3);
  device.launch(args);
  EXPECT_EQ(takeCalls(),
            "cuLaunchKernelEx plain on 100 grid 3 2 1 block 128 1 1 shared 1024 s0 parameters 4096 8192 77\n");

  // Early launch only where the text waits; large shared memory is asked for once.
  args.kernel = 1;
  args.sharedBytes = 100000;
  device.launch(args);
  device.launch(args);
  std::string launched = "cuLaunchKernelEx waiting on 100 grid 3 2 1 block 128 1 1 shared 100000 s0 attribute 6=1 "
                         "parameters 4096 8192 77\n";
  EXPECT_EQ(takeCalls(), "cuFuncSetAttribute waiting 8 100000\n" + launched + launched);

  args.grid[1] = 0;
  device.launch(args);
  EXPECT_EQ(takeCalls(), "");
}

TEST_F(CudaDeviceTest, manyKernelsAreLoadedByThreads) {
  std::vector<KernelSpec> specs;
  for (int i = 0; i < 50; ++i)
    specs.push_back({"kernel" + std::to_string(i), "text", {{"sm_90", "cubin" + std::to_string(i)}}});
  flatbuffers::FlatBufferBuilder builder, other;
  CudaDevice device(0);
  takeCalls();
  device.load(makeProgram(builder, specs));
  std::string calls = takeCalls();
  for (int i = 0; i < 50; ++i) {
    std::string name = std::to_string(i) + "\n";
    EXPECT_LT(calls.find("cuModuleLoadData cubin" + name), calls.find("cuModuleGetFunction kernel" + name));
    EXPECT_TRUE(contains(calls, "cuFuncLoad kernel" + name)) << calls;
  }
  // Each is found under its number.
  LaunchArgs args;
  args.kernel = 37;
  device.launch(args);
  EXPECT_TRUE(contains(takeCalls(), "cuLaunchKernelEx kernel37 "));

  CudaDevice failing(0);
  failNext("cuModuleLoadData", 200, 30);
  EXPECT_TRUE(contains(errorOf([&] { failing.load(makeProgram(other, specs)); }), "does not take the program's code"));
}

TEST_F(CudaDeviceTest, launchesAreTimedByEvents) {
  CudaDevice device(0);
  flatbuffers::FlatBufferBuilder builder;
  device.load(makeProgram(builder, {{"plain", "text", {{"sm_90a", "A"}}}}));
  LaunchArgs args;
  setParameters(0);
  // The fake says half a millisecond between any two events that have been.
  std::vector<double> seconds = device.timeLaunches(std::vector<LaunchArgs>{args, args});
  ASSERT_EQ(seconds.size(), 2u);
  EXPECT_FLOAT_EQ(float(seconds[0]), 5e-4f);
  EXPECT_FLOAT_EQ(float(seconds[1]), 5e-4f);
  std::string calls = takeCalls();
  EXPECT_LT(calls.find("cuEventRecord"), calls.find("cuLaunchKernelEx")) << calls;
  EXPECT_LT(calls.rfind("cuLaunchKernelEx"), calls.rfind("cuEventRecord")) << calls;
  // The GPU has something to do until the first launches are in the stream.
  EXPECT_LT(calls.find("cuMemsetD8Async"), calls.find("cuEventRecord")) << calls;

  // One kernel alone runs several times between two events, and once before.
  takeRuns();
  seconds = device.timeLaunches(std::vector<LaunchArgs>{args});
  ASSERT_EQ(seconds.size(), 1u);
  EXPECT_FLOAT_EQ(float(seconds[0]), 5e-5f);
  std::string runs = takeRuns();
  EXPECT_EQ(std::count(runs.begin(), runs.end(), '\n'), 11);

  // Timing needs no memory.
  CudaDevice full(0);
  flatbuffers::FlatBufferBuilder other;
  full.load(makeProgram(other, {{"plain", "text", {{"sm_90a", "A"}}}}));
  failNext("cuMemAlloc", cuda::outOfMemory);
  EXPECT_EQ(full.timeLaunches(std::vector<LaunchArgs>{args, args}).size(), 2u);
}

TEST_F(CudaDeviceTest, tensorMapsFollowTheSymbols) {
  CudaDevice device(0);
  flatbuffers::FlatBufferBuilder builder;
  device.load(makeProgram(builder, {{"tiles", "text", {{"sm_90a", "A"}}}}));
  takeCalls();
  int64_t symbols[] = {77};
  TensorMapArgument maps[2];
  maps[0].base = reinterpret_cast<void *>(4096);
  maps[0].rank = 2;
  maps[0].extents[0] = 200;
  maps[0].extents[1] = 30;
  maps[0].strides[0] = 400;
  maps[0].box[0] = 64;
  maps[0].box[1] = 128;
  maps[1] = maps[0];
  maps[1].base = reinterpret_cast<void *>(8192);
  maps[1].type = program::DType::F32;
  maps[1].swizzled = false;
  LaunchArgs args;
  args.symbols = symbols;
  args.tensorMaps = maps;
  args.block[0] = 384;
  setParameters(3);
  device.launch(args);
  EXPECT_EQ(takeCalls(), "cuTensorMapEncodeTiled type 9 extents 200 30 strides 400 box 64/1 128/1 0 3 3 0\n"
                         "cuTensorMapEncodeTiled type 7 extents 200 30 strides 400 box 64/1 128/1 0 0 3 0\n"
                         "cuLaunchKernelEx tiles on 100 grid 1 1 1 block 384 1 1 shared 0 s0 parameters 77 4096 8192\n");

  auto refused = [&](const std::string &reason) {
    EXPECT_TRUE(contains(errorOf([&] { device.launch(args); }), "kernel 'tiles': a tensor map " + reason)) << reason;
    maps[0] = maps[1];
  };
  maps[0].base = reinterpret_cast<void *>(4104);
  refused("whose memory is not aligned to 16 bytes");
  maps[0].strides[0] = 404;
  refused("with a stride of 404 bytes");
  maps[0].box[1] = 257;
  refused("with a tile of 257 elements");
  maps[0].extents[1] = 0;
  refused("with an extent of 0");
  maps[0].rank = 6;
  refused("of 6 dimensions");
  maps[0].swizzled = true;
  refused("with tiles of 256 bytes a row; expected 128");
  maps[0].type = program::DType::I64;
  refused("of elements of type I64");
}

TEST_F(CudaDeviceTest, noEarlyLaunchBeforeHopper) {
  CudaDevice device(1);
  flatbuffers::FlatBufferBuilder builder;
  device.load(makeProgram(builder, {{"waiting", "pdl_wait();", {{"sm_80", "D"}}}}));
  takeCalls();
  LaunchArgs args;
  args.block[0] = 32;
  device.launch(args);
  EXPECT_EQ(takeCalls(), "cuLaunchKernelEx waiting on 101 grid 1 1 1 block 32 1 1 shared 0 s0 parameters\n");
}

TEST_F(CudaDeviceTest, failuresAreReported) {
  EXPECT_TRUE(contains(errorOf([] { CudaDevice device(2); }), "2 GPUs"));
  EXPECT_TRUE(contains(errorOf([] {
                         DeviceOptions options;
                         options.device = "cuda:x";
                         createCudaDevice(options);
                       }),
                       "cuda:N"));
  failNext("cuStreamCreate");
  EXPECT_TRUE(contains(errorOf([] { CudaDevice device(0); }), "a fake failure (error 719)"));
  EXPECT_TRUE(contains(takeCalls(), "cuDevicePrimaryCtxRelease 100"));
  failNext("");

  CudaDevice device(0);
  flatbuffers::FlatBufferBuilder builder;
  EXPECT_TRUE(contains(errorOf([&] { device.load(makeProgram(builder, {{"empty", "", {{"sm_80", "A"}}}})); }),
                       "neither a cubin for sm_90a nor CUDA text"));
  failNext("cuMemAllocAsync");
  EXPECT_TRUE(contains(errorOf([&] { device.allocate(10); }), "allocating 10 bytes on Fake 100"));

  failNext("");
  CudaDevice other(0);
  flatbuffers::FlatBufferBuilder otherBuilder;
  other.load(makeProgram(otherBuilder, {{"plain", "text", {{"sm_90", "A"}}}}));
  LaunchArgs args;
  args.grid[2] = 70000;
  EXPECT_TRUE(contains(errorOf([&] { other.launch(args); }), "70000 blocks"));
  args.grid[2] = 1;
  args.sharedBytes = 1 << 20;
  EXPECT_TRUE(contains(errorOf([&] { other.launch(args); }), "shared memory"));
  args.sharedBytes = 0;
  failNext("cuLaunchKernelEx");
  EXPECT_TRUE(contains(errorOf([&] { other.launch(args); }), "launching kernel plain"));
}

TEST_F(CudaDeviceTest, textIsCompiledWhereNoCubinFits) {
  if (!Nvrtc::open())
    GTEST_SKIP() << "NVRTC is not installed";
  std::filesystem::path cache = std::filesystem::path(testing::TempDir()) / "mlsys-cuda-device-test";
  std::filesystem::remove_all(cache);
  setenv("MLSYS_CACHE_DIR", cache.c_str(), 1);
  CudaDevice device(0);
  takeCalls();
  flatbuffers::FlatBufferBuilder builder;
  device.load(makeProgram(builder, {{"copy",
                                     "#include \"mlsys/types.cuh\"\nextern \"C\" __global__ void copy(const f32 *a, "
                                     "f32 *b) { b[thread_x()] = a[thread_x()]; }",
                                     {{"sm_80", "A"}}}}));
  EXPECT_EQ(takeCalls(), "cuModuleLoadData ELF\ncuModuleGetFunction copy\ncuFuncLoad copy\n");
  EXPECT_FALSE(std::filesystem::is_empty(cache));
  std::filesystem::remove_all(cache);
}
