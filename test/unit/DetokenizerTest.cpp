//===- DetokenizerTest.cpp - Tests of Detokenizer -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Detokenizer.h"
#include "runtime/Utf8.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

using namespace mlsys::rt;

static Tokenizer load(const std::string &name) {
  std::ifstream file(MLSYS_TEST_DATA "/" + name + "/tokenizer.json");
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return Tokenizer::fromJson(text.str());
}

/// Streams `ids`, expects whole characters only, and returns all text.
static std::string stream(const Tokenizer &tokenizer,
                          const std::vector<int64_t> &ids, bool skipSpecial) {
  Detokenizer detokenizer(tokenizer, skipSpecial);
  std::string text;
  for (int64_t id : ids) {
    std::string part = detokenizer.push(id);
    EXPECT_TRUE(isValidUtf8(part));
    text += part;
  }
  return text += detokenizer.finish();
}

TEST(DetokenizerTest, neverSplitsACharacter) {
  Tokenizer tokenizer = load("tokenizers/smollm2");
  std::vector<int64_t> ids = tokenizer.encode("a\U0001F600b");
  ASSERT_GT(ids.size(), 3u);
  Detokenizer detokenizer(tokenizer, false);
  std::vector<std::string> parts;
  for (int64_t id : ids)
    if (std::string part = detokenizer.push(id); !part.empty())
      parts.push_back(part);
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "\U0001F600", "b"}));
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(DetokenizerTest, textComesWithItsToken) {
  Tokenizer tokenizer = load("models/stories260K");
  Detokenizer detokenizer(tokenizer, true);
  std::string text;
  for (int64_t id : tokenizer.encode("Once upon")) {
    text += detokenizer.push(id);
    EXPECT_EQ(text, std::string("Once upon").substr(0, text.size()));
  }
  EXPECT_EQ(text, "Once upon");
}

TEST(DetokenizerTest, byteRunsWaitForTheirEnd) {
  Tokenizer tokenizer = load("models/llama");
  int64_t first = *tokenizer.tokenId("<0xC3>"),
          second = *tokenizer.tokenId("<0xA8>");
  int64_t letter = *tokenizer.tokenId("t");
  Detokenizer detokenizer(tokenizer, true);
  EXPECT_EQ(detokenizer.push(first), "");
  EXPECT_EQ(detokenizer.push(second), "");
  EXPECT_EQ(detokenizer.push(letter), "\u00e8t");
  // One bad byte spoils its run, as in Hugging Face's library.
  EXPECT_EQ(stream(tokenizer, {first, second, first, letter}, true),
            "\uFFFD\uFFFD\uFFFDt");
}

TEST(DetokenizerTest, unfinishedCharactersAreRepairedAtTheEnd) {
  Tokenizer tokenizer = load("tokenizers/smollm2");
  std::vector<int64_t> ids = tokenizer.encode("\U0001F600");
  ids.pop_back();
  Detokenizer detokenizer(tokenizer, false);
  for (int64_t id : ids)
    EXPECT_EQ(detokenizer.push(id), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  // A new sequence starts clean.
  EXPECT_EQ(detokenizer.push(tokenizer.encode("a")[0]), "a");
}

TEST(DetokenizerTest, equalsDecodeOnRandomIds) {
  std::mt19937 random(1);
  for (const char *name : {"tokenizers/smollm2", "models/llama",
                           "models/llama3_rope", "models/stories260K"}) {
    Tokenizer tokenizer = load(name);
    for (int round = 0; round < 300; ++round) {
      std::vector<int64_t> ids(random() % 40);
      for (int64_t &id : ids)
        id = static_cast<int64_t>(random() % (tokenizer.vocabSize() + 2)) - 1;
      // Byte tokens come early in every vocabulary.
      if (round % 2)
        for (int64_t &id : ids)
          id %= 300;
      bool skip = round % 3 == 0;
      ASSERT_EQ(stream(tokenizer, ids, skip), tokenizer.decode(ids, skip))
          << name;
    }
  }
}
