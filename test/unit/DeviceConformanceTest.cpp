//===- DeviceConformanceTest.cpp - Every wrapper of the device library ----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Small kernels over every wrapper, run by the host executor in its three schedules, compiled
// by NVRTC for the architectures they are for and, where there is a GPU, run there: copies
// must give the same bits. Kernels with one synchronisation taken out must be caught.
//
//===----------------------------------------------------------------------===//

#include "ConformanceCases.h"
#include "DeviceTest.h"
#include "runtime/CudaDevice.h"
#include "runtime/Nvrtc.h"

#include <filesystem>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// Runs kernel `index` of the device, which is the case's; returns the output.
std::vector<uint8_t> outputOf(Device &device, uint32_t index, const ConformanceCase &entry) {
  std::vector<std::unique_ptr<DeviceBuffer<uint8_t>>> memory;
  std::vector<void *> buffers;
  for (const std::vector<uint8_t> &input : entry.inputs)
    memory.push_back(std::make_unique<DeviceBuffer<uint8_t>>(device, input));
  memory.push_back(std::make_unique<DeviceBuffer<uint8_t>>(device, entry.outputBytes));
  for (auto &buffer : memory)
    buffers.push_back(buffer->data);
  std::vector<TensorMapArgument> maps;
  for (const CaseMap &map : entry.maps) {
    TensorMapArgument argument;
    argument.base = buffers[map.buffer];
    argument.type = map.type;
    argument.rank = static_cast<int>(map.extents.size());
    std::copy(map.extents.begin(), map.extents.end(), argument.extents);
    std::copy(map.strides.begin(), map.strides.end(), argument.strides);
    std::copy(map.box.begin(), map.box.end(), argument.box);
    argument.swizzled = map.swizzled;
    maps.push_back(argument);
  }
  LaunchArgs args;
  args.kernel = index;
  args.buffers = buffers;
  args.tensorMaps = maps;
  args.grid[0] = entry.blocks;
  args.block[0] = entry.threads;
  args.sharedBytes = entry.sharedBytes;
  device.launch(args);
  return memory.back()->read();
}

/// What is wrong with an output; empty when nothing.
std::string wrongIn(const std::vector<uint8_t> &output, const ConformanceCase &entry) {
  for (size_t i = 0; i < entry.expected.size(); ++i)
    if (output[i] != entry.expected[i])
      return fmt::format("byte {} is {}, expected {}", i, output[i], entry.expected[i]);
  for (size_t i = 0; i < entry.sums.size(); ++i) {
    float value;
    std::memcpy(&value, output.data() + 4 * i, 4);
    if (!(std::abs(value - entry.sums[i]) <= entry.bound))
      return fmt::format("number {} is {}, expected {}", i, value, entry.sums[i]);
  }
  return "";
}

/// A program of texts, as Device::load takes it.
class Kernels {
public:
  explicit Kernels(const std::vector<HostCudaDevice::Source> &sources) {
    std::vector<flatbuffers::Offset<program::Kernel>> kernels;
    for (const auto &[name, text] : sources) {
      auto nameAt = builder.CreateString(name), textAt = builder.CreateString(text);
      program::KernelBuilder kernel(builder);
      kernel.add_name(nameAt);
      kernel.add_cuda_text(textAt);
      kernels.push_back(kernel.Finish());
    }
    auto list = builder.CreateVector(kernels);
    program::TargetProgramBuilder target(builder);
    target.add_kernels(list);
    builder.Finish(target.Finish());
  }
  const program::TargetProgram &get() const {
    return *flatbuffers::GetRoot<program::TargetProgram>(builder.GetBufferPointer());
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

const Kernels &caseKernels() {
  static const Kernels kernels = [] {
    std::vector<HostCudaDevice::Source> sources;
    for (const ConformanceCase &entry : conformanceCases())
      sources.push_back({entry.name, entry.text});
    return Kernels(sources);
  }();
  return kernels;
}

class DeviceConformanceTest : public testing::TestWithParam<HostSchedule> {};

std::string scheduleName(const testing::TestParamInfo<HostSchedule> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  return names[static_cast<int>(info.param)];
}

} // namespace

TEST_P(DeviceConformanceTest, hostExecutorMatchesReference) {
  HostCudaDevice device(1, GetParam());
  device.load(caseKernels().get());
  uint32_t index = 0;
  for (const ConformanceCase &entry : conformanceCases()) {
    std::string error = errorOf([&] { EXPECT_EQ(wrongIn(outputOf(device, index, entry), entry), "") << entry.name; });
    EXPECT_EQ(error, "");
    ++index;
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, DeviceConformanceTest, testing::ValuesIn(schedules), scheduleName);

TEST(DeviceConformanceTest, gpuMatchesReference) {
  if (!cudaAvailable())
    GTEST_SKIP() << "there is no GPU here";
  std::unique_ptr<Device> device = createCudaDevice({"cuda", 0});
  const GpuInfo &gpu = static_cast<CudaDevice &>(*device).gpu();
  std::vector<HostCudaDevice::Source> sources;
  std::vector<const ConformanceCase *> cases;
  for (const ConformanceCase &entry : conformanceCases())
    if (entry.arch == "sm_80" || (entry.arch == "sm_90" && gpu.major >= 9) || cubinRunsOn(entry.arch, gpu)) {
      sources.push_back({entry.name, entry.text});
      cases.push_back(&entry);
    }
  Kernels kernels(sources);
  device->load(kernels.get());
  for (uint32_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(wrongIn(outputOf(*device, i, *cases[i]), *cases[i]), "") << cases[i]->name;
}

TEST(DeviceConformanceTest, compilesForItsArchitectures) {
  std::shared_ptr<Nvrtc> nvrtc = Nvrtc::open();
  if (!nvrtc)
    GTEST_SKIP() << "NVRTC is not installed";
  KernelCache cache(std::filesystem::path(testing::TempDir()) / "mlsys-conformance");
  for (const std::string arch : {"sm_80", "sm_89", "sm_90a"}) {
    std::vector<KernelText> kernels;
    for (const ConformanceCase &entry : conformanceCases())
      if (entry.arch <= arch)
        kernels.push_back({entry.name, entry.text});
    // Spills, stack and serialised wgmma are errors.
    EXPECT_EQ(compileKernels(*nvrtc, cache, kernels, arch).size(), kernels.size());
  }
  const ConformanceCase &bulk = conformanceCase("bulk"), &product = conformanceCase("wgmma_bf16_8");
  std::string error = errorOf([&] { nvrtc->compile({bulk.name, bulk.text}, "sm_89"); });
  EXPECT_NE(error.find("needs sm_90 or above"), std::string::npos) << error;
  error = errorOf([&] { nvrtc->compile({product.name, product.text}, "sm_90"); });
  EXPECT_NE(error.find("wgmma needs sm_90a"), std::string::npos) << error;
}

//===----------------------------------------------------------------------===//
// Seeded bugs
//===----------------------------------------------------------------------===//

namespace {

/// A case with the first `from` of its text replaced, and a part of the message when that is
/// what it must give.
struct Seed {
  std::string name, of, from, to, message;
};

const std::vector<Seed> seeds = {
    {"no_wait_for_copy", "cp_async", "cp_wait<0>();", "", ""},
    {"no_barrier_after_copy", "cp_async", "bar_sync();", "", ""},
    {"no_wait_for_tile", "tma_2d", "mbarrier_wait(full, 0);", "", "under way"},
    {"swapped_phase", "tma_2d", "mbarrier_wait(full, 0);", "mbarrier_wait(full, 1);", ""},
    {"too_few_bytes", "tma_2d", "mbarrier_arrive_expect(full, ", "mbarrier_arrive_expect(full, 16 + ",
     "lacks 0 arrivals and 16 bytes"},
    {"no_fence_after_init", "tma_2d", "mbarrier_fence();", "", "mbarrier_fence is missing"},
    {"no_barrier_after_init", "tma_2d", "bar_sync();", "", "there is no mbarrier"},
    {"tile_misaligned", "tma_2d", "tma_load_2d(tile,", "tma_load_2d(tile + 128,", "not aligned to 1024"},
    {"tile_outside", "tma_2d", "tma_load_2d(tile,", "tma_load_2d(tile + 1024,", "of shared memory"},
    {"mbarrier_overwritten", "tma_2d", "mbarrier_wait(full, 0);",
     "shared_memory<u64>()[384] = 0; mbarrier_wait(full, 0);", "overwritten"},
    {"no_proxy_fence_before_store", "tma_store", "proxy_fence();", "", ""},
    {"no_barrier_before_store", "tma_store", "bar_sync();", "", ""},
    {"no_wait_for_store", "tma_store", "bulk_wait<0>();", "", "has not waited for its stores"},
    {"no_commit_of_store", "tma_store", "bulk_commit();", "", "has not waited for its stores"},
    {"store_outside", "bulk", "bulk_store(a1 + (3 - i) * 256", "bulk_store(a1 + (4 - i) * 256", ""},
    {"same_phase_twice", "bulk", "mbarrier_wait(full, i & 1)", "mbarrier_wait(full, 0)", ""},
    {"dropped_arrive", "ring", "mbarrier_arrive(empty + i % 2 * 8);", "if (i != 5) mbarrier_arrive(empty + i % 2 * 8);",
     "deadlock"},
    {"arrives_twice", "ring", "mbarrier_arrive(empty + i % 2 * 8);",
     "mbarrier_arrive(empty + i % 2 * 8); mbarrier_arrive(empty + i % 2 * 8);", ""},
    {"one_arrival_too_many", "tma_2d", "tma_load_2d(", "mbarrier_arrive(full); tma_load_2d(", "one arrival more"},
    {"arrive_before_read", "ring", "u32 value",
     "mbarrier_arrive(empty + i % 2 * 8); a1[i * 32 + 63 - thread_x()] = tile[i % 2 * 32 + 63 - thread_x()] * 2; "
     "continue; u32 value",
     ""},
    {"no_warp_sync_before_next_phase", "bulk", "warp_sync();\n  }", "}", "deadlock"},
    {"producer_does_not_wait", "ring", "mbarrier_wait(empty + i % 2 * 8, i / 2 & 1 ^ 1);", "", ""},
    {"group_of_other_size", "groups", "group_sync(1, 64);", "group_sync(1, 96);", "where others said"},
    {"group_does_not_wait", "groups", "group_sync(1, 64);", "group_arrive(1, 64);", ""},
    {"group_missing", "groups", "group_arrive(2, 64);", "", "group_sync"},
    {"no_cluster_sync_before_read", "cluster", "cluster_sync();\n  vec", "vec", ""},
    {"no_cluster_sync_before_end", "cluster", "cluster_sync();\n}", "}", "of the cluster has ended"},
    {"outside_the_cluster", "cluster", "(rank + 1) % 4", "rank + 1", "block 4 of a cluster of 4"},
    {"cluster_load_misaligned", "cluster", "thread_x() * 16", "thread_x() * 16 + 4", "of shared memory"},
    {"tile_for_one_block_only", "cluster_tiles", "i * 16 + rank * 8, 3)", "i * 16 + rank * 8, 1)", ""},
    {"other_block_not_told", "cluster_tiles", "mbarrier_arrive_cluster(empty + i % 2 * 8, rank ^ 1);", "", "deadlock"},
    {"other_block_not_waited_for", "cluster_tiles", "mbarrier_init(empty + 8 * i, 2)", "mbarrier_init(empty + 8 * i, 1)", ""},
    {"no_cluster_sync_after_init", "cluster_tiles", "cluster_sync();\n  if", "bar_sync();\n  if", ""},
    {"no_wgmma_fence", "wgmma_bf16_64", "wgmma_fence();", "", "without wgmma_fence"},
    {"no_wgmma_commit", "wgmma_bf16_64", "wgmma_commit();", "", "has not waited"},
    {"wgmma_under_waited", "wgmma_bf16_64", "wgmma_wait<0>", "wgmma_wait<1>", "has not waited"},
    {"wgmma_before_tile", "wgmma_bf16_64", "mbarrier_wait(full, 0);", "", ""},
    {"wgmma_sums_written", "wgmma_bf16_64", "wgmma_commit();", "wgmma_commit(); sums[0] = 1.0f;",
     "while it was under way"},
    {"wgmma_not_uniform", "wgmma_bf16_64", "wgmma_rows(a) + 2 * k",
     "wgmma_rows(a + (thread_x() == 7 ? 1024 : 0)) + 2 * k", "thread 7"},
    {"wgmma_between_tiles", "wgmma_bf16_64", "wgmma_rows(b)", "wgmma_rows(b + 512)", "where no tile can begin"},
    {"wgmma_outside", "wgmma_bf16_64", "wgmma_rows(b)", "wgmma_rows(b + 2048)", "of shared memory"},
    {"no_proxy_fence_before_wgmma", "stores_then_wgmma", "proxy_fence();", "", ""},
    {"too_many_registers", "stores_then_wgmma", "registers_release<40>();", "", "claim"},
};

} // namespace

TEST(DeviceConformanceTest, seededBugsAreCaught) {
  std::vector<HostCudaDevice::Source> sources;
  for (const Seed &seed : seeds) {
    const ConformanceCase &entry = conformanceCase(seed.of);
    std::string text = entry.text;
    size_t at = text.find(seed.from);
    ASSERT_NE(at, std::string::npos) << seed.name;
    text.replace(at, seed.from.size(), seed.to);
    at = text.find(" " + entry.name + "(");
    text.replace(at + 1, entry.name.size(), seed.name);
    sources.push_back({seed.name, text});
  }
  Kernels kernels(sources);
  std::map<std::string, std::string> caught, messages;
  for (HostSchedule schedule : schedules) {
    HostCudaDevice device(1, schedule);
    device.load(kernels.get());
    for (uint32_t i = 0; i < seeds.size(); ++i) {
      std::string wrong;
      std::string error = errorOf(
          [&] { wrong = wrongIn(outputOf(device, i, conformanceCase(seeds[i].of)), conformanceCase(seeds[i].of)); });
      caught[seeds[i].name] += error + wrong;
      messages[seeds[i].name] += error + "\n";
    }
  }
  for (const Seed &seed : seeds) {
    EXPECT_NE(caught[seed.name], "") << seed.name;
    EXPECT_NE(messages[seed.name].find(seed.message), std::string::npos) << seed.name << ": " << messages[seed.name];
  }
}
