//===- StopStringsTest.cpp - Ends a text before given strings -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/StopStrings.h"
#include "runtime/Error.h"
#include "runtime/LogProbs.h"
#include "test/support/TempFolder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace mlsys::rt;

namespace {

TEST(StopStrings, HoldsBackWhatMayBeOne) {
  StopStrings stop({"</s>", "\n\n"});
  EXPECT_EQ(stop.push("a<"), "a");
  EXPECT_EQ(stop.push("/"), "");
  EXPECT_EQ(stop.push("b\n"), "</b");
  EXPECT_EQ(stop.push("c"), "\nc");
  EXPECT_EQ(stop.push("d</s"), "d");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push(">e"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("f"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, GivesBackAtTheEnd) {
  StopStrings stop({"abc"});
  EXPECT_EQ(stop.push("xab"), "x");
  EXPECT_EQ(stop.finish(), "ab");
  EXPECT_EQ(stop.finish(), "");
  StopStrings none({});
  EXPECT_EQ(none.push("xyz"), "xyz");
}

TEST(StopStrings, OverlapsWithItself) {
  StopStrings stop({"aab"});
  EXPECT_EQ(stop.push("aaa"), "a");
  EXPECT_EQ(stop.push("b"), "");
  EXPECT_TRUE(stop.stopped());
}

TEST(StopStrings, RefusesEmptyOnes) {
  EXPECT_ERROR(StopStrings({"a", ""}), "a stop string is empty");
}

/// However a text is cut, what comes out is what a search of the whole finds.
TEST(StopStrings, CutsMakeNoDifference) {
  std::mt19937 random(1);
  auto word = [&](size_t most) {
    std::string result;
    for (size_t length = 1 + random() % most; result.size() < length;)
      result += random() % 5 ? std::string(1, char('a' + random() % 2)) : "\u00e9";
    return result;
  };
  int found = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> strings;
    for (size_t count = 1 + random() % 3; strings.size() < count;)
      strings.push_back(word(5));
    std::string text = word(24), expected = text;
    bool stops = false;
    // The first end, and of those that end there the longest.
    for (size_t end = 1; end <= text.size() && !stops; ++end)
      for (const std::string &string : strings)
        if (std::string_view(text).substr(0, end).ends_with(string)) {
          if (!stops || end - string.size() < expected.size())
            expected = text.substr(0, end - string.size());
          stops = true;
        }
    StopStrings stop(strings);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      size_t length = 1 + random() % 4;
      shown += stop.push(std::string_view(text).substr(at, length));
      at += length;
    }
    shown += stop.finish();
    EXPECT_EQ(shown, expected);
    EXPECT_EQ(stop.stopped(), stops);
    found += stops;
  }
  EXPECT_GT(found, 500);
}

TEST(LogProbs, AreOfTheSoftmax) {
  std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f), std::log(2.0f)};
  TokenLogProbs result = logProbs(logits, 0, 3);
  EXPECT_EQ(result.id, 0);
  EXPECT_NEAR(result.logProb, std::log(0.1), 1e-7);
  ASSERT_EQ(result.best.size(), 3u);
  EXPECT_EQ(result.best[0].first, 2);
  EXPECT_NEAR(result.best[0].second, std::log(0.5), 1e-7);
  EXPECT_EQ(result.best[1].first, 1);
  EXPECT_EQ(result.best[2].first, 3);
  EXPECT_NEAR(result.best[2].second, std::log(0.2), 1e-7);
  EXPECT_EQ(logProbs(logits, 1, 0).best.size(), 0u);
  EXPECT_EQ(logProbs(logits, 1, 100).best.size(), 4u);
}

} // namespace
