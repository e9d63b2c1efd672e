//===- SmolLm2Test.cpp - A real model, from GGUF to text ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "runtime/Commands.h"
#include "runtime/Generator.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

using namespace mlsys;
using namespace mlsys::test;

namespace {

/// Texts, and what follows them.
nlohmann::json readCases() {
  std::ifstream file(dataPath("smollm2_expected/expected.json"));
  nlohmann::json cases = nlohmann::json::parse(file)["cases"];
  EXPECT_EQ(cases.size(), 4u);
  return cases;
}

rt::ModelHandle &open() {
  return openOnce(smolLm2Path(), "cpu", program::DType::F32, rt::Purpose::Text);
}

/// The logits that follow a prompt.
std::vector<float> lastLogits(rt::ModelHandle &model, const std::vector<int64_t> &ids) {
  rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
  rt::Sequence sequence(*model.language, cache);
  std::span<const float> logits = sequence.push(ids);
  return {logits.begin(), logits.end()};
}

TEST(SmolLm2, LogitsInF32) {
  nlohmann::json cases = readCases();
  for (size_t i = 0; i < cases.size(); ++i) {
    std::vector<float> logits = lastLogits(open(), cases[i]["input_ids"]);
    std::string file = "smollm2_expected/expected_" + std::to_string(i) + "_last_logits.npy";
    EXPECT_LE(relativeDifference(logits, readFloats(dataPath(file)).elements), 1e-4) << file;
  }
}

TEST(SmolLm2, WritesTheExpectedTexts) {
  nlohmann::json cases = readCases();
  for (const nlohmann::json &expected : cases) {
    rt::GenerateRequest request;
    request.prompt = expected["text"];
    std::vector<int64_t> greedy = expected["greedy"];
    request.maxTokens = int64_t(greedy.size());
    request.sampling.temperature = 0;
    std::ostringstream out, log;
    EXPECT_EQ(rt::runGenerate(open(), request, {out, log}), 0) << log.str();
    EXPECT_EQ(out.str(), expected["greedy_text"].get<std::string>() + "\n");
  }
}

} // namespace
