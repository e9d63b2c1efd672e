//===- StoriesTest.cpp - A small trained model on every device ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "runtime/Commands.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

using namespace mlsys;
using namespace mlsys::test;
using program::DType;
using rt::Purpose;

namespace {

std::string nameOf(const testing::TestParamInfo<std::string> &info) {
  return info.param == "host-cuda" ? "host_cuda" : info.param;
}

std::string path() { return dataPath("models/stories260K"); }

using Stories = testing::TestWithParam<std::string>;

TEST_P(Stories, PlainLogitsInF32) {
  rt::ModelHandle &model = openOnce(path(), GetParam(), DType::F32,
                                    Purpose::Tensors);
  std::vector<float> logits =
      runPlain(model, readInts(path() + "/expected_input_ids.npy").elements);
  std::vector<float> expected = readFloats(path() + "/expected_logits.npy").elements;
  EXPECT_LE(relativeDifference(logits, expected), 1e-4);
}

TEST_P(Stories, GreedyTokensWithAnyChunkOfThePrompt) {
  rt::ModelHandle &model = openOnce(path(), GetParam(), DType::F32,
                                    Purpose::Text);
  std::vector<int64_t> prompt = readInts(path() + "/expected_input_ids.npy").elements;
  std::vector<int64_t> expected = readInts(path() + "/expected_greedy.npy").elements;
  ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), expected.begin()));
  expected.erase(expected.begin(), expected.begin() + prompt.size());
  for (int64_t chunk : {0, 3, 1})
    EXPECT_EQ(runGreedy(model, prompt, int64_t(expected.size()), chunk), expected)
        << "chunks of " << chunk;
}

/// What `generate` writes after `prompt`.
std::string write(rt::ModelHandle &model, const std::string &prompt, int64_t tokens) {
  std::ostringstream out, log;
  rt::GenerateRequest request;
  request.prompt = prompt;
  request.maxTokens = tokens;
  request.sampling.temperature = 0;
  EXPECT_EQ(rt::runGenerate(model, request, {out, log}), 0) << log.str();
  return out.str();
}

TEST_P(Stories, WritesItsText) {
  rt::ModelHandle &model = openOnce(path(), GetParam(), DType::F32,
                                    Purpose::Text);
  std::ifstream file(path() + "/expected.json");
  nlohmann::json expected = nlohmann::json::parse(file);
  std::string prompt = expected["text"], text = expected["greedy_text"];
  std::string fromNothing = expected["greedy_from_bos_text"];
  ASSERT_TRUE(text.starts_with(prompt));
  EXPECT_EQ(write(model, prompt, 64), text.substr(prompt.size()) + "\n");
  EXPECT_EQ(write(model, "", 200), fromNothing + "\n");
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Stories, testing::ValuesIn(devices()), nameOf);

} // namespace
