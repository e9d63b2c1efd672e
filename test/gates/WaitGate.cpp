//===- WaitGate.cpp - Kernels touch nothing before they may ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// On Hopper a kernel may start before the one ahead of it has ended. In the machine code of every kernel: all paths wait
// (griddepcontrol.wait), and before that nothing is written and only constants are read. The short form: a few
// models. MLSYS_GATES=all: every model and decode bucket.
//
//===----------------------------------------------------------------------===//

#include "Gates.h"
#include "Sass.h"

#include "runtime/Parallel.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

using namespace mlsys;
using namespace mlsys::test;

namespace {

constexpr const char *arch = "sm_90a";

std::string join(const std::vector<std::string> &lines) {
  std::string text;
  for (const std::string &line : lines)
    text += line + "\n";
  return text;
}

std::vector<GateModel> models() {
  std::vector<GateModel> some;
  for (const GateModel &model : gateModels())
    // Large products of Hopper are in the shapes of 1B alone.
    if (checkAll() || model.representative || model.name == "llama_3_2_1b")
      some.push_back(model);
  return some;
}

using EveryKernelWaits = testing::TestWithParam<GateModel>;

TEST_P(EveryKernelWaits, BeforeItTouchesMemory) {
  std::shared_ptr<rt::Nvrtc> nvrtc = openGateNvrtc();
  std::vector<int64_t> buckets = {1};
  if (checkAll())
    buckets = {1, 2, 4, 8, 16};
  std::vector<GateKernel> kernels =
      compileKernelTexts(GetParam(), arch, program::DType::BF16, buckets);
  std::mutex mutex;
  rt::forEachInParallel(kernels.size(), [&](size_t i) {
    const GateKernel &kernel = kernels[i];
    std::string problems;
    try {
      rt::CompiledKernel compiled = compileGateKernel(*nvrtc, kernel.text, arch);
      problems = join(checkGridWait(parseSass(disassemble(compiled.cubin)), kernel.constants));
    } catch (const std::exception &error) {
      problems = error.what();
    }
    std::lock_guard lock(mutex);
    EXPECT_EQ(problems, "") << kernel.text.name;
  });
}

INSTANTIATE_TEST_SUITE_P(Gate, EveryKernelWaits, testing::ValuesIn(models()),
                         [](const auto &info) { return info.param.name; });

//===----------------------------------------------------------------------===//
// The gate itself
//===----------------------------------------------------------------------===//

/// What is wrong with a kernel of constants a0, a1 and buffers a2, a3.
std::string problemsOf(const std::string &body) {
  rt::KernelText text{"k", "#include \"mlsys/types.cuh\"\nextern \"C\" __global__ void __launch_bounds__(128) "
                           "k(const f32 *a0, const i32 *a1, const f32 *a2, f32 *a3, long long n) {\n" +
                               body + "}\n"};
  rt::CompiledKernel compiled = openGateNvrtc()->compile(text, arch);
  return join(checkGridWait(parseSass(disassemble(compiled.cubin)), {true, true, false, false}));
}

TEST(WaitGate, TakesConstantsBeforeTheWait) {
  EXPECT_EQ(problemsOf(R"(
  f32 sum = 0;
  for (i64 i = thread_x(); i < n / 3; i += 128)
    sum += a0[i % (n - 5) + a1[i]];
  pdl_launch();
  pdl_wait();
  a3[thread_x()] = sum + a2[thread_x()];
)"),
            "");
  // On both ways, and the one that has nothing to do.
  EXPECT_EQ(problemsOf(R"(
  if (n > 7) {
    f32 weight = a0[n];
    pdl_wait();
    a3[n] = a2[n] * weight;
  } else {
    pdl_wait();
  }
)"),
            "");
}

TEST(WaitGate, CatchesLoadsOfOtherMemory) {
  EXPECT_NE(problemsOf("  f32 early = a2[thread_x()];\n  pdl_wait();\n  a3[thread_x()] = early;\n")
                .find("memory that is no constant is read before the wait"),
            std::string::npos);
  // One of two pointers, chosen at run time.
  EXPECT_NE(problemsOf("  const f32 *p = n > 3 ? a0 : a2;\n  f32 early = p[thread_x()];\n  pdl_wait();\n"
                       "  a3[thread_x()] = early;\n")
                .find("memory that is no constant is read before the wait"),
            std::string::npos);
}

TEST(WaitGate, CatchesAsynchronousCopies) {
  EXPECT_NE(problemsOf(R"(
  f32 *shared = shared_memory<f32>();
  cp_async16(shared_address(shared + 4 * thread_x()), a2 + 4 * thread_x(), 16);
  cp_commit();
  pdl_wait();
  cp_wait<0>();
  a3[thread_x()] = shared[4 * thread_x()];
)")
                .find("memory that is no constant is read before the wait"),
            std::string::npos);
}

TEST(WaitGate, CatchesStores) {
  EXPECT_NE(problemsOf("  a3[thread_x()] = a0[n];\n  pdl_wait();\n").find("memory is written before the wait"),
            std::string::npos);
}

TEST(WaitGate, CatchesPathsWithoutAWait) {
  EXPECT_NE(problemsOf("  if (thread_x() >= n)\n    return;\n  pdl_wait();\n  a3[thread_x()] = a2[n];\n")
                .find("a path ends without a wait"),
            std::string::npos);
  EXPECT_NE(problemsOf("  a3[thread_x()] = a2[n];\n").find("a path ends without a wait"), std::string::npos);
}

TEST(WaitGate, CatchesAddressesFromMemory) {
  EXPECT_NE(problemsOf("  const f32 *p = *(const f32 *const *)(a0 + 2 * thread_x());\n  f32 early = *p;\n  pdl_wait();\n"
                       "  a3[thread_x()] = early;\n")
                .find("at an address from no parameter"),
            std::string::npos);
}

} // namespace
