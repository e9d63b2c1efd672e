//===- GgufModelsTest.cpp - A GGUF model of each architecture -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Every .gguf of test/data/gguf/models, against the .safetensors beside it. FamiliesTest.cpp
// runs the same families on every device; what differs here is the import, so the devices are
// the reference, with whole prompts, and the cpu.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include <gtest/gtest.h>

using namespace mlsys;
using namespace mlsys::test;
using program::DType;
using rt::Purpose;

namespace {

std::string stemOf(const testing::TestParamInfo<std::string> &info) { return info.param; }

/// The models whose expected values have a tensor.
std::vector<std::string> models(const std::string &tensor) {
  std::vector<std::string> stems;
  for (const std::string &name : listData(dataPath("gguf/models")))
    if (name.ends_with(".gguf")) {
      std::string stem = name.substr(0, name.size() - 5);
      if (hasTensor(dataPath("gguf/models/" + stem + ".safetensors"), tensor))
        stems.push_back(stem);
    }
  return stems;
}

struct GgufModel : testing::TestWithParam<std::string> {
  std::string path = dataPath("gguf/models/" + GetParam() + ".gguf");
  std::string expected = dataPath("gguf/models/" + GetParam() + ".safetensors");
};

struct GgufDecoder : GgufModel {};

TEST_P(GgufDecoder, PlainLogitsInF32) {
  std::vector<int64_t> prompt = readInts(expected, "input_ids").elements;
  for (const char *device : {"reference", "cpu"}) {
    rt::ModelHandle model = open(path, device, DType::F32, Purpose::Tensors);
    EXPECT_LE(relativeDifference(runPlain(model, prompt), readFloats(expected, "logits").elements),
              1e-4)
        << device;
  }
}

TEST_P(GgufDecoder, GreedyTokensInF32) {
  rt::ModelHandle model = open(path, "cpu", DType::F32, Purpose::Text);
  std::vector<int64_t> prompt = readInts(expected, "input_ids").elements;
  std::vector<int64_t> greedy = readInts(expected, "greedy").elements;
  EXPECT_EQ(runGreedy(model, prompt, int64_t(greedy.size()), 0), greedy);
}

struct GgufEncoder : GgufModel {};

TEST_P(GgufEncoder, HiddenStatesInF32) {
  rt::ModelHandle model = open(path, "cpu", DType::F32, Purpose::Text);
  Values<int64_t> mask = readInts(expected, "batch_mask");
  std::vector<float> actual =
      runEncoder(model, unpadded(readInts(expected, "batch_ids"), mask),
                 unpadded(readInts(expected, "token_type_ids"), mask));
  std::vector<float> wanted;
  for (const std::vector<float> &row : unpadded(readFloats(expected, "hidden.2"), mask))
    wanted.insert(wanted.end(), row.begin(), row.end());
  EXPECT_LE(relativeDifference(actual, wanted), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, GgufEncoder, testing::ValuesIn(models("token_type_ids")), stemOf);
INSTANTIATE_TEST_SUITE_P(EndToEnd, GgufDecoder, testing::ValuesIn(models("greedy")), stemOf);

} // namespace
