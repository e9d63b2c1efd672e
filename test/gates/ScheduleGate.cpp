//===- ScheduleGate.cpp - CUDA programs give what the interpreter gives ---===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Every model's CUDA program on the host executor, with its threads forward, in reverse and in random
// order: a prefill step of two sequences, then decode steps of one and of two, against the
// interpreter. Shared memory begins as NaN, and buffers end at guard pages. A few models also run what is
// compiled for Hopper, in bf16, and with more decode buckets.
//
//===----------------------------------------------------------------------===//

#include "Gates.h"
#include "Models.h"

#include <gtest/gtest.h>

#include <cstdlib>

using namespace mlsys;
using namespace mlsys::test;
using program::DType;
using rt::Purpose;

namespace {

struct Case {
  GateModel model;
  std::string device;
  DType dtype;
  std::vector<int64_t> decodeBuckets;
};

void PrintTo(const Case &test, std::ostream *os) { *os << test.model.name << " on " << test.device; }

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.model.name + "_" + info.param.device;
  for (char &c : name)
    c = c == '-' || c == ':' ? '_' : c;
  return name + (info.param.dtype == DType::F32 ? "_f32" : "_bf16");
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const GateModel &model : gateModels()) {
    // The larger ones have the kernels of the small ones.
    if (model.randomWeights || model.name == "smollm2")
      continue;
    // The program that the end-to-end tests run, so that it is compiled once.
    all.push_back({model, "host-cuda", DType::F32, {1}});
    if (model.representative || checkAll()) {
      all.push_back({model, "host-cuda", DType::BF16, {1, 2, 4}});
      all.push_back({model, "host-cuda:sm_90a", DType::BF16, {1, 2, 4}});
    }
  }
  return all;
}

/// Tokens that any model has.
std::vector<int64_t> tokens(const rt::LanguageModel &model, size_t count, int64_t seed) {
  std::vector<int64_t> ids(count);
  for (size_t i = 0; i < count; ++i)
    ids[i] = (seed + int64_t(i) * 7) % model.idLimit();
  return ids;
}

/// What a model gives for its steps.
std::vector<float> runAll(rt::ModelHandle &model) {
  rt::LanguageModel &language = *model.language;
  std::vector<std::vector<int64_t>> rows = {tokens(language, 9, 3), tokens(language, 5, 11)};
  if (language.bidirectional() || language.perToken())
    return runEncoder(model, rows, {});
  std::vector<float> result = runBatch(model, rows, tokens(language, 2, 5));
  std::vector<float> single = runBatch(model, {rows[0]}, tokens(language, 2, 8));
  result.insert(result.end(), single.begin(), single.end());
  return result;
}

using EverySchedule = testing::TestWithParam<Case>;

TEST_P(EverySchedule, GivesWhatTheInterpreterGives) {
  const Case &test = GetParam();
  rt::ModelHandle reference = open(test.model.path, "reference", test.dtype, Purpose::Text);
  ASSERT_TRUE(reference.language);
  std::vector<float> expected = runAll(reference);
  // In bf16 the interpreter rounds after every operation and a kernel only what it stores: both may be as
  // far from f32 as the model makes of such roundings.
  std::vector<float> exact = expected;
  double tolerance = 1e-4;
  if (test.dtype != DType::F32) {
    rt::ModelHandle f32 = open(test.model.path, "reference", DType::F32, Purpose::Text);
    exact = runAll(f32);
    tolerance = 1.5 * relativeDifference(expected, exact);
    EXPECT_LE(tolerance, 0.3) << "the interpreter itself is far from f32";
  }
  std::vector<float> first;
  for (const char *schedule : {"forward", "reverse", "random"}) {
    setenv("MLSYS_HOST_SCHEDULE", schedule, 1);
    rt::ModelHandle model =
        open(test.model.path, test.device, test.dtype, Purpose::Text, test.decodeBuckets);
    std::vector<float> actual = runAll(model);
    EXPECT_LE(relativeDifference(actual, exact), tolerance) << schedule;
    if (first.empty())
      first = actual;
    EXPECT_EQ(actual, first) << "the schedule " << schedule << " changes results";
  }
  unsetenv("MLSYS_HOST_SCHEDULE");
}

INSTANTIATE_TEST_SUITE_P(Gate, EverySchedule, testing::ValuesIn(cases()), nameOf);

} // namespace
