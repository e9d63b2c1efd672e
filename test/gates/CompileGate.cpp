//===- CompileGate.cpp - Every kernel of every model compiles -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// By NVRTC, for sm_80, sm_89 and sm_90a, without spilled registers, without stack, without
// serialised wgmma, and with no more shared memory than a block can have. The short form: bf16 for
// sm_90a; a few models for the other architectures and in f32 as well; bench/programs. MLSYS_GATES=all
// (scripts/cuda-gates --all): everything.
//
//===----------------------------------------------------------------------===//

#include "Gates.h"

#include "runtime/Parallel.h"

#include <gtest/gtest.h>

#include <mutex>

using namespace mlsys;
using namespace mlsys::test;
using program::DType;

namespace {

struct Case {
  GateModel model;
  std::string arch;
  DType dtype;
  std::vector<int64_t> decodeBuckets;
};

void PrintTo(const Case &test, std::ostream *os) { *os << test.model.name << " for " << test.arch; }

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  if (info.param.model.program)
    return info.param.model.name + "_" + info.param.arch;
  return info.param.model.name + "_" + info.param.arch + (info.param.dtype == DType::F32 ? "_f32" : "_bf16");
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const GateModel &model : gateModels())
    for (DType dtype : {DType::BF16, DType::F32})
      for (const char *arch : {"sm_90a", "sm_80", "sm_89"}) {
        bool first = dtype == DType::BF16 && std::string(arch) == "sm_90a";
        // Larger types have the same kernels for more weights.
        if (dtype == DType::F32 && model.randomWeights)
          continue;
        if (checkAll())
          all.push_back({model, arch, dtype, {1, 2, 4, 8, 16}});
        else if (first && model.randomWeights)
          all.push_back({model, arch, dtype, {1, 8}});
        else if (first || (model.representative && dtype == DType::BF16))
          all.push_back({model, arch, dtype, {1}});
        else if (model.name == "llama" && std::string(arch) == "sm_90a")
          all.push_back({model, arch, dtype, {1, 8}});
      }
  for (const GateModel &program : gatePrograms())
    for (const char *arch : {"sm_90a", "sm_80", "sm_89"})
      all.push_back({program, arch, DType::BF16, {}});
  return all;
}

using EveryKernelCompiles = testing::TestWithParam<Case>;

TEST_P(EveryKernelCompiles, WithoutSpillsAndStack) {
  const Case &test = GetParam();
  std::shared_ptr<rt::Nvrtc> nvrtc = openGateNvrtc();
  std::vector<GateKernel> kernels =
      compileKernelTexts(test.model, test.arch, test.dtype, test.decodeBuckets);
  ASSERT_FALSE(kernels.empty());
  std::mutex mutex;
  rt::forEachInParallel(kernels.size(), [&](size_t i) {
    const GateKernel &kernel = kernels[i];
    std::string error;
    rt::CompiledKernel compiled;
    try {
      compiled = compileGateKernel(*nvrtc, kernel.text, test.arch);
    } catch (const std::exception &failure) {
      error = failure.what();
    }
    std::lock_guard lock(mutex);
    EXPECT_EQ(error, "") << kernel.text.name;
    EXPECT_EQ(compiled.spillBytes + compiled.stackBytes, 0) << kernel.text.name;
    EXPECT_LE(kernel.sharedBytes + compiled.sharedBytes, sharedMemoryOf(test.arch))
        << kernel.text.name << " has too much shared memory";
  });
}

INSTANTIATE_TEST_SUITE_P(Gate, EveryKernelCompiles, testing::ValuesIn(cases()), nameOf);

//===----------------------------------------------------------------------===//
// The gate itself
//===----------------------------------------------------------------------===//

/// What NVRTC's wrapper says about a text that compiles.
std::string complaint(const std::string &name, const std::string &text) {
  try {
    openGateNvrtc()->compile({name, text}, "sm_90a");
  } catch (const std::exception &error) {
    return error.what();
  }
  return "";
}

TEST(CompileGate, CatchesSpills) {
  std::string error = complaint("wide", R"(#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(1024) wide(const f32 *a0, f32 *a1) {
  f32 values[128];
  MLSYS_UNROLL
  for (int i = 0; i < 128; ++i)
    values[i] = a0[i * 1024 + thread_x()];
  MLSYS_UNROLL
  for (int i = 0; i < 128; ++i)
    for (int j = 0; j < 4; ++j)
      values[i] += values[(i * 7 + 3 + j) % 128] * values[(i * 5 + 1) % 128];
  MLSYS_UNROLL
  for (int i = 0; i < 128; ++i)
    a1[i * 1024 + thread_x()] = values[i];
})");
  EXPECT_NE(error.find("kernel 'wide' spills"), std::string::npos) << error;
}

TEST(CompileGate, CatchesSerialisedWgmma) {
  // The sums are read between two products without a wait.
  std::string error = complaint("serial", R"(
extern "C" __global__ void __launch_bounds__(128) serial(float *a0, unsigned long long a, unsigned long long b) {
  float d[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  for (int i = 0; i < 4; ++i) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(b));
    d[i] += 1.0f;
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  for (int i = 0; i < 4; ++i)
    a0[threadIdx.x * 4 + i] = d[i];
})");
  EXPECT_NE(error.find("serialises its wgmma"), std::string::npos) << error;
}

} // namespace
