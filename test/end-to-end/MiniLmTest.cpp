//===- MiniLmTest.cpp - A real sentence embedder --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "runtime/Commands.h"
#include "runtime/Encoder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

using namespace mlsys;
using namespace mlsys::test;

namespace {

std::string expectedPath(const std::string &name) {
  return dataPath("minilm_l6_expected/" + name);
}

class MiniLm : public testing::TestWithParam<const char *> {
protected:
  rt::ModelHandle &model() {
    return openOnce(miniLmPath(), GetParam(), program::DType::F32, rt::Purpose::Text);
  }
};

TEST_P(MiniLm, HiddenStatesInF32) {
  std::vector<std::vector<int64_t>> rows =
      unpadded(readInts(expectedPath("input_ids.npy")), readInts(expectedPath("attention_mask.npy")));
  std::vector<rt::EncoderInput> inputs;
  for (const std::vector<int64_t> &row : rows)
    inputs.push_back({row});
  rt::KvCache cache(model().language->pageSize(), model().language->pageCount());
  std::vector<float> actual = rt::encode(*model().language, cache, inputs);

  Values<float> padded = readFloats(expectedPath("last_hidden_state.npy"));
  std::vector<float> expected;
  size_t width = size_t(padded.shape[2]);
  for (size_t row = 0; row < rows.size(); ++row) {
    auto first = padded.elements.begin() + int64_t(row * size_t(padded.shape[1]) * width);
    expected.insert(expected.end(), first, first + int64_t(rows[row].size() * width));
  }
  EXPECT_LE(relativeDifference(actual, expected), 1e-4);
}

/// From sentences to vectors: tokenizer, encoder, pooling and normalization as the files say.
TEST_P(MiniLm, EmbedsSentences) {
  std::ifstream file(expectedPath("expected.json"));
  rt::EmbedRequest request;
  request.texts = nlohmann::json::parse(file)["sentences"];
  request.json = true;
  std::ostringstream out, log;
  ASSERT_EQ(rt::runEmbed(model(), request, {out, log}), 0) << log.str();
  std::vector<float> actual;
  nlohmann::json result = nlohmann::json::parse(out.str());
  EXPECT_EQ(result["pooling"], "mean");
  for (const nlohmann::json &entry : result["data"])
    for (const nlohmann::json &value : entry["embedding"])
      actual.push_back(value.get<float>());
  EXPECT_LE(relativeDifference(actual, readFloats(expectedPath("sentence_embedding.npy")).elements),
            1e-4);
}

INSTANTIATE_TEST_SUITE_P(Devices, MiniLm, testing::Values("reference", "cpu", "host-cuda"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace
