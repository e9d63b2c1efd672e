//===- DeviceSampleTest.cpp - Tokens and weights made on the device -------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "DeviceTest.h"

#include "runtime/DeviceKernels.h"
#include "runtime/Program.h"
#include "runtime/Sampler.h"
#include "runtime/WeightLoader.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();

/// A device with the runtime's kernels: 0 and 1 choose tokens, 2 makes random numbers.
HostCudaDevice &device(HostSchedule schedule = HostSchedule::Forward) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &known = devices[schedule];
  if (known)
    return *known;
  program::TargetProgramT program;
  program.functions.push_back(std::make_unique<program::FunctionT>());
  program.functions[0]->phase = program::Phase::Decode;
  program.constants.push_back(std::make_unique<program::ConstantT>());
  program.constants[0]->sources.push_back(std::make_unique<program::WeightSourceT>());
  program.constants[0]->sources[0]->file = randomWeightsFile;
  addRuntimeKernels(program);
  EXPECT_EQ(program.kernels.size(), 3u);
  known = std::make_unique<HostCudaDevice>(2, schedule);
  std::vector<HostCudaDevice::Source> sources;
  for (const auto &kernel : program.kernels)
    sources.push_back({kernel->name, kernel->cuda_text});
  known->loadSources(sources);
  return *known;
}

/// The tokens that the device chooses, one for each way, from rows of `vocabulary` logits, the first
/// row again when there are fewer.
std::vector<int64_t> choose(const std::vector<float> &logits, int64_t vocabulary,
                            const std::vector<DeviceSampling> &how, int threads = 64,
                            HostSchedule schedule = HostSchedule::Forward) {
  Device &on = device(schedule);
  size_t requests = how.size();
  std::vector<float> rows;
  while (rows.size() < requests * size_t(vocabulary))
    rows.insert(rows.end(), logits.begin(), logits.end());
  rows.resize(requests * size_t(vocabulary));
  DeviceBuffer<float> in(on, rows);
  DeviceBuffer<int64_t> ids(on, std::vector<int64_t>(requests, 7)), slots(on, std::vector<int64_t>(requests));
  DeviceBuffer<int32_t> positions(on, std::vector<int32_t>(requests)), context(on, std::vector<int32_t>(requests, 1)),
      table(on, std::vector<int32_t>(requests));
  DeviceBuffer<DeviceSampling> ways(on, how);
  DeviceBuffer<int64_t> chosen(on, std::vector<int64_t>(requests, -99));
  int64_t parts = sampleParts(vocabulary);
  DeviceBuffer<char> found(on, std::vector<char>(requests * size_t(parts) * samplePartBytes, char(0xff)));
  launchKernel(on, 0, {in.data, context.data, ways.data, found.data}, {vocabulary},
               {(parts + 3) / 4, int64_t(requests)}, samplePartThreads, 0);
  launchKernel(on, 1,
               {in.data, ids.data, positions.data, slots.data, context.data, table.data, ways.data, found.data,
                chosen.data},
               {vocabulary, 1, 16}, {int64_t(requests)}, threads, sampleSharedBytes);
  std::vector<int64_t> result = chosen.read(), next = ids.read();
  for (size_t i = 0; i < requests; ++i)
    EXPECT_EQ(next[i], std::max<int64_t>(result[i], 0));
  return result;
}

SamplerOptions options(float temperature, int topK, float topP, float minP, uint64_t seed = 5) {
  SamplerOptions result;
  result.temperature = temperature;
  result.topK = topK;
  result.topP = topP;
  result.minP = minP;
  result.seed = seed;
  return result;
}

} // namespace

TEST(DeviceSample, GreedyTakesTheFirstOfTheLargest) {
  std::vector<float> logits = randomValues(515, 3);
  DeviceSampling greedy;
  int64_t best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (HostSchedule schedule : schedules) {
    EXPECT_EQ(choose(logits, 515, {greedy}, 64, schedule)[0], best);
    EXPECT_EQ(choose(std::vector<float>(515, 2.5f), 515, {greedy}, 64, schedule)[0], 0);
    logits[400] = logits[17] = 100;
    EXPECT_EQ(choose(logits, 515, {greedy}, 512, schedule)[0], 17);
    logits = randomValues(515, 3);
  }
}

TEST(DeviceSample, BadLogitsAreNamed) {
  std::vector<float> logits = randomValues(512, 4);
  DeviceSampling greedy, random = *Sampler(options(1, 0, 1, 0)).forDevice();
  logits[300] = logits[301] = notANumber;
  EXPECT_EQ(choose(logits, 512, {greedy, random}), (std::vector<int64_t>{-301, -301}));
  logits[300] = logits[301] = infinity;
  EXPECT_EQ(choose(logits, 512, {greedy, random}), (std::vector<int64_t>{-301, -301}));
  EXPECT_EQ(choose(std::vector<float>(512, -infinity), 512, {random})[0], -1);
}

TEST(DeviceSample, DrawsAsTheHostDoes) {
  const SamplerOptions all[] = {
      options(1, 0, 1, 0),     options(0.6f, 0, 0.9f, 0), options(0.7f, 20, 1, 0),   options(0.7f, 20, 0.8f, 0),
      options(1.5f, 0, 1, 0.05f), options(1, 3, 0.5f, 0.1f), options(2, 1, 1, 0),   options(1, 0, 0.05f, 0),
      options(3, 100, 0.99f, 0),  options(0.1f, 0, 0.95f, 0),
  };
  int64_t draws = 0, different = 0;
  // The last has parts of 512.
  for (int64_t vocabulary : {1, 33, 512, 515, 9001, 300001}) {
    std::vector<float> logits = randomValues(size_t(vocabulary), unsigned(vocabulary), 3);
    // Ties, also at the borders of filters, and what cannot be chosen.
    for (size_t i = 0; i < logits.size(); ++i)
      if (i % 3 == 0)
        logits[i] = std::round(logits[i]);
      else if (i % 7 == 1)
        logits[i] = -infinity;
    for (const SamplerOptions &option : all) {
      Sampler host(option);
      std::vector<DeviceSampling> ways;
      std::vector<int64_t> expected;
      for (int i = 0; i < (vocabulary > 1000 ? 2 : 12); ++i) {
        ways.push_back(*host.forDevice());
        expected.push_back(host.sample(logits));
      }
      std::vector<int64_t> chosen = choose(logits, vocabulary, ways, vocabulary > 1000 ? 512 : 64);
      for (size_t i = 0; i < chosen.size(); ++i) {
        ++draws;
        different += chosen[i] != expected[i];
        ASSERT_GE(chosen[i], 0);
        ASSERT_LT(chosen[i], vocabulary);
      }
    }
  }
  // Two tokens may come within rounding of each other.
  EXPECT_LE(different, draws / 100);
}

TEST(DeviceSample, EqualLogitsAreFilteredById) {
  // The first 10 of 64 equal tokens are left.
  std::vector<float> logits(64, 1);
  for (const SamplerOptions &option : {options(1, 10, 1, 0), options(1, 10, 0.9999f, 0), options(1, 0, 9.5f / 64, 0)}) {
    Sampler sampler(option);
    std::vector<DeviceSampling> ways;
    for (int i = 0; i < 200; ++i) {
      ways.push_back(*sampler.forDevice());
      sampler.accept(0);
    }
    std::map<int64_t, int> counts;
    for (int64_t id : choose(logits, 64, ways, 32))
      ++counts[id];
    EXPECT_EQ(counts.size(), 10u);
    EXPECT_EQ(counts.rbegin()->first, 9);
  }
}

/// The draws follow the distribution that the options say: a chi-square test with a bound that
/// chance passes 99.9 % of the time; the seeds are fixed.
TEST(DeviceSample, DrawsFollowTheDistribution) {
  std::vector<float> logits = randomValues(24, 9, 0.7f);
  const SamplerOptions all[] = {options(1, 0, 1, 0), options(0.8f, 0, 0.8f, 0), options(1.2f, 6, 1, 0),
                                options(1, 8, 0.9f, 0.1f)};
  for (const SamplerOptions &option : all) {
    Sampler sampler(option);
    std::vector<std::pair<int64_t, double>> distribution = sampler.distribution(logits);
    std::map<int64_t, double> expected(distribution.begin(), distribution.end());
    std::map<int64_t, int> counts;
    constexpr int draws = 1500;
    std::vector<DeviceSampling> ways;
    for (int i = 0; i < draws; ++i) {
      ways.push_back(*sampler.forDevice());
      sampler.accept(0);
    }
    for (int64_t id : choose(logits, 24, ways, 32))
      ++counts[id];
    double chiSquare = 0;
    for (auto [id, count] : counts)
      ASSERT_TRUE(expected.contains(id)) << id;
    for (auto [id, probability] : expected) {
      double mean = probability * draws, difference = counts[id] - mean;
      chiSquare += difference * difference / mean;
    }
    // Wilson and Hilferty's approximation of the quantile.
    ASSERT_GT(expected.size(), 1u);
    double freedom = double(expected.size() - 1), part = 2 / (9 * freedom);
    EXPECT_LT(chiSquare, freedom * std::pow(1 - part + 3.09 * std::sqrt(part), 3));
  }
}

TEST(DeviceSample, TheNextStepIsPrepared) {
  Device &on = device();
  // Three requests of a table of two pages; the second is none, and the third leaves its pages.
  DeviceBuffer<float> logits(on, std::vector<float>{0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1});
  DeviceBuffer<int64_t> ids(on, {5, 6, 7}), slots(on, {1, -1, 3}), chosen(on, {-99, -99, -99});
  DeviceBuffer<int32_t> positions(on, {3, 0, 7}), context(on, {4, 0, 8}), table(on, {9, 11, 0, 0, 2, 3});
  DeviceBuffer<DeviceSampling> how(on, std::vector<DeviceSampling>(3));
  DeviceBuffer<char> found(on, std::vector<char>(3 * samplePartBytes));
  launchKernel(on, 0, {logits.data, context.data, how.data, found.data}, {4}, {1, 3}, samplePartThreads, 0);
  launchKernel(on, 1,
               {logits.data, ids.data, positions.data, slots.data, context.data, table.data, how.data, found.data,
                chosen.data},
               {4, 2, 4}, {3}, 64, sampleSharedBytes);
  EXPECT_EQ(chosen.read(), (std::vector<int64_t>{1, -99, 3}));
  EXPECT_EQ(ids.read(), (std::vector<int64_t>{1, 6, 3}));
  EXPECT_EQ(positions.read(), (std::vector<int32_t>{4, 0, 8}));
  EXPECT_EQ(context.read(), (std::vector<int32_t>{5, 0, 9}));
  EXPECT_EQ(slots.read(), (std::vector<int64_t>{11 * 4, -1, -1}));
  EXPECT_EQ(how.read()[0].draws, 1u);
  EXPECT_EQ(how.read()[1].draws, 0u);
}

TEST(DeviceRandom, EqualsTheHost) {
  const std::pair<program::DType, int64_t> types[] = {
      {program::DType::F32, 0}, {program::DType::BF16, 1}, {program::DType::F16, 2}};
  for (auto [dtype, type] : types) {
    for (int64_t count : {1, 7, 4096, 70003}) {
      program::ConstantT constant;
      constant.name = "w";
      constant.dtype = dtype;
      constant.shape = {count};
      constant.bytes = uint64_t(count) * (type == 0 ? 4 : 2);
      constant.sources.push_back(std::make_unique<program::WeightSourceT>());
      program::WeightSourceT &source = *constant.sources[0];
      source.file = randomWeightsFile;
      source.dtype = program::DType::F32;
      source.shape = {count};
      source.random_seed = 0xfedcba9876543210ull + uint64_t(count);
      source.random_mean = 0.25f;
      source.random_spread = 0.0371f;
      flatbuffers::FlatBufferBuilder builder;
      builder.Finish(program::Constant::Pack(builder, &constant));
      program::ProgramT empty;
      flatbuffers::FlatBufferBuilder programBuilder;
      programBuilder.Finish(program::Program::Pack(programBuilder, &empty));
      WeightFiles files(*flatbuffers::GetRoot<program::Program>(programBuilder.GetBufferPointer()), "", {});
      std::vector<std::byte> expected(constant.bytes);
      loadConstant(*flatbuffers::GetRoot<program::Constant>(builder.GetBufferPointer()), files, expected,
                   [](int64_t tasks, const std::function<void(int64_t, int64_t)> &body) { body(0, tasks); });
      DeviceBuffer<std::byte> out(device(), constant.bytes);
      launchKernel(device(), 2, {out.data},
                   {type, count, int64_t(source.random_seed), std::bit_cast<int32_t>(source.random_mean),
                    std::bit_cast<int32_t>(source.random_spread)},
                   {2}, 64);
      EXPECT_TRUE(out.read() == expected) << dtypeName(dtype) << " " << count;
    }
  }
}
