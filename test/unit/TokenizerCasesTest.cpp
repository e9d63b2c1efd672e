//===- TokenizerCasesTest.cpp - Small tokenizers of every kind ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// What Hugging Face's library does with them is in test/data/tokenizers; see
// test/scripts/make-tokenizer-cases.py.
//
//===----------------------------------------------------------------------===//
#include "runtime/Detokenizer.h"
#include "runtime/Normalizer.h"
#include "runtime/PreTokenizer.h"
#include "runtime/TokenDecoder.h"
#include "runtime/Tokenizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace mlsys::rt;
using Json = nlohmann::json;
using Ids = std::vector<int64_t>;

namespace {

std::string readFile(const std::string &name) {
  std::ifstream file(MLSYS_TEST_DATA "/tokenizers/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string stream(const Tokenizer &tokenizer, const Ids &ids) {
  Detokenizer detokenizer(tokenizer, false);
  std::string text;
  for (int64_t id : ids)
    text += detokenizer.push(id);
  return text + detokenizer.finish();
}

class TokenizerCases : public testing::TestWithParam<const char *> {};

TEST_P(TokenizerCases, EqualHuggingFace) {
  std::string folder = GetParam();
  Tokenizer tokenizer = Tokenizer::fromJson(readFile(folder + "/tokenizer.json"));
  Json data = Json::parse(readFile(folder + "/cases.json"));
  ASSERT_GT(data["cases"].size(), 80u);
  for (const Json &entry : data["cases"]) {
    std::string text = entry["text"];
    Encoding encoding = tokenizer.encodeTyped(text);
    EXPECT_EQ(encoding.ids, entry["ids"].get<Ids>()) << text;
    EXPECT_EQ(encoding.typeIds, entry["type_ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.encode(text), encoding.ids) << text;
    EXPECT_EQ(tokenizer.encode(text, false), entry["plain_ids"].get<Ids>()) << text;
    if (encoding.ids.empty())
      continue;
    EXPECT_EQ(tokenizer.decode(encoding.ids, false), entry["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(encoding.ids, true), entry["decoded_plain"].get<std::string>());
  }
  for (const Json &entry : data["pairs"]) {
    std::string first = entry["first"], second = entry["second"];
    Encoding encoding = tokenizer.encodePair(first, second);
    EXPECT_EQ(encoding.ids, entry["ids"].get<Ids>()) << first << " | " << second;
    EXPECT_EQ(encoding.typeIds, entry["type_ids"].get<Ids>()) << first << " | " << second;
    EXPECT_EQ(tokenizer.encodePair(first, second, false).ids, entry["plain_ids"].get<Ids>());
  }
  for (const Json &entry : data["lists"]) {
    Ids ids = entry["ids"];
    EXPECT_EQ(tokenizer.decode(ids, false), entry["decoded"].get<std::string>()) << entry["ids"];
    EXPECT_EQ(stream(tokenizer, ids), entry["decoded"].get<std::string>()) << entry["ids"];
  }
}

INSTANTIATE_TEST_SUITE_P(, TokenizerCases,
                         testing::Values("unigram_t5", "unigram_bytes", "bert", "bert_cased",
                                         "wordlevel", "llama2", "gemma", "roberta", "llama3",
                                         "clip", "ctc"),
                         [](const auto &info) { return info.param; });

TEST(TokenizerSteps, PreTokenizersEqualHuggingFace) {
  Json data = Json::parse(readFile("steps.json"));
  ASSERT_GT(data["pre_tokenizers"].size(), 50u);
  for (const Json &entry : data["pre_tokenizers"]) {
    PreTokenizer step = PreTokenizer::fromJson(entry["step"], /*takesBytes=*/false);
    for (size_t i = 0; i < data["texts"].size(); ++i) {
      std::string text = data["texts"][i];
      std::vector<std::string> pieces;
      step.split({text, true}, [&](Piece piece) { pieces.emplace_back(piece.text); });
      EXPECT_EQ(pieces, entry["results"][i].get<std::vector<std::string>>())
          << entry["step"].dump() << ": " << data["texts"][i].dump();
    }
  }
}

TEST(TokenizerSteps, NormalizersEqualHuggingFace) {
  Json data = Json::parse(readFile("steps.json"));
  ASSERT_GT(data["normalizers"].size(), 20u);
  for (const Json &entry : data["normalizers"]) {
    Normalizer step = Normalizer::fromJson(entry["step"]);
    for (size_t i = 0; i < data["texts"].size(); ++i)
      EXPECT_EQ(step.apply(data["texts"][i].get<std::string>()),
                entry["results"][i].get<std::string>())
          << entry["step"].dump().substr(0, 200) << ": " << data["texts"][i].dump();
  }
}

TEST(TokenizerSteps, DecodersEqualHuggingFace) {
  Json data = Json::parse(readFile("steps.json"));
  ASSERT_GT(data["decoders"].size(), 15u);
  for (const Json &entry : data["decoders"]) {
    TokenDecoder step = TokenDecoder::fromJson(entry["step"]);
    for (size_t i = 0; i < data["tokens"].size(); ++i) {
      DecoderStream decoder(step);
      std::string text;
      for (const Json &token : data["tokens"][i])
        text += decoder.push(token.get<std::string>());
      text += decoder.finish();
      EXPECT_EQ(text, entry["results"][i].get<std::string>())
          << entry["step"].dump() << ": " << data["tokens"][i].dump();
    }
  }
}

} // namespace
