//===- DeviceGemvMmaTest.cpp - gemv_mma.cuh -------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// One kernel: a0 [M, K], a1 and a2 [N, K], a3 [M, N] f32. Computed left sides are twice a0.
struct Variant {
  std::string name, type, config;
  int weights = 1;
  bool functor = false;
  /// Columns of the tile, and what the config says.
  int rows, columns, half = 0;
};

// rows, tiles at once, tiles, warps, unroll.
const std::vector<Variant> variants = {
    {"one", "bf16", "GemvMmaConfig<1, 1, 1, 2, 4>", 1, false, 1, 16},
    {"one_other", "bf16", "GemvMmaConfig<1, 1, 4, 2, 1>", 1, false, 1, 64},
    {"sixteen", "bf16", "GemvMmaConfig<16, 2, 1, 2, 2>", 1, false, 16, 32},
    {"nine", "f16", "GemvMmaConfig<9, 1, 3, 4, 4>", 1, false, 9, 48},
    {"functor", "bf16", "GemvMmaConfig<3, 1, 2, 2, 4>", 1, true, 3, 32},
    {"functor_high", "f16", "GemvMmaConfig<12, 1, 1, 8, 4>", 1, true, 12, 16},
    {"pair", "bf16", "GemvMmaConfig<5, 1, 2, 2, 2>", 2, false, 5, 32},
    {"pair_functor", "bf16", "GemvMmaConfig<11, 1, 2, 4, 2>", 2, true, 11, 32},
    {"halves", "bf16", "GemvMmaConfig<2, 1, 2, 2, 4>", 1, false, 2, 32, 32},
    {"halves_wide", "f16", "GemvMmaConfig<10, 2, 1, 2, 2>", 1, false, 10, 32, 64},
};

std::string textOf(const Variant &variant) {
  std::string matrix =
      variant.functor ? "[&](i64 m, i64 k) { return convert<f32>(load<8>(a0 + m * K + k)) * 2.0f; }"
                      : fmt::format("Rows<{}>{{a0, K}}", variant.type);
  std::string value = variant.weights == 2 ? "tile.at(0, m, n) * tile.at(1, m, n)" : "tile.at(m, n)";
  // The block's first column: blocks of one half of a group stand side by side.
  std::string col0 = variant.half ? fmt::format("block_x() / {0} * {1} + block_x() % {0} * {2}",
                                                variant.half / (variant.columns / 2), 2 * variant.half,
                                                variant.columns / 2)
                                  : "block_x() * Config::BN";
  std::string column =
      variant.half ? fmt::format("n < {0} ? n : n - {0} + {1}", variant.columns / 2, variant.half) : "n";
  return fmt::format("#include \"mlsys/gemv_mma.cuh\"\ntypedef {} Config;\n"
                     "extern \"C\" __global__ void __launch_bounds__(Config::threads) {}(const {} *a0, const {} *a1, "
                     "const {} *a2, f32 *a3, i32 *a4, long long M, long long N, long long K) {{\n"
                     "  if (M == 0) {{\n    a4[0] = Config::threads;\n    a4[1] = Config::sharedBytes<{}>(K, {});\n"
                     "    return;\n  }}\n"
                     "  gemv_mma<Config, {}>({}, {}, M, N, K, {}, {}, [&] {{ pdl_wait(); }},\n"
                     "      [&](auto tile, int row0, int col0, int rows, int cols) {{\n"
                     "    for_tile<1>(rows, cols, [&](int m, int n) {{\n"
                     "      a3[(i64)(row0 + m) * N + col0 + ({})] = {};\n    }});\n  }});\n}}\n",
                     variant.config, variant.name, variant.type, variant.type, variant.type, variant.weights,
                     variant.functor, variant.type, matrix, variant.weights == 2 ? "weights(a1, a2, K)" : "weights(a1, K)",
                     col0, variant.half, column, value);
}

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    std::vector<HostCudaDevice::Source> sources;
    for (const Variant &variant : variants)
      sources.push_back({variant.name, textOf(variant)});
    device = std::make_unique<HostCudaDevice>(2, schedule);
    device->loadSources(sources);
  }
  return *device;
}

std::vector<uint16_t> encode(const std::vector<float> &values, const std::string &type) {
  std::vector<uint16_t> bits = toBf16(values);
  if (type == "f16")
    for (size_t i = 0; i < values.size(); ++i) {
      _Float16 half = static_cast<_Float16>(values[i]);
      std::memcpy(&bits[i], &half, 2);
    }
  return bits;
}

std::vector<float> compute(HostCudaDevice &device, size_t index, const std::vector<float> &a, int m, int n, int k,
                           const std::vector<float> &w0, const std::vector<float> &w1) {
  const Variant &variant = variants[index];
  DeviceBuffer<uint16_t> a0(device, encode(a, variant.type)), a1(device, encode(w0, variant.type)),
      a2(device, encode(w1, variant.type));
  DeviceBuffer<float> a3(device, size_t(m) * n);
  DeviceBuffer<int32_t> facts(device, 2);
  launchKernel(device, index, {a0.data, a1.data, a2.data, a3.data, facts.data}, {0, 0, k}, {1}, 32);
  launchKernel(device, index, {a0.data, a1.data, a2.data, a3.data, facts.data}, {m, n, k},
               {(n + variant.columns - 1) / variant.columns}, facts.read()[0], facts.read()[1]);
  return a3.read();
}

void check(HostCudaDevice &device, size_t index, int m, int n, int k) {
  const Variant &variant = variants[index];
  SCOPED_TRACE(fmt::format("{} {}x{}x{}", variant.name, m, n, k));
  std::vector<float> a = randomValues(m * k, 1), w0 = randomValues(n * k, 2), w1 = randomValues(n * k, 3);
  std::vector<float> result = compute(device, index, a, m, n, k, w0, w1);
  auto product = [&](const std::vector<float> &w, int row, int column) {
    double sum = 0;
    for (int i = 0; i < k; ++i)
      sum += double(a[row * k + i]) * w[column * k + i] * (variant.functor ? 2 : 1);
    return sum;
  };
  double tolerance = 1e-6 * k + 1e-5;
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n; ++column) {
      double expected = product(w0, row, column) * (variant.weights == 2 ? product(w1, row, column) : 1);
      ASSERT_NEAR(result[row * n + column], expected, tolerance * (1 + std::abs(expected)))
          << "row " << row << " column " << column;
    }
}

class DeviceGemvMmaTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {};

} // namespace

TEST_P(DeviceGemvMmaTest, matchesReference) {
  auto [index, schedule] = GetParam();
  HostCudaDevice &device = deviceOf(schedule);
  const Variant &variant = variants[index];
  if (variant.half) {
    check(device, index, variant.rows, 4 * variant.half, 264);
    check(device, index, 1, 2 * variant.half, 1032);
    return;
  }
  check(device, index, variant.rows, variant.columns, 8);
  check(device, index, variant.rows, 2 * variant.columns + 5, 520);
  check(device, index, std::max(1, variant.rows - 1), 7, 2056);
}

TEST(DeviceGemvMmaSumTest, doNotDependOnTheBatch) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  const int n = 64, k = 776, batch = 16;
  std::vector<float> a = randomValues(batch * k, 1), w = randomValues(n * k, 2);
  // They differ in rows, tiles and unroll, but not in warps.
  std::vector<float> together = compute(device, 2, a, batch, n, k, w, w);
  for (int row : {0, 7, 8, 15}) {
    std::vector<float> one(a.begin() + row * k, a.begin() + (row + 1) * k);
    for (size_t variant : {0, 1}) {
      std::vector<float> alone = compute(device, variant, one, 1, n, k, w, w);
      for (int column = 0; column < n; ++column)
        ASSERT_EQ(alone[column], together[row * n + column]) << row << " " << column;
    }
  }
}

TEST(DeviceGemvMmaSumTest, oddRowsAreReported) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  std::vector<float> values = randomValues(2048, 1);
  EXPECT_NE(errorOf([&] { compute(device, 0, values, 1, 16, 12, values, values); }).find("no multiple of 16"),
            std::string::npos);
}

static std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  return variants[std::get<0>(info.param)].name + "_" + names[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceGemvMmaTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);
