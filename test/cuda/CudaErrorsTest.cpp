//===- CudaErrorsTest.cpp - What the tools say without a good GPU ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include "runtime/Nvrtc.h"
#include "runtime/Program.h"
#include "test/support/Process.h"
#include "test/unit/TestPrograms.h"

#include <algorithm>

using namespace mlsys;
using namespace mlsys::test;

namespace {

/// The language program for GPUs, with code for sm_90 or whatever `arch` says.
class CudaErrorsTest : public testing::Test {
protected:
  std::string write(const std::string &name, const std::string &arch = "sm_90") {
    program::ProgramT program = languageProgram();
    program::TargetProgramT &target = *program.targets[0];
    target.target = "cuda";
    target.cpu_libraries.clear();
    for (auto &kernel : target.kernels) {
      kernel->scratch_bytes = 0;
      kernel->cuda_text = "extern \"C\" __global__ void " + kernel->name + "() {}";
      auto cubin = std::make_unique<program::CubinT>();
      cubin->arch = arch;
      cubin->data = {'A', 0};
      kernel->cubins.push_back(std::move(cubin));
    }
    rt::writeProgramFile(folder / name, pack(program));
    return folder / name;
  }

  /// The last line of a failing mlsys-run; the lines before it may be warnings.
  std::string errorOf(const std::string &environment, const std::string &arguments,
                      const std::string &driver = MLSYS_FAKE_CUDA) {
    Outcome outcome = runShell("MLSYS_CUDA_DRIVER=" + driver + " " + environment + " " + MLSYS_RUN + " " + arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.output;
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    return outcome.output;
  }

  TempFolder folder;
};

} // namespace

TEST_F(CudaErrorsTest, everyCommandSaysThatThereIsNoDriver) {
  std::string file = write("m.mlsys"), expected =
                                           "error: --device cuda: the NVIDIA driver (/nonexistent/libcuda.so) is not "
                                           "installed; use --device cpu, or --device host-cuda to run CUDA kernels on "
                                           "the CPU\n";
  for (const std::string &command :
       {"generate " + file + " --prompt-ids 1 --ids", "chat " + file, "bench " + file + " -p 4",
        "run " + file + " --output-dir " + (folder / "o"), "embed " + file + " -p a"})
    EXPECT_EQ(errorOf("", command + " --device cuda < /dev/null", "/nonexistent/libcuda.so"), expected) << command;
  Outcome devices = runShell(std::string("MLSYS_CUDA_DRIVER=/nonexistent/libcuda.so ") + MLSYS_RUN + " devices");
  EXPECT_EQ(devices.code, 0);
  EXPECT_TRUE(contains(devices.output, "not available: --device cuda: the NVIDIA driver")) << devices.output;
}

TEST_F(CudaErrorsTest, drivers) {
  std::string file = write("m.mlsys"), generate = "generate " + file + " --prompt-ids 1 --ids -n 4 --device cuda";
  struct Case {
    std::string environment, arguments, expected;
  };
  const Case cases[] = {
      {"FAKE_CUDA=version=11080", "",
       "the NVIDIA driver is too old: it runs CUDA 11.8, and mlsys needs 12.0 or later; update the driver"},
      {"FAKE_CUDA=gpus=0", "", "--device cuda: there is no NVIDIA GPU"},
      {"FAKE_CUDA=init=100", "", "--device cuda: there is no NVIDIA GPU"},
      {"FAKE_CUDA=gpus=0 CUDA_VISIBLE_DEVICES=7", "", "there is no GPU that CUDA_VISIBLE_DEVICES ('7') names"},
      {"FAKE_CUDA=init=999", "", "starting the NVIDIA driver failed: a fake failure (error 999)"},
      {"FAKE_CUDA=major=7", "",
       "--device cuda:0: Fake 100 has compute capability 7.0, and the kernels need 8.0 (Ampere) or later; use "
       "--device cpu"},
      {"", ":5", "--device cuda:5: this machine has 2 GPUs, numbered from 0"},
      {"FAKE_CUDA=cuDevicePrimaryCtxRetain=2", "", "starting Fake 100 failed"},
      {"FAKE_CUDA=memory=500", "",
       "not enough memory on Fake 100 (cuda:0): the KV cache needs 512 bytes and 500 bytes of 500 bytes are free; use "
       "a smaller --ctx-size"},
      {"FAKE_CUDA=memory=560", "", "the temporaries of a step need "},
      {"FAKE_CUDA=version=12040,cuModuleLoadData=200", "",
       "the NVIDIA driver, which runs CUDA 12.4, does not take the program's code of kernel 'write_cache' for Fake "
       "100 (sm_90a)"},
  };
  for (const Case &test : cases) {
    std::string error = errorOf(test.environment, generate + test.arguments);
    EXPECT_TRUE(contains(error, test.expected)) << error;
    EXPECT_TRUE(error.starts_with("error: ")) << error;
  }
  std::string old = errorOf("", generate, MLSYS_FAKE_OLD_CUDA);
  EXPECT_TRUE(contains(old, "it runs CUDA 11.4, and mlsys needs 12.0")) << old;
}

TEST_F(CudaErrorsTest, gpusThatNoKernelFits) {
  std::string generate = "generate " + write("m.mlsys", "sm_100a") + " --prompt-ids 1 --ids -n 4 --device cuda";
  std::string error = errorOf("MLSYS_NVRTC=/nonexistent/libnvrtc.so", generate);
  EXPECT_TRUE(contains(error, "3 of the program's 3 kernels are not compiled for Fake 100 (sm_90a), and NVRTC, which "
                              "compiles CUDA kernels, is not found (looked for /nonexistent/libnvrtc.so)"))
      << error;
  auto nvrtc = rt::Nvrtc::open();
  if (!nvrtc || nvrtc->majorVersion() < 13)
    GTEST_SKIP() << "NVRTC 13 is not installed";
  error = errorOf("FAKE_CUDA=version=12060 MLSYS_NVRTC=" + nvrtc->path(), generate);
  EXPECT_TRUE(contains(error, "the NVIDIA driver is too old for NVRTC " + nvrtc->version())) << error;
  EXPECT_TRUE(contains(error, "it runs CUDA 12.6; update the driver, or set MLSYS_NVRTC to")) << error;
}

TEST_F(CudaErrorsTest, aGoodGpuNeedsNone) {
  Outcome outcome = runShell(std::string("MLSYS_CUDA_DRIVER=") + MLSYS_FAKE_CUDA + " " + MLSYS_RUN + " generate " +
                             write("m.mlsys") + " --prompt-ids 1 --ids -n 4 --device cuda:0");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  outcome = runShell(std::string("MLSYS_CUDA_DRIVER=") + MLSYS_FAKE_CUDA + " " + MLSYS_RUN + " devices");
  EXPECT_TRUE(contains(outcome.output, "cuda:0 (Fake 100, sm_90a, 80.0 GiB)")) << outcome.output;
}
