//===- FamiliesTest.cpp - A folder of each family, on every device --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Every folder of test/data/models with expected.safetensors is a case: what that file
// holds says what is checked, so a family is tested by adding its folder. The variable
// MLSYS_MODEL_FOLDERS names another place to look in; test/scripts/check-families.py
// uses it for larger models.
//
// Left out, to keep the suite short: for the folders that test/scripts/make-model-cases.py
// wrote, the plain function and prompts in chunks on host-cuda (the kernels differ little, and
// the cpu runs them all), and bf16 anywhere but on the cpu.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace mlsys;
using namespace mlsys::test;
using program::DType;
using rt::Purpose;

namespace {

std::string modelFolders() {
  const char *folders = std::getenv("MLSYS_MODEL_FOLDERS");
  return folders ? folders : dataPath("models");
}

struct Case {
  std::string model, device;

  std::string path() const { return modelFolders() + "/" + model; }
  std::string expected() const { return path() + "/expected.safetensors"; }
  bool has(const std::string &tensor) const { return hasTensor(expected(), tensor); }
  /// Written by make-model-cases.py, as many are.
  bool isOneOfMany() const {
    std::ifstream file(path() + "/expected.json");
    return nlohmann::json::parse(file).contains("seed");
  }
  /// What an encoder gives: logits, or else the last hidden states.
  std::string result() const {
    if (has("logits"))
      return "logits";
    int layer = 99;
    while (layer > 0 && !has("hidden." + std::to_string(layer)))
      --layer;
    return "hidden." + std::to_string(layer);
  }
  /// The rows of a batch, without padding.
  std::vector<std::vector<int64_t>> batch(const std::string &tensor = "batch_ids") const {
    return unpadded(readInts(expected(), tensor), readInts(expected(), "batch_mask"));
  }
};

void PrintTo(const Case &test, std::ostream *os) { *os << test.model << " on " << test.device; }

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.model + "_" + info.param.device;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// The folders that hold what `wanted` asks for.
template <typename Predicate> std::vector<Case> cases(Predicate wanted) {
  std::vector<Case> all;
  for (const std::string &model : listData(modelFolders()))
    for (const std::string &device : devices())
      if (Case test{model, device}; std::filesystem::exists(test.expected()) && wanted(test))
        all.push_back(test);
  return all;
}

//===----------------------------------------------------------------------===//
// Decoders
//===----------------------------------------------------------------------===//

using DecoderPlain = testing::TestWithParam<Case>;

TEST_P(DecoderPlain, LogitsInF32) {
  const Case &test = GetParam();
  rt::ModelHandle model = open(test.path(), test.device, DType::F32, Purpose::Tensors);
  std::vector<float> logits = runPlain(model, readInts(test.expected(), "input_ids").elements);
  EXPECT_LE(relativeDifference(logits, readFloats(test.expected(), "logits").elements), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, DecoderPlain, testing::ValuesIn(cases([](const Case &test) {
                           return test.has("greedy") &&
                                  (test.device != "host-cuda" || !test.isOneOfMany());
                         })),
                         nameOf);

using DecoderSteps = testing::TestWithParam<Case>;

TEST_P(DecoderSteps, InF32) {
  const Case &test = GetParam();
  rt::ModelHandle model = open(test.path(), test.device, DType::F32, Purpose::Text);
  ASSERT_TRUE(model.language);
  std::vector<int64_t> prompt = readInts(test.expected(), "input_ids").elements;

  // Greedy tokens, whatever the chunks of the prompt.
  std::vector<int64_t> expected = readInts(test.expected(), "greedy").elements;
  std::vector<int64_t> chunks = {0, 3, 1};
  if (test.isOneOfMany() && test.device == "host-cuda")
    chunks = {0};
  for (int64_t chunk : chunks)
    EXPECT_EQ(runGreedy(model, prompt, int64_t(expected.size()), chunk), expected)
        << "chunks of " << chunk;

  // Several sequences at once, as many as there are pages, and each gets its own result.
  if (test.has("batch_logits")) {
    std::vector<std::vector<int64_t>> rows = test.batch();
    int64_t most = std::min(model.language->pageCount(), int64_t(rows.size()));
    ASSERT_GE(most, 2);
    std::vector<float> logits;
    for (auto row = rows.begin(); row != rows.end();) {
      auto end = row + std::min(most, rows.end() - row);
      std::vector<float> some = runBatch(model, {row, end});
      logits.insert(logits.end(), some.begin(), some.end());
      row = end;
    }
    EXPECT_LE(relativeDifference(logits, readFloats(test.expected(), "batch_logits").elements),
              1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, DecoderSteps, testing::ValuesIn(cases([](const Case &test) {
                           return test.has("greedy");
                         })),
                         nameOf);

using DecoderBf16 = testing::TestWithParam<Case>;

TEST_P(DecoderBf16, LogitsAreAsCloseAsPyTorchs) {
  const Case &test = GetParam();
  rt::ModelHandle model = open(test.path(), test.device, DType::BF16, Purpose::Tensors);
  std::vector<float> exact = readFloats(test.expected(), "logits").elements;
  std::vector<float> theirs = readFloats(test.expected(), "logits_bf16").elements;
  std::vector<float> ours = runPlain(model, readInts(test.expected(), "input_ids").elements);
  double allowed = 1.5 * distance(theirs, exact);
  EXPECT_GT(distance(ours, exact), 0);
  EXPECT_LE(distance(ours, exact), allowed);
  RecordProperty("ratio", std::to_string(1.5 * distance(ours, exact) / allowed));
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, DecoderBf16, testing::ValuesIn(cases([](const Case &test) {
                           return test.has("logits_bf16") &&
                                  (test.device == "cpu" || !test.isOneOfMany());
                         })),
                         nameOf);

//===----------------------------------------------------------------------===//
// Encoders and classifiers
//===----------------------------------------------------------------------===//

using Encoder = testing::TestWithParam<Case>;

TEST_P(Encoder, RowsInF32) {
  const Case &test = GetParam();
  rt::ModelHandle model = open(test.path(), test.device, DType::F32, Purpose::Text);
  ASSERT_TRUE(model.language);
  ASSERT_TRUE(model.language->bidirectional());
  ASSERT_TRUE(model.language->perToken());
  std::vector<std::vector<int64_t>> rows = test.batch();
  std::vector<float> actual = runEncoder(model, rows, test.batch("token_type_ids"));
  size_t width = size_t(model.language->vocabSize());

  Values<float> expected = readFloats(test.expected(), test.result());
  std::vector<float> wanted = expected.elements;
  if (expected.shape.size() == 3) {
    wanted.clear();
    for (const std::vector<float> &row : unpadded(expected, readInts(test.expected(), "batch_mask")))
      wanted.insert(wanted.end(), row.begin(), row.end());
  } else {
    // The scores of a sequence are its first token's.
    std::vector<float> firsts;
    size_t at = 0;
    for (const std::vector<int64_t> &row : rows) {
      ASSERT_LE((at + row.size()) * width, actual.size());
      firsts.insert(firsts.end(), actual.begin() + at * width, actual.begin() + (at + 1) * width);
      at += row.size();
    }
    actual = firsts;
  }
  EXPECT_LE(relativeDifference(actual, wanted), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Encoder, testing::ValuesIn(cases([](const Case &test) {
                           return test.has("token_type_ids");
                         })),
                         nameOf);

using Classifier = testing::TestWithParam<Case>;

TEST_P(Classifier, ScoresInF32) {
  const Case &test = GetParam();
  rt::ModelHandle model = open(test.path(), test.device, DType::F32, Purpose::Text);
  ASSERT_TRUE(model.language);
  ASSERT_FALSE(model.language->perToken());
  std::vector<float> scores =
      runEncoder(model, {readInts(test.expected(), "input_ids").elements}, {});
  EXPECT_LE(relativeDifference(scores, readFloats(test.expected(), "logits").elements), 1e-4);
  scores = runEncoder(model, test.batch(), {});
  EXPECT_LE(relativeDifference(scores, readFloats(test.expected(), "batch_logits").elements), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Classifier, testing::ValuesIn(cases([](const Case &test) {
                           return test.has("batch_logits") && !test.has("greedy");
                         })),
                         nameOf);

} // namespace
