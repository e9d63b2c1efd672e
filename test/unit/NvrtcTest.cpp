//===- NvrtcTest.cpp - Kernels compiled for GPUs --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"
#include "runtime/Nvrtc.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

using namespace mlsys::rt;
using namespace mlsys::rt::test;
namespace fs = std::filesystem;

namespace {

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

/// A kernel for each template at the sizes that need most registers.
std::vector<KernelText> templates() {
  const std::string epilogue = R"([&](auto tile, int row0, int col0, int rows, int cols) {
    for_tile<2>(rows, cols, [&](int m, int n) {
      store<2>(a3 + (i64)(row0 + m) * N + col0 + n, convert<T>(tile.template load<2>(m, n)));
    });
  })";
  const std::string pair = R"([&](auto tile, int row0, int col0, int rows, int cols) {
    for_tile<2>(rows, cols, [&](int m, int n) {
      auto x = tile.template load<2>(0, m, n);
      store<2>(a3 + (i64)(row0 + m) * N + col0 + n, convert<T>(x / (1.0f + exp(-x)) * tile.template load<2>(1, m, n)));
    });
  })";
  std::vector<KernelText> kernels;
  auto product = [&](const std::string &name, const std::string &type, const std::string &config, int count) {
    std::string list = count == 2 ? "weights(a1, a2, K)" : "weights(a1, K)";
    std::string call = config.starts_with("Gemv") ? "gemv<Config>(Rows<T>{a0, K}, " + list + ", M, N, K, "
                                                  : "matmul<Config>(Rows<T>{a0, K}, " + list +
                                                        ", M, N, K, block_y() * Config::BM, ";
    kernels.push_back({name, "#include \"mlsys/gemv.cuh\"\ntypedef " + type + " T;\ntypedef " + config +
                                 " Config;\nextern \"C\" __global__ void __launch_bounds__(Config::threads) " + name +
                                 "(const T *a0, const T *a1, const T *a2, T *a3, long long M, long long N, long long "
                                 "K) {\n  pdl_wait();\n  " +
                                 call + "block_x() * Config::BN, " + (count == 2 ? pair : epilogue) + ");\n}\n"});
  };
  product("mma_128_128", "bf16", "MatmulConfig<128, 128, 32, 4, 2, 2>", 1);
  product("mma_256_128", "f16", "MatmulConfig<256, 128, 32, 3, 4, 2>", 1);
  product("mma_128_64_pair", "f16", "MatmulConfig<128, 64, 32, 4, 2, 2>", 2);
  product("simt_128_128", "f32", "MatmulConfig<128, 128, 16, 2, 2, 4>", 1);
  product("gemv_1", "bf16", "GemvConfig<1, 64, 8, 2048>", 1);
  product("gemv_16", "bf16", "GemvConfig<16, 64, 16, 1024>", 1);
  product("gemv_4_pair", "f16", "GemvConfig<4, 32, 8, 1024>", 2);
  // Two blocks of 256 threads a multiprocessor: 128 registers a thread.
  auto few = [&](const std::string &name, const std::string &config, int count, bool staged, int half = 0) {
    std::string list = count == 2 ? "weights(a1, a2, K)" : "weights(a1, K)", offset = std::to_string(count);
    std::string left = staged ? "[&](i64 m, i64 k) {\n    auto x = convert<f32>(load<8>(shared_memory<T>("
                                "Config::stagedOffset<" + offset + ">()) + m * Config::stagedStride(K) + k));\n    return "
                                "x * convert<f32>(load<8>(a0 + k));\n  }"
                              : "Rows<T>{a0, K}";
    std::string prepare = staged ? "fetch_rows(shared_memory<T>(Config::stagedOffset<" + offset +
                                       ">()), a0, M, K, Config::stagedStride(K));"
                                 : "";
    kernels.push_back({name, "#include \"mlsys/gemv_mma.cuh\"\ntypedef bf16 T;\ntypedef " + config +
                                 " Config;\nextern \"C\" __global__ void __launch_bounds__(Config::threads, 2) " + name +
                                 "(const T *a0, const T *a1, const T *a2, T *a3, long long M, long long N, long long "
                                 "K) {\n  pdl_launch();\n  gemv_mma<Config, T>(" + left + ", " + list +
                                 ", M, N, K, (int)block_x() * Config::BN, " + std::to_string(half) +
                                 ", [&] {\n    pdl_wait();\n    " + prepare +
                                 "\n  }, " + (count == 2 ? pair : epilogue) + ");\n}\n"});
  };
  few("gemv_mma_1", "GemvMmaConfig<1, 1, 1, 8, 4>", 1, false);
  few("gemv_mma_16", "GemvMmaConfig<16, 2, 1, 8, 1>", 1, false);
  few("gemv_mma_1_norm", "GemvMmaConfig<1, 1, 2, 8, 4>", 1, true, 64);
  few("gemv_mma_16_norm_pair", "GemvMmaConfig<16, 1, 4, 8, 2>", 2, true);
  for (std::string config : {"MatmulConfig<64, 64, 32, 3, 2, 2>", "GemvConfig<4, 16, 8, 1024>"}) {
    bool gemv = config.starts_with("Gemv");
    kernels.push_back({gemv ? "experts_gemv" : "experts_matmul",
                       "#include \"mlsys/gemv.cuh\"\n#include \"mlsys/experts.cuh\"\ntypedef bf16 T;\ntypedef " + config +
                           " Config;\nextern \"C\" __global__ void __launch_bounds__(Config::threads) " +
                           (gemv ? "experts_gemv" : "experts_matmul") +
                           "(const T *a0, const T *a1, const T *a2, T *a3, const i32 *a4, long long rows, long long N, "
                           "long long K) {\n  int *list = shared_memory<int>(65536);\n  int row0 = 0;\n  long long M = "
                           "collect_rows(a4, rows, block_y(), 0, list, 64);\n  " +
                           (gemv ? "gemv<Config>" : "matmul<Config>") +
                           "(GatheredRows<T>{a0, K, list, 2}, weights(a1 + block_y() * N * K, a2 + block_y() * N * K, K), M, N, K, " +
                           (gemv ? "" : "row0, ") + "block_x() * Config::BN, " + pair + ");\n}\n"});
  }
  for (std::string config : {"16, 64, 1, 4, 0", "64, 64, 2, 2, 1", "64, 128, 2, 2, 0"}) {
    std::string name = "int8_" + std::to_string(kernels.size());
    std::string list = config.starts_with("64, 128") ? "weights(a1, a2, K)" : "weights(a1, K)";
    kernels.push_back({name, "#include \"mlsys/matmul_int8.cuh\"\ntypedef Int8Config<" + config +
                                 "> Config;\nextern \"C\" __global__ void __launch_bounds__(Config::threads) " + name +
                                 "(const i8 *a0, const i8 *a1, const i8 *a2, f32 *a3, long long M, long long N, long long "
                                 "K) {\n  pdl_wait();\n  matmul_int8<Config, i8>(Rows<i8>{a0, K}, " +
                                 list +
                                 ", M, N, K, (int)block_x() * Config::BM, (int)block_y() * Config::BN,\n"
                                 "      [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {\n"
                                 "        for_tile<4>((int)rows, (int)cols, [&](int m, int n) {\n"
                                 "          store<4>(a3 + (row0 + m) * N + col0 + n, convert<f32>(tile.template load<4>(0, m, n)));\n"
                                 "        });\n      });\n}\n"});
  }
  const std::pair<std::string, std::string> heads[] = {{"bf16", "64"}, {"f16", "256"}, {"f32", "64"}, {"f32", "256"}};
  for (auto &[type, d] : heads)
    for (std::string slopes : {"", "false, false, HeadSlopes<1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u>"}) {
      std::string suffix = type + "_" + d + (slopes.empty() ? "" : "_slopes");
      std::string scores = "Scores<" + slopes + ">{0.125f}";
      kernels.push_back({"prefill_" + suffix,
                         "#include \"mlsys/attention.cuh\"\nextern \"C\" __global__ void __launch_bounds__(128) prefill_" +
                             suffix + "(const " + type + " *a0, const " + type + " *a1, " + type +
                             " *a2, const i32 *a3, const i32 *a4, const i32 *a5, long long P) {\n  PagedKV<" + type +
                             "> kv{a1, 65536, 0, 1024, 16, " + d + "};\n  attention_prefill<" + d +
                             ">(a0, a2, kv, a3, a4, a5, P, 8, 4, " + scores + ");\n}\n"});
      kernels.push_back({"decode_" + suffix,
                         "#include \"mlsys/attention_decode.cuh\"\nextern \"C\" __global__ void __launch_bounds__("
                         "DecodeConfig<" + type + ", " + d + ", 8>::threads) decode_" + suffix + "(const " + type +
                             " *a0, const " + type + " *a1, " + type +
                             " *a2, f32 *a3, const i32 *a4, const i32 *a5, long long P) {\n  PagedKV<" + type +
                             "> kv{a1, 65536, 0, 1024, 16, " + d + "};\n  attention_decode<" + d +
                             ", 8>(a0, a2, a3, kv, a4, a5, P, 8, 1, " + scores + ");\n}\n"});
      kernels.push_back({"join_" + suffix,
                         "#include \"mlsys/attention_decode.cuh\"\nextern \"C\" __global__ void __launch_bounds__(128) "
                         "join_" + suffix + "(const f32 *a0, " + type + " *a1, const i32 *a2, long long splits) {\n"
                         "  attention_join<" + d + ", 128>(a0, a1, a2, 8, splits, Scores<>{0.125f});\n}\n"});
    }
  kernels.push_back({"elementary", R"(#include "mlsys/reduce.cuh"
extern "C" __global__ void __launch_bounds__(256) elementary(const f16 *a0, f16 *a1, f32 *a2) {
  auto x = convert<f32>(load<8>(a0 + 8 * thread_x()));
  auto y = sin(x) + cos(x) + exp(x) + log(x) + pow(x, 1.5f) + tanh(x) + erf(x) + maximumf(x, 0.0f) + sqrt(x);
  store<8>(a1 + 8 * thread_x(), convert<f16>(y));
  a2[thread_x()] = block_sum(reduce_vec<SumOp>(y)) + block_max(y[0]) + (float)block_reduce<ArgMaxOp>(indexed<f32>{y[1], 3}).index;
})"});
  return kernels;
}

class NvrtcTest : public testing::TestWithParam<const char *> {
protected:
  fs::path folder = fs::path(testing::TempDir()) / ("mlsys-nvrtc-test-" + std::to_string(getpid()));
  std::shared_ptr<Nvrtc> nvrtc = Nvrtc::open();
  void SetUp() override {
    if (!nvrtc)
      GTEST_SKIP() << "NVRTC is not installed";
  }
  void TearDown() override { fs::remove_all(folder); }
};

} // namespace

TEST_P(NvrtcTest, templatesCompileWithoutSpills) {
  KernelCache cache(folder);
  std::vector<KernelText> kernels = templates();
  std::vector<CompiledKernel> compiled = compileKernels(*nvrtc, cache, kernels, GetParam());
  ASSERT_EQ(compiled.size(), kernels.size());
  for (size_t i = 0; i < compiled.size(); ++i) {
    EXPECT_EQ(compiled[i].cubin.substr(0, 4), "\177ELF") << kernels[i].name;
    EXPECT_GT(compiled[i].registers, 8) << kernels[i].name;
    EXPECT_EQ(compiled[i].spillBytes, 0) << kernels[i].name;
  }
  EXPECT_EQ(compiled.back().sharedBytes, 512) << "the reductions' scratch";
}

INSTANTIATE_TEST_SUITE_P(Architectures, NvrtcTest, testing::Values("sm_80", "sm_90a"));

TEST_F(NvrtcTest, wrongTextIsAnErrorWithTheLog) {
  std::string error = errorOf([&] { nvrtc->compile({"wrong", "\nint f() { return nothing; }"}, "sm_80"); });
  EXPECT_TRUE(contains(error, "kernel 'wrong'")) << error;
  EXPECT_TRUE(contains(error, "wrong.cu(2)")) << error;
  EXPECT_TRUE(contains(errorOf([&] { nvrtc->compile({"wrong", ""}, "sm_1"); }), "sm_1"));
}

TEST_F(NvrtcTest, stackUseIsAnError) {
  std::string error = errorOf([&] {
    nvrtc->compile({"indexed", R"(#include "mlsys/types.cuh"
extern "C" __global__ void indexed(const i32 *a0, i32 *a1) {
  i32 values[300];
  for (int i = 0; i < 300; ++i)
    values[i] = i;
  for (int i = 0; i < 300; ++i)
    values[a0[i]] += a0[i + 1];
  a1[thread_x()] = values[a0[thread_x()]];
})"},
                   "sm_80");
  });
  EXPECT_TRUE(contains(error, "kernel 'indexed' uses 1200 bytes of stack")) << error;
}

TEST_F(NvrtcTest, cacheIsUsedAndDamagedEntriesAreReplaced) {
  KernelCache cache(folder);
  std::vector<KernelText> kernels = {
      {"one", "#include \"mlsys/types.cuh\"\nextern \"C\" __global__ void one(f32 *a0) { a0[thread_x()] = 1.0f; }"}};
  CompiledKernel first = compileKernels(*nvrtc, cache, kernels, "sm_80")[0];
  fs::path entry = fs::directory_iterator(folder)->path();
  auto written = fs::last_write_time(entry);
  EXPECT_EQ(compileKernels(*nvrtc, cache, kernels, "sm_80")[0].cubin, first.cubin);
  EXPECT_EQ(fs::last_write_time(entry), written) << "compiled again";
  fs::resize_file(entry, 20);
  EXPECT_EQ(compileKernels(*nvrtc, cache, kernels, "sm_80")[0].registers, first.registers);
  EXPECT_GT(fs::file_size(entry), 100u);
}

TEST(NvrtcLogTest, numbersAreRead) {
  CompiledKernel kernel = parsePtxasLog("k", "ptxas info    : Compiling entry function 'k' for 'sm_80'\n"
                                             "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                                             "ptxas info    : Used 122 registers, used 1 barriers, 512 bytes smem\n");
  EXPECT_EQ(kernel.registers, 122);
  EXPECT_EQ(kernel.sharedBytes, 512);
}

TEST(NvrtcLogTest, spillsStackAndSerialisedWgmmaAreErrors) {
  EXPECT_TRUE(contains(errorOf([] {
                         parsePtxasLog("spilling", "0 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
                                                   "Used 255 registers");
                       }),
                       "kernel 'spilling' spills 28 bytes of registers with 255 registers"));
  EXPECT_TRUE(contains(errorOf([] { parsePtxasLog("stack", "40 bytes stack frame, 0 bytes spill stores"); }),
                       "kernel 'stack' uses 40 bytes of stack"));
  EXPECT_TRUE(contains(
      errorOf([] {
        parsePtxasLog("slow", "ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
                              "serialized due to insufficient register resources in function 'slow'");
      }),
      "kernel 'slow': ptxas serialises"));
}

TEST(NvrtcSearchTest, missingLibraryIsAnErrorThatSaysWhatToDo) {
  const char *given = std::getenv("MLSYS_NVRTC");
  std::string before = given ? given : "";
  setenv("MLSYS_NVRTC", "/nowhere/libnvrtc.so", 1);
  EXPECT_EQ(Nvrtc::open(), nullptr);
  std::string error = errorOf([] { Nvrtc::openOrThrow(); });
  EXPECT_TRUE(contains(error, "/nowhere/libnvrtc.so")) << error;
  EXPECT_TRUE(contains(error, "nvidia-cuda-nvrtc")) << error;
  if (given)
    setenv("MLSYS_NVRTC", before.c_str(), 1);
  else
    unsetenv("MLSYS_NVRTC");
}
