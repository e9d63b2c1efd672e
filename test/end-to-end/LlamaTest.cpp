//===- LlamaTest.cpp - Small models on every device -----------------------===//
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

struct Case {
  std::string model, device;

  std::string path() const { return dataPath("models/" + model); }
  std::string expected() const { return path() + "/expected.safetensors"; }
};

void PrintTo(const Case &test, std::ostream *os) { *os << test.model << " on " << test.device; }

std::vector<Case> cases(const std::vector<std::string> &models) {
  std::vector<Case> all;
  for (const std::string &device : devices())
    for (const std::string &model : models)
      all.push_back({model, device});
  return all;
}

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.model + "_" + info.param.device;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

//===----------------------------------------------------------------------===//
// Random weights
//===----------------------------------------------------------------------===//

using Llama = testing::TestWithParam<Case>;

TEST_P(Llama, PlainLogitsInF32) {
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::F32,
                                    Purpose::Tensors);
  std::vector<float> logits = runPlain(model, readInts(GetParam().expected(), "input_ids").elements);
  EXPECT_LE(relativeDifference(logits, readFloats(GetParam().expected(), "logits").elements), 1e-4);
}

TEST_P(Llama, GreedyTokensWithAnyChunkOfThePrompt) {
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::F32,
                                    Purpose::Text);
  std::vector<int64_t> prompt = readInts(GetParam().expected(), "input_ids").elements;
  std::vector<int64_t> expected = readInts(GetParam().expected(), "greedy").elements;
  for (int64_t chunk : {0, 3, 1})
    EXPECT_EQ(runGreedy(model, prompt, int64_t(expected.size()), chunk), expected)
        << "chunks of " << chunk;
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Llama,
                         testing::ValuesIn(cases({"llama", "llama_tied_gqa1", "llama3_rope",
                                                  "llama_sharded_bf16"})),
                         nameOf);

using LlamaBf16 = testing::TestWithParam<Case>;

TEST_P(LlamaBf16, PlainLogitsAreAsCloseAsPyTorchs) {
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::BF16,
                                    Purpose::Tensors);
  std::vector<float> exact = readFloats(GetParam().expected(), "logits").elements;
  std::vector<float> theirs = readFloats(GetParam().expected(), "logits_bf16").elements;
  std::vector<float> ours = runPlain(model, readInts(GetParam().expected(), "input_ids").elements);
  double allowed = 1.5 * distance(theirs, exact);
  EXPECT_GT(distance(ours, exact), 0);
  EXPECT_LE(distance(ours, exact), allowed);
  RecordProperty("ratio", std::to_string(1.5 * distance(ours, exact) / allowed));
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, LlamaBf16,
                         testing::ValuesIn(cases({"llama", "llama_tied_gqa1", "llama3_rope"})),
                         nameOf);

//===----------------------------------------------------------------------===//
// Trained weights
//===----------------------------------------------------------------------===//

using Stories = testing::TestWithParam<Case>;

TEST_P(Stories, PlainLogitsInF32) {
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::F32,
                                    Purpose::Tensors);
  std::vector<float> logits =
      runPlain(model, readInts(GetParam().path() + "/expected_input_ids.npy").elements);
  std::vector<float> expected = readFloats(GetParam().path() + "/expected_logits.npy").elements;
  EXPECT_LE(relativeDifference(logits, expected), 1e-4);
}

TEST_P(Stories, GreedyTokensWithAnyChunkOfThePrompt) {
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::F32,
                                    Purpose::Text);
  std::vector<int64_t> prompt = readInts(GetParam().path() + "/expected_input_ids.npy").elements;
  std::vector<int64_t> expected = readInts(GetParam().path() + "/expected_greedy.npy").elements;
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
  rt::ModelHandle &model = openOnce(GetParam().path(), GetParam().device, DType::F32,
                                    Purpose::Text);
  std::ifstream file(GetParam().path() + "/expected.json");
  nlohmann::json expected = nlohmann::json::parse(file);
  std::string prompt = expected["text"], text = expected["greedy_text"];
  std::string fromNothing = expected["greedy_from_bos_text"];
  ASSERT_TRUE(text.starts_with(prompt));
  EXPECT_EQ(write(model, prompt, 64), text.substr(prompt.size()) + "\n");
  EXPECT_EQ(write(model, "", 200), fromNothing + "\n");
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Stories, testing::ValuesIn(cases({"stories260K"})), nameOf);

} // namespace
