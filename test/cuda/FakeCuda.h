//===- FakeCuda.h - The fake CUDA driver, for tests -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/CudaDevice.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <utility>
#include <vector>

namespace mlsys::test {

/// The driver is opened at its first use, so the variable is set before main.
inline const bool fakeDriver = setenv("MLSYS_CUDA_DRIVER", MLSYS_FAKE_CUDA, 1) == 0;

/// A function of the fake driver.
template <class Function> Function *fake(const char *name) {
  static void *library = dlopen(MLSYS_FAKE_CUDA, RTLD_NOW);
  return reinterpret_cast<Function *>(dlsym(library, name));
}
/// The calls since the last time, and the kernels that have run.
inline std::string takeCalls() { return fake<const char *()>("fakeTakeCalls")(); }
inline std::string takeRuns() { return fake<const char *()>("fakeTakeRuns")(); }
/// Makes a function fail after so many calls.
inline void failNext(const char *name, int code = 719, int after = 0) {
  fake<void(const char *, int, int)>("fakeFail")(name, code, after);
}
inline void setParameters(int count) { fake<void(int)>("fakeParameters")(count); }
inline size_t usedBytes() { return fake<size_t()>("fakeUsed")(); }
inline size_t pinnedBytes() { return fake<size_t()>("fakePinned")(); }
inline int liveGraphs() { return fake<int()>("fakeGraphs")(); }

struct KernelSpec {
  std::string name, text;
  std::vector<std::pair<std::string, std::string>> cubins;
};

/// A TargetProgram with these kernels; `builder` owns it.
inline const program::TargetProgram &makeProgram(flatbuffers::FlatBufferBuilder &builder,
                                                 const std::vector<KernelSpec> &specs) {
  program::TargetProgramT target;
  target.target = "cuda";
  for (const KernelSpec &spec : specs) {
    auto kernel = std::make_unique<program::KernelT>();
    kernel->name = spec.name;
    kernel->cuda_text = spec.text;
    for (auto &[arch, data] : spec.cubins) {
      auto cubin = std::make_unique<program::CubinT>();
      cubin->arch = arch;
      cubin->data.assign(data.begin(), data.end());
      cubin->data.push_back(0);
      kernel->cubins.push_back(std::move(cubin));
    }
    target.kernels.push_back(std::move(kernel));
  }
  builder.Finish(program::TargetProgram::Pack(builder, &target));
  return *flatbuffers::GetRoot<program::TargetProgram>(builder.GetBufferPointer());
}

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

template <class Body> std::string errorOf(Body body) {
  try {
    body();
  } catch (const rt::Error &error) {
    return error.what();
  }
  return "";
}

/// Begins and ends with a driver that fails nowhere.
class FakeCudaTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_TRUE(fakeDriver);
    takeCalls();
    takeRuns();
    setParameters(0);
  }
  void TearDown() override { failNext(""); }
};

} // namespace mlsys::test
