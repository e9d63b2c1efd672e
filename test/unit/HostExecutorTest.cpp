//===- HostExecutorTest.cpp - CUDA text on the host executor --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

#include <cstdlib>
#include <optional>

using namespace mlsys::rt;
using namespace mlsys::rt::test;


namespace {

const std::vector<HostCudaDevice::Source> sources = {
    {"rms_norm", R"(
#include "mlsys/types.cuh"
#include "mlsys/reduce.cuh"
extern "C" __global__ void __launch_bounds__(128) rms_norm(const bf16 *a0, const f32 *a1, bf16 *a2, long long N) {
  const bf16 *x = a0 + (i64)block_x() * N;
  pdl_wait();
  float sum = 0.0f;
  for (i64 i = thread_x() * 4; i < N; i += block_dim_x() * 4) {
    auto v = convert<f32>(load<4>(x + i));
    sum += reduce_vec<SumOp>(v * v);
  }
  float scale = rsqrt(block_sum(sum) / (float)N + 1.0e-5f);
  for (i64 i = thread_x() * 4; i < N; i += block_dim_x() * 4)
    store<4>(a2 + (i64)block_x() * N + i, convert<bf16>(convert<f32>(load<4>(x + i)) * scale * load<4>(a1 + i)));
}
)"},
    // Its only fault: no barrier between the write and the read of shared memory.
    {"missing_barrier", R"(
#include "mlsys/reduce.cuh"
extern "C" __global__ void __launch_bounds__(128) missing_barrier(const f32 *a0, f32 *a1) {
  float *shared = shared_memory<float>();
  shared[thread_x()] = a0[thread_x()];
  a1[thread_x()] = shared[127 - thread_x()];
}
)"},
    {"store_out_of_bounds", R"(
#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(64) store_out_of_bounds(f32 *a0, long long N) {
  for (i64 i = thread_x(); i <= N; i += block_dim_x())
    a0[i] = 1.0f;
}
)"},
    {"divergent_barrier", R"(
#include "mlsys/reduce.cuh"
extern "C" __global__ void __launch_bounds__(64) divergent_barrier(f32 *a0) {
  if (thread_x() < 32)
    bar_sync();
  a0[thread_x()] = warp_sum(1.0f);
  if (thread_x() < 7)
    a0[0] = shfl_xor(1.0f, 1);
  else
    bar_sync();
}
)"},
    // copies[0] says how many groups may be under way when the data is read: 0 is right.
    {"copy_async", R"(
#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(32) copy_async(const f32 *a0, f32 *a1, long long early) {
  float *shared = shared_memory<float>();
  for (int stage = 0; stage < 2; ++stage) {
    cp_async16(shared_address(shared + stage * 128 + thread_x() * 4), a0 + stage * 128 + thread_x() * 4,
               stage == 1 && thread_x() == 31 ? 8 : 16);
    cp_commit();
  }
  if (early)
    cp_wait<1>();
  else
    cp_wait<0>();
  warp_sync();
  for (int stage = 0; stage < 2; ++stage)
    store<4>(a1 + stage * 128 + (31 - thread_x()) * 4, load<4>(shared + stage * 128 + (31 - thread_x()) * 4));
}
)"},
    {"divide", R"(
#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(32) divide(i32 *a0, long long N) {
  a0[thread_x()] = 7 / a0[thread_x()];
}
)"},
    {"misaligned", R"(
#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(32) misaligned(const f32 *a0, f32 *a1) {
  store<4>(a1 + thread_x() * 4, load<4>(a0 + 1 + thread_x() * 4));
}
)"},
    {"shared_overflow", R"(
#include "mlsys/types.cuh"
extern "C" __global__ void __launch_bounds__(32) shared_overflow(f32 *a0, long long words) {
  shared_memory<float>()[words] = 1.0f;
  a0[0] = shared_memory<float>()[words];
}
)"},
    {"reductions", R"(
#include "mlsys/reduce.cuh"
extern "C" __global__ void reductions(const f32 *a0, f32 *a1, i64 *a2) {
  float x = a0[thread_x()];
  float sum = block_sum(x), largest = block_max(x), least = block_min(x);
  indexed<float> first = block_reduce<ArgMaxOp>(indexed<float>{x, thread_x()});
  i64 count = block_sum((i64)1);
  float *out = a1 + thread_x() * 4;
  out[0] = sum;
  out[1] = largest;
  out[2] = least;
  out[3] = warp_sum(x);
  a2[thread_x() * 2] = count;
  a2[thread_x() * 2 + 1] = first.index;
}
)"},
};

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    auto loaded = std::make_unique<HostCudaDevice>(2, schedule);
    loaded->loadSources(sources);
    device = std::move(loaded);
  }
  return *device;
}

uint32_t kernelNamed(const std::string &name) {
  for (uint32_t i = 0; i < sources.size(); ++i)
    if (sources[i].name == name)
      return i;
  throw Error("no kernel {}", name);
}

class HostExecutorTest : public testing::TestWithParam<HostSchedule> {
protected:
  HostCudaDevice &device = deviceOf(GetParam());
};

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_P(HostExecutorTest, rowNormIsRight) {
  for (int n : {4, 64, 516}) {
    int rows = 5;
    std::vector<float> x = randomValues(rows * n, 1), w = randomValues(n, 2);
    DeviceBuffer<uint16_t> a0(device, toBf16(x)), a2(device, rows * n);
    DeviceBuffer<float> a1(device, w);
    launchKernel(device, kernelNamed("rms_norm"), {a0.data, a1.data, a2.data}, {n}, {rows}, 128);
    std::vector<uint16_t> y = a2.read();
    for (int r = 0; r < rows; ++r) {
      double sum = 0;
      for (int i = 0; i < n; ++i)
        sum += double(x[r * n + i]) * x[r * n + i];
      for (int i = 0; i < n; ++i) {
        double expected = x[r * n + i] / std::sqrt(sum / n + 1e-5) * w[i];
        ASSERT_NEAR(bf16ToFloat(y[r * n + i]), expected, std::abs(expected) / 200 + 1e-6) << "n " << n << " at " << i;
      }
    }
  }
}

TEST_P(HostExecutorTest, reductionsGiveEveryThreadTheResult) {
  for (int threads : {32, 64, 96, 1024}) {
    std::vector<float> x = randomValues(threads, 3);
    x[threads - 2] = 50.0f;
    x[threads - 1] = 50.0f;
    DeviceBuffer<float> a0(device, x), a1(device, threads * 4);
    DeviceBuffer<int64_t> a2(device, threads * 2);
    launchKernel(device, kernelNamed("reductions"), {a0.data, a1.data, a2.data}, {}, {1}, threads);
    std::vector<float> out = a1.read();
    std::vector<int64_t> counts = a2.read();
    double sum = 0;
    float least = x[0];
    for (float value : x) {
      sum += value;
      least = std::min(least, value);
    }
    for (int t = 0; t < threads; ++t) {
      double warp = 0;
      for (int i = t / 32 * 32; i < t / 32 * 32 + 32; ++i)
        warp += x[i];
      ASSERT_NEAR(out[t * 4], sum, 1e-3);
      ASSERT_EQ(out[t * 4 + 1], 50.0f);
      ASSERT_EQ(out[t * 4 + 2], least);
      ASSERT_NEAR(out[t * 4 + 3], warp, 1e-4);
      ASSERT_EQ(counts[t * 2], threads);
      ASSERT_EQ(counts[t * 2 + 1], threads - 2);
    }
  }
}

TEST_P(HostExecutorTest, storeOutOfBoundsIsReported) {
  for (int n : {64, 100, 1024}) {
    DeviceBuffer<float> a0(device, n);
    std::string error =
        errorOf([&] { launchKernel(device, kernelNamed("store_out_of_bounds"), {a0.data}, {n}, {1}, 64); });
    EXPECT_TRUE(contains(error, "store_out_of_bounds")) << error;
    EXPECT_TRUE(contains(error, "of a buffer of " + std::to_string(n * 4) + " bytes")) << error;
    if (n % 64)
      std::memset(a0.data + n, 0xa5, 4); // what later launches check
  }
}

TEST_P(HostExecutorTest, divergenceIsReported) {
  DeviceBuffer<float> a0(device, 64);
  std::string error =
      errorOf([&] { launchKernel(device, kernelNamed("divergent_barrier"), {a0.data}, {}, {1}, 64); });
  EXPECT_TRUE(contains(error, "divergent_barrier")) << error;
  EXPECT_TRUE(contains(error, "thread")) << error;
}

TEST_P(HostExecutorTest, asyncCopiesLandWhenWaitedFor) {
  std::vector<float> x = randomValues(256, 4);
  DeviceBuffer<float> a0(device, x), a1(device, 256);
  launchKernel(device, kernelNamed("copy_async"), {a0.data, a1.data}, {0}, {1}, 32, 1024);
  std::vector<float> y = a1.read();
  for (int i = 0; i < 254; ++i)
    ASSERT_EQ(y[i], x[i]);
  EXPECT_EQ(y[254], 0.0f);
  EXPECT_EQ(y[255], 0.0f);
}

TEST_P(HostExecutorTest, underWaitedCopyGivesNaN) {
  DeviceBuffer<float> a0(device, randomValues(256, 4)), a1(device, 256);
  launchKernel(device, kernelNamed("copy_async"), {a0.data, a1.data}, {1}, {1}, 32, 1024);
  std::vector<float> y = a1.read();
  EXPECT_FALSE(std::isnan(y[0]));
  for (int i = 128; i < 256; ++i)
    ASSERT_TRUE(std::isnan(y[i])) << i;
}

TEST_P(HostExecutorTest, faultsAreReported) {
  DeviceBuffer<int32_t> zeros(device, std::vector<int32_t>(32, 0));
  EXPECT_TRUE(contains(errorOf([&] { launchKernel(device, kernelNamed("divide"), {zeros.data}, {1}, {1}, 32); }),
                       "division by zero"));
  DeviceBuffer<float> a(device, 256), b(device, 256);
  EXPECT_TRUE(contains(errorOf([&] { launchKernel(device, kernelNamed("misaligned"), {a.data, b.data}, {}, {1}, 32); }),
                       "misaligned load"));
  EXPECT_TRUE(contains(
      errorOf([&] { launchKernel(device, kernelNamed("shared_overflow"), {a.data}, {1024}, {1}, 32, 4096); }),
      "no memory of the kernel"));
}

TEST_P(HostExecutorTest, wrongLaunchesAreReported) {
  DeviceBuffer<float> a(device, 256);
  EXPECT_TRUE(contains(errorOf([&] { launchKernel(device, kernelNamed("misaligned"), {a.data}, {}, {1}, 32); }),
                       "has 2 parameters"));
  EXPECT_TRUE(contains(
      errorOf([&] { launchKernel(device, kernelNamed("misaligned"), {a.data, a.data}, {}, {1}, 2048); }), "1024"));
  EXPECT_TRUE(contains(
      errorOf([&] { launchKernel(device, kernelNamed("misaligned"), {a.data, a.data}, {}, {1}, 32, 1 << 20); }),
      "shared memory"));
}

INSTANTIATE_TEST_SUITE_P(Schedules, HostExecutorTest, testing::ValuesIn(schedules));

TEST(HostExecutorBugsTest, someScheduleShowsAMissingBarrier) {
  int caught = 0;
  for (HostSchedule schedule : schedules) {
    HostCudaDevice &device = deviceOf(schedule);
    std::vector<float> x = randomValues(128, 5);
    DeviceBuffer<float> a0(device, x), a1(device, 128);
    launchKernel(device, kernelNamed("missing_barrier"), {a0.data, a1.data}, {}, {1}, 128, 512);
    std::vector<float> y = a1.read();
    bool right = true;
    for (int i = 0; i < 128; ++i)
      right = right && y[i] == x[127 - i];
    caught += !right;
  }
  EXPECT_EQ(caught, 3);
}

TEST(HostExecutorBugsTest, badTextIsACompilerError) {
  HostCudaDevice device(1, HostSchedule::Forward);
  std::string error = errorOf([&] {
    device.loadSources({{"wrong", "#include \"mlsys/types.cuh\"\nextern \"C\" __global__ void wrong(f32 *a) { b[0] = 1; }"}});
  });
  EXPECT_TRUE(contains(error, "wrong.cu:2")) << error;
}

namespace {
/// A variable of the environment with another value (null: none) until the end of the scope.
struct Variable {
  std::string name;
  std::optional<std::string> before;
  Variable(const char *name, const char *value) : name(name) {
    if (const char *old = std::getenv(name))
      before = old;
    value ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Variable() { before ? setenv(name.c_str(), before->c_str(), 1) : unsetenv(name.c_str()); }
};
} // namespace

TEST(HostCompilerTest, missingAndBrokenCompilersAreNamed) {
  {
    Variable given("MLSYS_HOST_CXX", nullptr), path("PATH", "/nowhere");
    EXPECT_EQ(errorOf([] { findHostCompiler(); }),
              "--device host-cuda needs a C++ compiler, and PATH has neither clang++ nor g++; install one or set "
              "MLSYS_HOST_CXX");
  }
  Variable given("MLSYS_HOST_CXX", "/bin/false");
  EXPECT_EQ(findHostCompiler(), "/bin/false");
  HostCudaDevice device(1, HostSchedule::Forward);
  std::string error = errorOf([&] { device.loadSources({sources[0]}); });
  EXPECT_TRUE(contains(error, "/bin/false is no C++ compiler that works")) << error;
}

// Several translation units: a kernel of each is found and runs.
TEST(HostCompilerTest, manyKernels) {
  std::vector<HostCudaDevice::Source> many;
  for (int i = 0; i < 20; ++i)
    many.push_back({"number_" + std::to_string(i),
                    "#include \"mlsys/types.cuh\"\nextern \"C\" __global__ void number_" + std::to_string(i) +
                        "(f32 *a0) { a0[thread_x()] = " + std::to_string(i) + "; }"});
  HostCudaDevice device(1, HostSchedule::Forward);
  device.loadSources(many);
  DeviceBuffer<float> a0(device, 32);
  for (uint32_t i : {0u, 7u, 8u, 19u}) {
    launchKernel(device, i, {a0.data}, {}, {1}, 32);
    EXPECT_EQ(a0.read()[31], float(i));
  }
}
