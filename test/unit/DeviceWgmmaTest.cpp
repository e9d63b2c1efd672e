//===- DeviceWgmmaTest.cpp - matmul_wgmma.cuh -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"
#include "SeededBugs.h"
#include "runtime/DeviceLibrary.h"
#include "runtime/Nvrtc.h"

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// A kernel that multiplies a0 [M, K] with `groups` lists of `weights` matrices, each of n rows.
/// The result of a group is [M, n] f32: the product plus half its neighbour in the sub-tile or,
/// of two weights, silu(first) * second.
struct Variant {
  std::string name, type, config;
  int weights, groups;
  /// Boxes: rows of A and of W.
  uint32_t rowsA, rowsW;
  int subTileColumns;
  /// Blocks of a cluster: parts of K, or 2 that share weights.
  int cluster = 1;
  bool pair = false;
};

const std::vector<Variant> variants = {
    {"wide", "bf16", "WgmmaConfig<1, 256, 3, 32>", 1, 1, 128, 256, 32},
    {"pair", "bf16", "WgmmaConfig<2, 128, 4, 16>", 2, 1, 128, 128, 16},
    {"three_groups", "f16", "WgmmaConfig<1, 128, 4, 64>", 1, 3, 128, 128, 64},
    {"head_128", "bf16", "WgmmaConfig<1, 256, 3, 128>", 1, 1, 128, 256, 128},
    {"narrow", "bf16", "WgmmaConfig<1, 64, 5, 64>", 1, 1, 128, 64, 64},
    {"swapped_32", "bf16", "SwappedConfig<1, 64, 32, 8>", 1, 1, 32, 64, 64},
    {"swapped_24", "bf16", "SwappedConfig<1, 64, 24, 8>", 1, 1, 24, 64, 64},
    {"swapped_pair", "f16", "SwappedConfig<2, 64, 64, 6>", 2, 1, 64, 64, 64},
    {"swapped_128", "bf16", "SwappedConfig<1, 128, 128, 5>", 1, 1, 128, 128, 128},
    {"swapped_groups", "bf16", "SwappedConfig<1, 128, 48, 6>", 1, 3, 48, 128, 128},
    {"split_wide", "bf16", "WgmmaConfig<1, 256, 4, 32, 2>", 1, 1, 128, 256, 32, 2},
    {"split_pair", "f16", "WgmmaConfig<2, 128, 4, 16, 4>", 2, 1, 128, 128, 16, 4},
    {"split_groups", "bf16", "WgmmaConfig<1, 128, 4, 128, 3>", 1, 3, 128, 128, 128, 3},
    {"split_four", "bf16", "WgmmaConfig<1, 64, 5, 64, 4>", 1, 1, 128, 64, 64, 4},
    {"split_narrow", "bf16", "WgmmaConfig<1, 64, 8, 32, 8>", 1, 1, 128, 64, 32, 8},
    {"swapped_split", "bf16", "SwappedConfig<1, 128, 64, 8, 4>", 1, 1, 64, 128, 128, 4},
    {"swapped_split_24", "f16", "SwappedConfig<1, 64, 24, 8, 8>", 1, 1, 24, 64, 64, 8},
    {"swapped_split_pair", "bf16", "SwappedConfig<2, 64, 128, 5, 2>", 2, 1, 128, 64, 64, 2},
    {"swapped_split_groups", "bf16", "SwappedConfig<1, 128, 96, 6, 6>", 1, 3, 96, 128, 128, 6},
    {"shared", "bf16", "WgmmaConfig<1, 256, 3, 32, 1, true>", 1, 1, 128, 128, 32, 2, true},
    {"shared_pair", "f16", "WgmmaConfig<2, 128, 4, 16, 1, true>", 2, 1, 128, 64, 16, 2, true},
    {"shared_groups", "bf16", "WgmmaConfig<1, 128, 4, 64, 1, true>", 1, 3, 128, 64, 64, 2, true},
};

std::string textOf(const Variant &variant) {
  std::string parameters, call;
  for (int g = 0; g < variant.groups; ++g)
    parameters += fmt::format("f32 *a{}, ", g);
  parameters += "long long M, long long K";
  for (int g = 0; g < variant.groups; ++g)
    parameters += fmt::format(", long long N{}", g);
  for (int i = 0; i <= variant.groups * variant.weights; ++i)
    parameters += fmt::format(", const __grid_constant__ tensor_map t{}", i);
  for (int g = 0; g < variant.groups; ++g) {
    std::string value = variant.weights == 2
                            ? "float x = tile.at(0, m, n); x = x / (1.0f + exp(-x)) * tile.at(1, m, n);"
                            : "float x = tile.at(m, n) + 0.5f * tile.at(m, (n ^ 1) < cols ? n ^ 1 : n);";
    call += fmt::format(",\n    wgmma_group(N{0}, [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {{\n"
                        "      for_subtile<1>(rows, cols, [&](int m, int n) {{\n        {1}\n"
                        "        a{0}[(row0 + m) * N{0} + col0 + n] = x;\n      }});\n    }}",
                        g, value);
    for (int p = 0; p < variant.weights; ++p)
      call += fmt::format(", t{}", 1 + g * variant.weights + p);
    call += ")";
  }
  return fmt::format("#include \"mlsys/matmul_wgmma.cuh\"\n#include \"mlsys/math.cuh\"\ntypedef {} Config;\nextern "
                     "\"C\" __global__ void {}"
                     "__launch_bounds__(Config::threads, 1) {}({}) {{\n  matmul_wgmma<Config, {}>(t0, M, K{});\n}}\n",
                     variant.config, variant.cluster > 1 ? fmt::format("__cluster_dims__({}, 1, 1) ", variant.cluster) : "",
                     variant.name, parameters, variant.type, call);
}

std::string factsTextOf(const Variant &variant) {
  return fmt::format("#include \"mlsys/matmul_wgmma.cuh\"\nextern \"C\" __global__ void {}_facts(i32 *a0) {{\n"
                     "  a0[0] = {}::threads;\n  a0[1] = {}::sharedBytes;\n}}\n",
                     variant.name, variant.config, variant.config);
}

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    std::vector<HostCudaDevice::Source> sources;
    for (const Variant &variant : variants) {
      sources.push_back({variant.name, textOf(variant)});
      sources.push_back({variant.name + "_facts", factsTextOf(variant)});
    }
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

TensorMapArgument matrixMap(void *base, const std::string &type, int rows, int k, uint32_t boxRows) {
  TensorMapArgument map;
  map.base = base;
  map.type = type == "bf16" ? program::DType::BF16 : program::DType::F16;
  map.rank = 2;
  map.extents[0] = k;
  map.extents[1] = rows;
  map.strides[0] = uint64_t(k) * 2;
  map.box[0] = 64;
  map.box[1] = boxRows;
  return map;
}

struct Weight {
  std::vector<float> values;
  std::unique_ptr<DeviceBuffer<uint16_t>> memory;
};

/// The results of the groups for the first m rows of A.
std::vector<std::vector<float>> compute(HostCudaDevice &device, size_t index, int m, int k,
                                        const std::vector<int> &columns, const std::vector<float> &a,
                                        const std::vector<Weight> &weights, int blocks) {
  const Variant &variant = variants[index];
  DeviceBuffer<int32_t> facts(device, 2);
  launchKernel(device, 2 * index + 1, {facts.data}, {}, {1}, 32);
  DeviceBuffer<uint16_t> left(device, encode(a, variant.type));
  std::vector<std::unique_ptr<DeviceBuffer<float>>> results;
  std::vector<void *> buffers;
  std::vector<int64_t> symbols = {m, k};
  std::vector<TensorMapArgument> maps = {matrixMap(left.data, variant.type, m, k, variant.rowsA)};
  for (int g = 0; g < variant.groups; ++g) {
    results.push_back(std::make_unique<DeviceBuffer<float>>(device, m * columns[g]));
    buffers.push_back(results.back()->data);
    symbols.push_back(columns[g]);
    for (int p = 0; p < variant.weights; ++p)
      maps.push_back(
          matrixMap(weights[g * variant.weights + p].memory->data, variant.type, columns[g], k, variant.rowsW));
  }
  LaunchArgs args;
  args.kernel = 2 * index;
  args.buffers = buffers;
  args.symbols = symbols;
  args.tensorMaps = maps;
  args.grid[0] = blocks * variant.cluster;
  if (variant.cluster > 1 && !variant.pair) {
    int rowsOfTile = static_cast<int>(variant.rowsA), tiles = 0;
    for (int n : columns)
      tiles += (n + static_cast<int>(variant.rowsW) - 1) / static_cast<int>(variant.rowsW);
    args.grid[0] = (m + rowsOfTile - 1) / rowsOfTile * tiles * variant.cluster;
  }
  args.block[0] = facts.read()[0];
  args.sharedBytes = facts.read()[1];
  device.launch(args);
  std::vector<std::vector<float>> read;
  for (auto &result : results)
    read.push_back(result->read());
  return read;
}

std::vector<Weight> randomWeights(Device &device, const Variant &variant, const std::vector<int> &columns, int k) {
  std::vector<Weight> weights;
  for (int g = 0; g < variant.groups; ++g)
    for (int p = 0; p < variant.weights; ++p) {
      Weight weight{randomValues(size_t(columns[g]) * k, 2 + 10 * g + p), nullptr};
      weight.memory = std::make_unique<DeviceBuffer<uint16_t>>(device, encode(weight.values, variant.type));
      weights.push_back(std::move(weight));
    }
  return weights;
}

void check(HostCudaDevice &device, size_t index, int m, int k, std::vector<int> columns, int blocks) {
  const Variant &variant = variants[index];
  columns.resize(variant.groups);
  SCOPED_TRACE(fmt::format("{} {}x{}", variant.name, m, k));
  std::vector<float> a = randomValues(size_t(m) * k, 1);
  std::vector<Weight> weights = randomWeights(device, variant, columns, k);
  auto results = compute(device, index, m, k, columns, a, weights, blocks);
  for (int g = 0; g < variant.groups; ++g) {
    int n = columns[g];
    auto product = [&](int p, int row, int column) {
      double sum = 0;
      const float *w = weights[g * variant.weights + p].values.data() + size_t(column) * k;
      for (int i = 0; i < k; ++i)
        sum += double(a[size_t(row) * k + i]) * w[i];
      return sum;
    };
    double tolerance = 1e-6 * k + 1e-5;
    for (int row = 0; row < m; ++row)
      for (int column = 0; column < n; ++column) {
        double x = product(0, row, column), expected;
        if (variant.weights == 2) {
          expected = x / (1 + std::exp(-x)) * product(1, row, column);
        } else {
          int first = column / variant.subTileColumns * variant.subTileColumns;
          int cols = std::min(variant.subTileColumns, n - first), other = (column - first) ^ 1;
          expected = x + 0.5 * product(0, row, first + (other < cols ? other : column - first));
        }
        ASSERT_NEAR(results[g][size_t(row) * n + column], expected, tolerance * (1 + std::abs(expected)))
            << "group " << g << " row " << row << " column " << column;
      }
  }
}

class DeviceWgmmaTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {};

std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  return variants[std::get<0>(info.param)].name + "_" + names[static_cast<int>(std::get<1>(info.param))];
}

} // namespace

TEST_P(DeviceWgmmaTest, matchesReference) {
  auto [index, schedule] = GetParam();
  HostCudaDevice &device = deviceOf(schedule);
  bool swapped = variants[index].config.starts_with("Swapped");
  int most = static_cast<int>(variants[index].rowsA);
  // Every part of K has a step.
  int parts = variants[index].pair ? 1 : variants[index].cluster;
  check(device, index, swapped ? most : 256, 128 * parts, {256, 128, 64}, 3);
  check(device, index, swapped ? most - 3 : 133, 200 + 64 * parts, {150, 70, 129}, 2);
  check(device, index, swapped ? 2 * most + 1 : 1, 8 + 64 * (parts - 1), {9, 257, 1}, 1);
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceWgmmaTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);

/// The results of variant `few` for the first rows are the bits of variant `many`.
static void compareBatches(const std::string &many, int batch, const std::string &few, int rows, int k) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  const int n = 70;
  auto indexOf = [](const std::string &name) {
    size_t index = 0;
    while (variants[index].name != name)
      ++index;
    return index;
  };
  std::vector<float> a = randomValues(batch * k, 1);
  std::vector<Weight> weights = randomWeights(device, variants[indexOf(many)], {n}, k);
  std::vector<float> together = compute(device, indexOf(many), batch, k, {n}, a, weights, 2)[0];
  std::vector<float> first(a.begin(), a.begin() + rows * k);
  std::vector<float> alone = compute(device, indexOf(few), rows, k, {n}, first, weights, 1)[0];
  for (size_t i = 0; i < alone.size(); ++i)
    ASSERT_EQ(alone[i], together[i]) << i;
}

TEST(DeviceWgmmaTest, sumsDoNotDependOnTheBatch) {
  compareBatches("narrow", 140, "swapped_32", 30, 328);
  // Nor do they with the same number of parts of K.
  compareBatches("split_four", 140, "swapped_split", 30, 712);
  compareBatches("swapped_split", 64, "swapped_split", 17, 712);
}

TEST(DeviceWgmmaTest, compilesWithoutSpills) {
  std::shared_ptr<Nvrtc> nvrtc = Nvrtc::open();
  if (!nvrtc)
    GTEST_SKIP() << "NVRTC is not installed";
  KernelCache cache(std::filesystem::path(testing::TempDir()) / "mlsys-conformance");
  std::vector<KernelText> kernels;
  for (const Variant &variant : variants)
    kernels.push_back({variant.name, textOf(variant)});
  for (const CompiledKernel &kernel : compileKernels(*nvrtc, cache, kernels, "sm_90a"))
    EXPECT_LE(kernel.registers, 255);
  std::string error = errorOf([&] { nvrtc->compile(kernels[0], "sm_80"); });
  EXPECT_NE(error.find("needs sm_90a"), std::string::npos) << error;
}

//===----------------------------------------------------------------------===//
// Seeded bugs
//===----------------------------------------------------------------------===//

namespace {

const std::vector<Seed> seeds = {
    {"original", "", ""},
    {"stage_freed_too_early", "wgmma_wait<1>();\n    wgmma_free<Config>(empty + 8 * last);",
     "wgmma_wait<1>();\n    wgmma_free<Config>(empty + 8 * place.stage);"},
    {"step_under_waited", "wgmma_wait<1>();", "wgmma_wait<2>();"},
    {"last_stage_not_freed", "wgmma_wait<0>(sums);\n  wgmma_free<Config>(empty + 8 * last);",
     "wgmma_wait<0>(sums);"},
    {"tile_not_waited_for", "mbarrier_wait(full + 8 * place.stage, place.parity);", ""},
    {"stage_not_waited_for", "mbarrier_wait(empty + 8 * place.stage, place.parity ^ 1);", ""},
    {"phase_not_swapped", "parity ^= 1;", ""},
    {"bytes_of_weights_missing", "mbarrier_arrive_expect(barrier, Config::stageBytes)",
     "mbarrier_arrive_expect(barrier, Config::ARows * 128)"},
    {"sums_not_waited_for", "wgmma_wait<0>(sums);", ""},
    {"no_fence", "wgmma_fence();", ""},
    {"part_overwritten", "group_sync(1 + warpgroup, 128); // the part before has been read", ""},
    {"part_not_complete", "    group_sync(1 + warpgroup, 128);\n    epilogue", "    epilogue"},
    {"second_warpgroup_reads_first_rows", "wgmma_rows(stage + group * 8192)", "wgmma_rows(stage)"},
};

const std::vector<Seed> splitSeeds = {
    {"split_original", "", ""},
    {"every_part_begins_at_0", "firstStep = all * rank / Config::Parts;", "firstStep = 0;"},
    {"parts_not_complete", "    cluster_sync();\n  }\n  for (int part", "  }\n  for (int part"},
    {"ends_while_others_read", "if constexpr (Config::Cluster > 1)\n    cluster_sync();", ""},
    {"sub_tile_of_nobody", "% Config::Parts != rank", "% Config::Parts != 0"},
    {"adds_the_first_part_only", "for (int part = 1; part < Config::Parts; ++part)", "for (int part = 1; part < 1; ++part)"},
    {"sub_tile_not_complete", "    group_sync(1 + warpgroup, 128);\n    epilogue", "    epilogue"},
};

const std::vector<Seed> pairSeeds = {
    {"pair_original", "", ""},
    {"other_block_not_told", "mbarrier_arrive_cluster(barrier, cluster_rank() ^ 1);", ";"},
    {"half_for_one_block", "col0 + half, 3);", "col0 + half, 1 << walk.rank);"},
    {"same_half_twice", "int half = walk.rank * Config::WBox;", "int half = 0;"},
    {"own_arrivals_only", "4 * Config::groups * (Config::Pair ? 2 : 1)", "4 * Config::groups"},
    {"ends_while_the_other_arrives", "if constexpr (Config::Cluster > 1)\n    cluster_sync();", ""},
    {"both_blocks_have_the_same_rows", "row = 2 * row + rank;", "row = 2 * row;"},
};

/// Every seed in the kernel of a variant with blocks of 128 x 256 is caught, and the original is right.
void checkSeeds(const std::string &name, const std::vector<Seed> &seeds, uint32_t sharedBytes, int64_t blocks) {
  Variant variant;
  for (const Variant &other : variants)
    if (other.name == name)
      variant = other;
  std::vector<HostCudaDevice::Source> sources;
  for (const Seed &seed : seeds) {
    std::string text = seededLibrary("mlsys/matmul_wgmma.cuh", seed);
    variant.name = "seed_" + seed.name;
    std::string call = textOf(variant);
    text += call.substr(call.find("typedef"));
    // Other names than the library's, which the executor has compiled too.
    for (std::string name :
         {"wgmma_produce", "wgmma_step", "wgmma_epilogue", "wgmma_consume", "matmul_wgmma",
          "WgmmaConfig", "SwappedConfig", "SubTile", "for_subtile", "WgmmaGroup", "wgmma_group", "RingPlace", "WgmmaWalk",
          "WgmmaStaging", "wgmma_free", "wgmma_stage", "wgmma_join"})
      for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + name.size() + 5))
        text.insert(at + name.size(), "_copy");
    sources.push_back({variant.name, "#include \"mlsys/hopper.cuh\"\n" + text});
  }
  const int m = 300, n = 300, k = 512;
  std::vector<float> a = randomValues(m * k, 1), w = randomValues(n * k, 2);
  std::map<std::string, int> caught;
  for (HostSchedule schedule : schedules) {
    HostCudaDevice device(1, schedule);
    device.loadSources(sources);
    DeviceBuffer<uint16_t> left(device, toBf16(a)), right(device, toBf16(w));
    std::vector<TensorMapArgument> maps = {matrixMap(left.data, "bf16", m, k, 128),
                                           matrixMap(right.data, "bf16", n, k, variant.rowsW)};
    std::vector<int64_t> symbols = {m, k, n};
    for (size_t i = 0; i < seeds.size(); ++i) {
      DeviceBuffer<float> result(device, m * n);
      std::vector<void *> buffers = {result.data};
      LaunchArgs args;
      args.kernel = i;
      args.buffers = buffers;
      args.symbols = symbols;
      args.tensorMaps = maps;
      args.grid[0] = blocks;
      args.block[0] = 384;
      args.sharedBytes = sharedBytes;
      bool right = errorOf([&] { device.launch(args); }).empty();
      std::vector<float> values = result.read();
      for (int row = 0; row < m && right; row += 7)
        for (int column = 0; column < n && right; column += 3) {
          double sum = 0;
          for (int e = 0; e < k; ++e)
            sum += a[row * k + e] * (double(w[column * k + e]) + 0.5 * w[(column ^ 1) * k + e]);
          right = std::abs(values[row * n + column] - sum) < 1e-2;
        }
      caught[seeds[i].name] += !right;
    }
  }
  for (const Seed &seed : seeds)
    if (seed.from.empty())
      EXPECT_EQ(caught[seed.name], 0);
    else
      EXPECT_GT(caught[seed.name], 0) << seed.name;
}

} // namespace

TEST(DeviceWgmmaTest, seededBugsAreCaught) {
  checkSeeds("head_128", seeds, 3 * 384 * 128 + 2 * 64 * 136 * 4 + 48, 1);
  checkSeeds("split_wide", splitSeeds, 4 * 384 * 128 + 2 * 64 * 40 * 4 + 64, 2 * 2 * 3);
  checkSeeds("shared", pairSeeds, 3 * 384 * 128 + 2 * 64 * 40 * 4 + 48, 2);
}
