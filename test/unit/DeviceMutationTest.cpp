//===- DeviceMutationTest.cpp - Seeded bugs are caught --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Templates of the device library with one synchronisation taken out: the host executor
// must give a wrong result or an error under at least one schedule. The original,
// treated the same way, must be right under all.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"
#include "runtime/DeviceLibrary.h"

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

struct Mutant {
  std::string name, file;
  /// The first `from` after `anchor` becomes `to`.
  std::string anchor, from, to;
};

const std::vector<Mutant> mutants = {
    {"matmul_original", "matmul", "", "", ""},
    {"matmul_wait_too_early", "matmul", "inline void matmul_mma", "cp_wait<Stages - 2>()", "cp_wait<Stages - 1>()"},
    {"matmul_no_barrier_in_loop", "matmul", "cp_wait<Stages - 2>()", "bar_sync()", "warp_sync()"},
    {"matmul_fetch_into_used_stage", "matmul", "inline void matmul_mma", "filled = base + (Stages - 1) * stageBytes",
     "filled = base + (Stages - 2) * stageBytes"},
    {"matmul_no_barrier_between_parts", "matmul", "cp_wait<0>();", "bar_sync()", "warp_sync()"},
    {"matmul_no_barrier_before_epilogue", "matmul", "or the part before, have been read", "bar_sync()", "warp_sync()"},
    {"gemv_original", "gemv", "", "", ""},
    {"gemv_no_barrier_after_staging", "gemv", "gemv_stage<T, M, Chunk>(", "bar_sync()", "warp_sync()"},
    {"gemv_no_barrier_between_chunks", "gemv", "if (k0 > 0)", "bar_sync()", "warp_sync()"},
    {"gemv_no_barrier_before_epilogue", "gemv", "tile[(p * M + r)", "bar_sync()", "warp_sync()"},
    {"gemv_lane_missing", "gemv", "inline void gemv(", "at += 32 * V", "at += 31 * V"},
};

std::string libraryText(const std::string &file) {
  for (const DeviceLibraryFile &entry : deviceLibraryFiles())
    if (entry.name == "mlsys/" + file + ".cuh")
      return entry.text;
  throw Error("no {}", file);
}

/// A copy of the template in the kernel's own namespace, changed, and a product by it.
std::string textOf(const Mutant &mutant) {
  std::string text = libraryText(mutant.file);
  if (!mutant.anchor.empty()) {
    size_t anchor = text.find(mutant.anchor);
    size_t at = anchor == std::string::npos ? anchor : text.find(mutant.from, anchor);
    if (at == std::string::npos)
      throw Error("{}: '{}' is not in {}.cuh any more", mutant.name, mutant.from, mutant.file);
    text.replace(at, mutant.from.size(), mutant.to);
  }
  text = text.substr(text.find("#pragma once") + 12);
  // Other names, since argument-dependent lookup finds the originals too.
  for (std::string name : {"stage_rows", "stage_chunk", "all_aligned", "gemv_stage"})
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + name.size() + 5))
      text.insert(at, "copy_");
  bool gemv = mutant.file == "gemv";
  return "namespace copy {\n" + text + "\n}\ntypedef copy::" +
         (gemv ? "GemvConfig<2, 16, 4, 256>" : "MatmulConfig<64, 32, 32, 3, 2, 2>") +
         " Config;\nextern \"C\" __global__ void " + mutant.name +
         "(const bf16 *a0, const bf16 *a1, f32 *a2, long long M, long long N, long long K) {\n  " +
         (gemv ? "copy::gemv<Config>(Rows<bf16>{a0, K}, weights(a1, K), M, N, K, "
               : "copy::matmul<Config>(copy::Rows<bf16>{a0, K}, copy::weights(a1, K), M, N, K, block_y() * "
                 "Config::BM, ") +
         "block_x() * Config::BN, [&](auto tile, int row0, int col0, int rows, int cols) {\n"
         "    for_tile<1>(rows, cols, [&](int m, int n) { a2[(i64)(row0 + m) * N + col0 + n] = tile.at(m, n); });\n"
         "  });\n}\n";
}

class DeviceMutationTest : public testing::TestWithParam<size_t> {};

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    std::vector<HostCudaDevice::Source> sources;
    for (const Mutant &mutant : mutants)
      sources.push_back({mutant.name, textOf(mutant)});
    auto loaded = std::make_unique<HostCudaDevice>(1, schedule);
    loaded->loadSources(sources);
    device = std::move(loaded);
  }
  return *device;
}

} // namespace

TEST_P(DeviceMutationTest, isCaught) {
  const Mutant &mutant = mutants[GetParam()];
  bool gemv = mutant.file == "gemv";
  const int m = gemv ? 2 : 40, n = 48, k = 640;
  std::vector<float> a = randomValues(m * k, 1), w = randomValues(n * k, 2);
  int caught = 0;
  for (HostSchedule schedule : schedules) {
    HostCudaDevice &device = deviceOf(schedule);
    DeviceBuffer<uint16_t> a0(device, toBf16(a)), a1(device, toBf16(w));
    DeviceBuffer<float> a2(device, m * n);
    std::string error = errorOf([&] {
      launchKernel(device, GetParam(), {a0.data, a1.data, a2.data}, {m, n, k},
                   gemv ? std::vector<int64_t>{3, 1} : std::vector<int64_t>{2, 1}, 128, 32768);
    });
    std::vector<float> result = a2.read();
    bool right = error.empty();
    for (int row = 0; row < m && right; ++row)
      for (int column = 0; column < n && right; ++column) {
        double sum = 0;
        for (int i = 0; i < k; ++i)
          sum += double(a[row * k + i]) * w[column * k + i];
        right = std::abs(result[row * n + column] - sum) < 1e-2;
      }
    caught += !right;
  }
  if (mutant.anchor.empty())
    EXPECT_EQ(caught, 0);
  else
    EXPECT_GT(caught, 0);
}

INSTANTIATE_TEST_SUITE_P(Mutants, DeviceMutationTest, testing::Range<size_t>(0, mutants.size()),
                         [](const auto &info) { return mutants[info.param].name; });
