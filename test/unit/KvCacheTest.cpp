//===- KvCacheTest.cpp - Which pages hold which tokens ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/KvCache.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

using namespace mlsys::rt;

namespace {

TEST(KvCache, GrowsByPages) {
  KvCache cache(4, 3);
  int64_t sequence = cache.addSequence();
  EXPECT_EQ(cache.grow(sequence, 0), std::vector<int32_t>{});
  EXPECT_EQ(cache.grow(sequence, 1), std::vector<int32_t>{0});
  EXPECT_EQ(cache.grow(sequence, 4), std::vector<int32_t>{});
  EXPECT_EQ(cache.grow(sequence, 9), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(cache.freePages(), 0);
  EXPECT_EQ(cache.slot(sequence, 6), 6);
  EXPECT_EQ(cache.pages(sequence).size(), 3u);
  EXPECT_THROW(cache.slot(sequence, 12), Error);
  EXPECT_THROW(cache.slot(sequence, -1), Error);
}

TEST(KvCache, TruncatesToWholePages) {
  KvCache cache(4, 5);
  int64_t a = cache.addSequence(), b = cache.addSequence();
  cache.grow(a, 12);
  cache.grow(b, 4);
  cache.truncate(a, 12);
  EXPECT_EQ(cache.freePages(), 1);
  cache.truncate(a, 5);
  EXPECT_EQ(cache.pages(a).size(), 2u);
  EXPECT_EQ(cache.slot(a, 5), cache.pages(a)[1] * 4 + 1);
  EXPECT_EQ(cache.freePages(), 2);
  // Pages that come back are new to the sequence, and have to be zeroed again.
  EXPECT_EQ(cache.grow(a, 9).size(), 1u);
  cache.truncate(a, 0);
  EXPECT_EQ(cache.pages(a).size(), 0u);
  EXPECT_EQ(cache.pages(b).size(), 1u);
  EXPECT_EQ(cache.freePages(), 4);
  EXPECT_THROW(cache.truncate(7, 0), Error);
}

TEST(KvCache, SaysWhenItIsFullAndChangesNothing) {
  KvCache cache(4, 2);
  int64_t a = cache.addSequence(), b = cache.addSequence();
  cache.grow(a, 4);
  try {
    cache.grow(b, 5);
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "the KV cache is full: 5 tokens need 2 more pages of 4 tokens, and "
                               "1 of 2 are free; use a larger --ctx-size");
  }
  EXPECT_EQ(cache.freePages(), 1);
  cache.removeSequence(a);
  EXPECT_EQ(cache.grow(b, 5).size(), 2u);
  EXPECT_EQ(cache.slot(b, 4), cache.pages(b)[1] * 4);
}

TEST(KvCache, ReleasesPagesBeforeAPosition) {
  KvCache cache(4, 4);
  int64_t sequence = cache.addSequence();
  cache.grow(sequence, 14);
  EXPECT_EQ(cache.firstKept(sequence), 0);
  cache.release(sequence, 7);
  EXPECT_EQ(cache.freePages(), 1);
  EXPECT_EQ(cache.firstKept(sequence), 4);
  EXPECT_EQ(std::vector<int32_t>(cache.pages(sequence).begin(), cache.pages(sequence).end()),
            (std::vector<int32_t>{-1, 1, 2, 3}));
  EXPECT_THROW(cache.slot(sequence, 3), Error);
  EXPECT_EQ(cache.slot(sequence, 4), 4);
  // Again, less, and on to the next page, which is the one that was released.
  cache.release(sequence, 7);
  cache.release(sequence, 2);
  cache.release(sequence, -5);
  EXPECT_EQ(cache.freePages(), 1);
  EXPECT_EQ(cache.grow(sequence, 17), std::vector<int32_t>{0});
  EXPECT_EQ(cache.slot(sequence, 16), 0);
  cache.release(sequence, 1000);
  EXPECT_EQ(cache.freePages(), 4);
  EXPECT_EQ(cache.firstKept(sequence), 20);
  cache.removeSequence(sequence);
  EXPECT_EQ(cache.freePages(), 4);
}

TEST(KvCache, RefusesUnknownSequencesAndSizes) {
  KvCache cache(4, 2);
  EXPECT_THROW(cache.grow(0, 1), Error);
  EXPECT_THROW(cache.removeSequence(7), Error);
  EXPECT_THROW(KvCache(0, 1), Error);
  EXPECT_THROW(KvCache(1, 0), Error);
}

TEST(KvCache, NeverSharesAPage) {
  KvCache cache(2, 20);
  std::mt19937 random(3);
  std::map<int64_t, int64_t> lengths;
  for (int i = 0; i < 2000; ++i) {
    if (lengths.empty() || random() % 4 == 0) {
      lengths[cache.addSequence()] = 0;
    } else {
      auto chosen = std::next(lengths.begin(), random() % lengths.size());
      if (random() % 5 == 0) {
        cache.removeSequence(chosen->first);
        lengths.erase(chosen);
      } else {
        try {
          cache.grow(chosen->first, chosen->second + random() % 4);
        } catch (const Error &) {
          continue;
        }
      }
    }
    std::set<int32_t> used;
    int64_t count = 0;
    for (auto [sequence, length] : lengths) {
      count += int64_t(cache.pages(sequence).size());
      used.insert(cache.pages(sequence).begin(), cache.pages(sequence).end());
    }
    EXPECT_EQ(int64_t(used.size()), count);
    EXPECT_EQ(count + cache.freePages(), 20);
  }
}

} // namespace
