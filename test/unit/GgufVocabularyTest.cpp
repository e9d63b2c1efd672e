//===- GgufVocabularyTest.cpp - Tests of tokenizerJsonFromGguf ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/GgufPreTokenizers.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/ByteLevel.h"
#include "runtime/Error.h"
#include "runtime/Tokenizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <set>
#include <fstream>

using namespace mlsys::rt;
using Json = nlohmann::json;
using Ids = std::vector<int64_t>;

static Json load(const std::string &path) {
  std::ifstream file(MLSYS_TEST_DATA "/" + path);
  EXPECT_TRUE(file.good()) << path;
  return Json::parse(file);
}

/// What the GGUF file of the same tokenizer holds.
static GgufVocabulary fromTokenizerJson(const Json &root,
                                        const std::string &model) {
  GgufVocabulary result;
  result.model = model;
  const Json &vocabulary = root["model"]["vocab"];
  result.tokens.resize(vocabulary.size());
  result.types.assign(vocabulary.size(), 1);
  for (const auto &[token, id] : vocabulary.items())
    result.tokens.at(id) = token;
  for (const Json &token : root["added_tokens"])
    result.types.at(token["id"]) = token["content"] == "<unk>" ? 2 : 3;
  return result;
}

static GgufVocabulary smollm2() {
  Json root = load("tokenizers/smollm2/tokenizer.json");
  GgufVocabulary result = fromTokenizerJson(root, "gpt2");
  result.pre = "smollm";
  for (const Json &merge : root["model"]["merges"])
    result.merges.push_back(merge[0].get<std::string>() + " " +
                            merge[1].get<std::string>());
  result.bosId = 1;
  result.eosId = 2;
  result.unkId = 0;
  return result;
}

/// A SentencePiece vocabulary whose scores fall with the rank of the first
/// merge that makes a token.
static GgufVocabulary sentencePiece(const std::string &folder) {
  Json root = load(folder + "/tokenizer.json");
  GgufVocabulary result = fromTokenizerJson(root, "llama");
  result.scores.assign(result.tokens.size(), -1e6f);
  float score = 0;
  for (const Json &merge : root["model"]["merges"]) {
    std::string whole =
        merge[0].get<std::string>() + merge[1].get<std::string>();
    float &current = result.scores.at(root["model"]["vocab"][whole]);
    if (current == -1e6f)
      current = score -= 1;
  }
  for (size_t id = 0; id < result.tokens.size(); ++id)
    if (result.tokens[id].starts_with("<0x"))
      result.types[id] = 6;
  result.unkId = 0;
  result.bosId = 1;
  result.eosId = 2;
  result.addBos = true;
  return result;
}

static GgufVocabulary letters() {
  GgufVocabulary result;
  result.model = "llama";
  result.tokens = {"<unk>", "<s>", "</s>",    "\u2581",   "a",
                   "b",     "ab",  "\u2581a", "\u2581ab", "<x>"};
  result.types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 4};
  result.scores = {0, 0, 0, -9, -9, -9, -2, -1, -3, 0};
  result.unkId = 0;
  result.bosId = 1;
  result.eosId = 2;
  return result;
}

static Tokenizer tokenizer(const GgufVocabulary &vocabulary) {
  return Tokenizer::fromJson(tokenizerJsonFromGguf(vocabulary));
}

static std::string failure(const GgufVocabulary &vocabulary) {
  try {
    tokenizerJsonFromGguf(vocabulary);
  } catch (const Error &error) {
    return error.what();
  }
  return "no error";
}

TEST(GgufVocabularyTest, byteLevelEqualsTheTokenizerJson) {
  Tokenizer made = tokenizer(smollm2());
  Json cases = load("tokenizers/smollm2/cases.json");
  ASSERT_EQ(cases["cases"].size(), 32u);
  for (const Json &entry : cases["cases"]) {
    std::string text = entry["text"];
    EXPECT_EQ(made.encode(text), entry["ids"].get<Ids>()) << text;
    EXPECT_EQ(made.decode(made.encode(text), false), text);
  }
  EXPECT_TRUE(made.isSpecial(2));
  EXPECT_FALSE(made.isSpecial(100));
}

TEST(GgufVocabularyTest, sentencePieceEqualsTheTokenizerJson) {
  for (const char *folder : {"models/stories260K", "models/llama"}) {
    Tokenizer made = tokenizer(sentencePiece(folder));
    Json expected = load(std::string(folder) + "/expected.json");
    for (const auto &[text, ids] : expected["encode_cases"].items()) {
      EXPECT_EQ(made.encode(text), ids.get<Ids>()) << folder << ": " << text;
      // The text of a special token decodes to nothing.
      if (text.find("<s>") == std::string::npos)
        EXPECT_EQ(made.decode(made.encode(text), true), text);
    }
  }
}

TEST(GgufVocabularyTest, mergesFollowTheScores) {
  Json root = Json::parse(tokenizerJsonFromGguf(letters()));
  std::vector<std::pair<std::string, std::string>> merges =
      root["model"]["merges"];
  EXPECT_EQ(
      merges,
      (std::vector<std::pair<std::string, std::string>>{
          {"\u2581", "a"}, {"a", "b"}, {"\u2581a", "b"}, {"\u2581", "ab"}}));
}

TEST(GgufVocabularyTest, prefixesAndEndsAreAddedOnRequest) {
  GgufVocabulary vocabulary = letters();
  EXPECT_EQ(tokenizer(vocabulary).encode("ab<x>"), (Ids{8, 9}));
  vocabulary.addSpacePrefix = false;
  EXPECT_EQ(tokenizer(vocabulary).encode("ab a"), (Ids{6, 7}));
  EXPECT_EQ(tokenizer(vocabulary).decode(Ids{7}, false), " a");
  vocabulary.addBos = vocabulary.addEos = true;
  EXPECT_EQ(tokenizer(vocabulary).encode("ab"), (Ids{1, 6, 2}));
  EXPECT_EQ(tokenizer(vocabulary).encode("ab", false), (Ids{6}));
}

/// A byte-level vocabulary of the single bytes and what `merges` makes.
static GgufVocabulary bytes(const std::string &pre,
                            std::vector<std::string> merges) {
  GgufVocabulary result;
  result.model = "gpt2";
  result.pre = pre;
  result.tokens.assign(bytelevel::characters().begin(),
                       bytelevel::characters().end());
  for (const std::string &merge : merges) {
    size_t space = merge.find(' ');
    result.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  result.merges = std::move(merges);
  return result;
}

TEST(GgufVocabularyTest, everyPreTokenizerIsUsable) {
  EXPECT_EQ(std::string(findGgufPreTokenizer("").name), "default");
  std::set<std::string> names;
  for (const GgufPreTokenizer &entry : ggufPreTokenizers()) {
    const char *pre = entry.name;
    EXPECT_TRUE(names.insert(pre).second) << pre;
    Tokenizer made = tokenizer(bytes(pre, {}));
    std::string text = "It's 12345 caf\u00e9s,  and\n\nMORE (x)==y";
    EXPECT_EQ(made.decode(made.encode(text), false), text) << pre;
  }
}

TEST(GgufVocabularyTest, preTokenizersDiffer) {
  // Each merge joins two characters that some patterns keep apart.
  auto joins = [](const char *pre, const char *merge, const char *text) {
    return tokenizer(bytes(pre, {merge})).encode(text).size() == 1;
  };
  EXPECT_TRUE(joins("gpt-2", "1 2", "12"));
  EXPECT_TRUE(joins("llama-bpe", "1 2", "12"));
  EXPECT_FALSE(joins("smollm", "1 2", "12"));
  EXPECT_FALSE(joins("qwen2", "1 2", "12"));
  EXPECT_FALSE(joins("gpt-2", "( a", "(a"));
  EXPECT_TRUE(joins("llama-bpe", "( a", "(a"));
  EXPECT_TRUE(joins("gpt-2", "a B", "aB"));
  EXPECT_FALSE(joins("tekken", "a B", "aB"));
  EXPECT_FALSE(joins("default", "= a", "=a"));
}

TEST(GgufVocabularyTest, refusesWhatDoesNotFit) {
  auto has = [](const GgufVocabulary &vocabulary, const char *part) {
    EXPECT_NE(failure(vocabulary).find(part), std::string::npos)
        << failure(vocabulary);
  };
  GgufVocabulary vocabulary = letters();
  vocabulary.model = "rwkv";
  has(vocabulary, "'rwkv' is not supported; supported are gpt2, llama, gemma4, bert and t5");
  vocabulary.model = "gpt2";
  vocabulary.merges = {"ab"};
  has(vocabulary, "merge 0 is 'ab', expected two tokens");
  vocabulary.merges.clear();
  vocabulary.model = "bert";
  vocabulary.unkId = -1;
  has(vocabulary, "unknown_token_id is missing, which the model 'bert' needs");
  vocabulary.model = "gpt2";
  vocabulary.pre = "martian";
  has(vocabulary, "'martian' is not known; known are default, gpt-2");
  vocabulary = letters();
  vocabulary.scores.clear();
  has(vocabulary, "scores is missing");
  vocabulary.scores = {1, 2};
  has(vocabulary, "scores has 2 entries for 10 tokens");
  vocabulary = letters();
  vocabulary.scores[4] = NAN;
  has(vocabulary, "the score of token 4 is nan");
  vocabulary = letters();
  vocabulary.types.pop_back();
  has(vocabulary, "token_type has 9 entries for 10 tokens");
  vocabulary = letters();
  vocabulary.bosId = 10;
  has(vocabulary, "bos_token_id is 10, but there are 10 tokens");
  vocabulary = letters();
  vocabulary.eosId = -1;
  vocabulary.addEos = true;
  has(vocabulary, "add_eos_token is set, but there is no");
  vocabulary = letters();
  vocabulary.tokens[4] = "\xFF";
  has(vocabulary, "token 4 is not UTF-8");
  vocabulary = letters();
  vocabulary.tokens[4] = std::string(5000, 'a');
  has(vocabulary, "token 4 has 5000 bytes");
  has({}, "tokens is empty");
}
