//===- CpuDeviceTest.cpp - Kernels of a CPU program on threads --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/CpuDevice.h"
#include "TestPrograms.h"
#include "runtime/Error.h"
#include "runtime/Program.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

TEST(CpuDevice, AllocatesAlignedMemory) {
  auto device = createCpuDevice({"cpu", 1});
  EXPECT_TRUE(device->hostAccessible());
  EXPECT_EQ(device->target(), "cpu");
  EXPECT_EQ(device->allocate(0), nullptr);
  for (size_t bytes : {size_t(1), size_t(300), size_t(2) << 20, (size_t(5) << 20) + 1}) {
    void *address = device->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % 256, 0u);
    if (bytes >= size_t(2) << 20) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % (size_t(2) << 20), 0u);
    }
    std::memset(address, 7, bytes);
    device->zero(address, bytes);
    std::vector<char> copy(bytes, 1);
    device->download(copy.data(), address, bytes);
    EXPECT_EQ(copy, std::vector<char>(bytes, 0));
    device->free(address);
  }
  EXPECT_THROW(device->allocate(size_t(1) << 60), Error);
}

TEST(CpuDevice, DescribesItself) {
  auto device = createCpuDevice({"cpu", 2});
  EXPECT_TRUE(device->description().starts_with("cpu ("));
  EXPECT_NE(device->description().find("2 threads"), std::string::npos);
  EXPECT_THROW(createCpuDevice({"cpu", -3}), Error);
}

TEST(CpuDevice, InstructionSetsIncludeTheSmaller) {
  EXPECT_FALSE(cpuSupports("z80"));
  if (cpuSupports("amx")) {
    EXPECT_TRUE(cpuSupports("avx512bf16"));
  }
  if (cpuSupports("avx512bf16")) {
    EXPECT_TRUE(cpuSupports("x86-64-v4"));
  }
  if (cpuSupports("x86-64-v4")) {
    EXPECT_TRUE(cpuSupports("x86-64-v3"));
  }
  EXPECT_TRUE(bestCpuIsa().empty() || cpuSupports(bestCpuIsa()));
}

/// Why a device refuses a program.
std::string loadProblem(program::ProgramT source) {
  LoadedProgram loaded = LoadedProgram::fromBytes(pack(source), "");
  try {
    createCpuDevice({"cpu", 1})->load(loaded.target("cpu"));
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(CpuDevice, RefusesWhatIsNotALibrary) {
  program::ProgramT source = scaleProgram();
  source.targets[0]->cpu_libraries[0]->data.assign(1000, 3);
  EXPECT_TRUE(loadProblem(std::move(source)).starts_with("cannot load the kernels: "));
}

TEST(CpuDevice, NamesTheMissingKernel) {
  program::ProgramT source = scaleProgram();
  source.targets[0]->kernels[1]->name = "absent";
  EXPECT_NE(loadProblem(std::move(source)).find("lacks the kernel 'absent'"), std::string::npos);
}

TEST(CpuDevice, NamesMissingInstructionSets) {
  if (cpuSupports("amx"))
    GTEST_SKIP() << "this machine supports every instruction set";
  program::ProgramT source = scaleProgram();
  source.targets[0]->cpu_libraries[0]->isa = "amx";
  EXPECT_TRUE(loadProblem(std::move(source)).starts_with("this model was compiled for amx"));
}

TEST(CpuDevice, TwoDevicesKeepTheirOwnLibraries) {
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<LoadedProgram> programs;
  for (int factor : {3, 5}) {
    program::ProgramT source = scaleProgram();
    source.targets[0]->cpu_libraries[0]->data = compileC(
        "void twice(void *const *b, const long *s, void *t, long begin, long end) {\n"
        "  for (long i = begin; i < end; ++i) ((float *)b[1])[i] = " +
        std::to_string(factor) + " * ((float *)b[0])[i];\n}\nvoid scale(void) {}\n");
    programs.push_back(LoadedProgram::fromBytes(pack(source), ""));
    devices.push_back(createCpuDevice({"cpu", 1}));
    devices.back()->load(programs.back().target("cpu"));
    EXPECT_THROW(devices.back()->load(programs.back().target("cpu")), Error);
  }
  float in = 2, out[2];
  for (int i : {0, 1}) {
    void *buffers[] = {&in, &out[i]};
    LaunchArgs args;
    args.buffers = buffers;
    devices[size_t(i)]->launch(args);
  }
  EXPECT_EQ(out[0], 6);
  EXPECT_EQ(out[1], 10);
}

} // namespace
