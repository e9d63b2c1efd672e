//===- EncoderTest.cpp - Whole sequences, and windows of them ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Over a model that keeps in its pages what tokens it was given, and gives sums of
// what each token sees.
//
//===----------------------------------------------------------------------===//
#include "runtime/Encoder.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace mlsys::rt;

namespace {

/// Rows of two numbers: the sum of (id + 100 * type) over the tokens that a token sees, and
/// its position.
class SumModel : public LanguageModel {
public:
  bool encoder = false, everyToken = false;
  int64_t seen = 0, pages = 8;
  /// Numbers of requests of the steps so far.
  std::vector<int64_t> steps;

  int64_t contextLength() const override { return 24; }
  int64_t vocabSize() const override { return 2; }
  int64_t idLimit() const override { return 50; }
  int64_t pageSize() const override { return 4; }
  int64_t pageCount() const override { return pages; }
  int64_t maxStepTokens() const override { return 12; }
  int64_t preferredChunk() const override { return 5; }
  bool bidirectional() const override { return encoder; }
  bool perToken() const override { return everyToken; }
  int64_t window() const override { return seen; }

  void zeroPages(std::span<const int32_t> fresh) override {
    memory.resize(size_t(pages * pageSize()));
    for (int32_t page : fresh)
      std::fill_n(memory.begin() + page * pageSize(), pageSize(), 0);
  }

  void step(const StepBatch &batch, std::span<float> logits) override {
    ASSERT_LE(batch.tokens(), maxStepTokens());
    ASSERT_EQ(int64_t(logits.size()), 2 * rows(batch.tokens(), batch.requests()));
    steps.push_back(batch.requests());
    for (size_t t = 0; t < batch.ids.size(); ++t)
      memory.at(size_t(batch.slots[t])) =
          batch.ids[t] + (batch.tokenTypes.empty() ? 0 : 100 * batch.tokenTypes[t]);
    size_t row = 0;
    for (size_t r = 0; r < batch.contextLength.size(); ++r) {
      int32_t begin = batch.queryStart[r], end = batch.queryStart[r + 1];
      if (encoder) {
        ASSERT_EQ(end - begin, batch.contextLength[r]) << "a part of a request";
      }
      for (int32_t t = everyToken ? begin : end - 1; t < end; ++t, ++row) {
        int64_t position = batch.positions[size_t(t)];
        int64_t last = encoder ? batch.contextLength[r] : position + 1;
        int64_t sum = 0;
        for (int64_t at = seen > 0 ? std::max<int64_t>(0, last - seen) : 0; at < last; ++at) {
          int32_t page = batch.blockTable[r * size_t(batch.maxPages) + size_t(at / pageSize())];
          sum += memory.at(size_t(page * pageSize() + at % pageSize()));
        }
        logits[2 * row] = float(sum);
        logits[2 * row + 1] = float(position);
      }
    }
  }

private:
  std::vector<int64_t> memory;
};

std::vector<float> run(SumModel &model, const std::vector<EncoderInput> &inputs) {
  KvCache cache(model.pageSize(), model.pageCount());
  std::vector<float> rows = encode(model, cache, inputs);
  EXPECT_EQ(cache.freePages(), model.pageCount()) << "pages are left in use";
  return rows;
}

std::string problem(SumModel &model, const std::vector<EncoderInput> &inputs) {
  try {
    run(model, inputs);
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

const std::vector<int64_t> three = {1, 2, 3}, one = {7}, five = {1, 1, 1, 1, 1}, types = {0, 1, 1};

TEST(Encoder, PacksWholeRequestsIntoSteps) {
  SumModel model;
  model.encoder = model.everyToken = true;
  EXPECT_EQ(run(model, {{three, types}, {one}, {five}, {five}, {three}}),
            (std::vector<float>{206, 0, 206, 1, 206, 2, 7, 0, 5, 0, 5, 1, 5, 2, 5, 3, 5, 4,
                                5, 0, 5, 1, 5, 2, 5, 3, 5, 4, 6, 0, 6, 1, 6, 2}));
  // Twelve tokens are the most for a step.
  EXPECT_EQ(model.steps, (std::vector<int64_t>{3, 2}));
  // So are the pages that there are.
  model.pages = 3;
  model.steps.clear();
  run(model, {{one}, {one}, {one}, {one}});
  EXPECT_EQ(model.steps, (std::vector<int64_t>{3, 1}));
  EXPECT_TRUE(run(model, {}).empty());
}

TEST(Encoder, GivesTheLastRowsOfOtherModels) {
  SumModel model;
  std::vector<int64_t> longest(24);
  std::iota(longest.begin(), longest.end(), 0);
  EXPECT_EQ(run(model, {{longest}, {three}}), (std::vector<float>{276, 23, 6, 2}));
  model.everyToken = true;
  EXPECT_EQ(run(model, {{longest}}).size(), 48u);
}

TEST(Encoder, FreesPagesBeforeTheWindow) {
  SumModel model;
  model.seen = 3;
  // Far fewer pages than the 24 tokens need.
  model.pages = 4;
  std::vector<int64_t> longest(24, 1);
  EXPECT_EQ(run(model, {{longest}, {three}}), (std::vector<float>{3, 23, 6, 2}));
}

TEST(Encoder, SaysWhatIsWrong) {
  SumModel model;
  model.encoder = true;
  std::vector<int64_t> many(13), wrong = {50}, negative = {-1};
  EXPECT_EQ(problem(model, {{one}, {{}}}), "text 2 has no tokens");
  EXPECT_EQ(problem(model, {{many}}), "text 1 has 13 tokens, more than the 12 that the model takes; shorten it");
  EXPECT_EQ(problem(model, {{wrong}}), "token id 50 of text 1 is not in the vocabulary of 50");
  EXPECT_EQ(problem(model, {{negative}}), "token id -1 of text 1 is not in the vocabulary of 50");
  EXPECT_EQ(problem(model, {{one, types}}), "text 1 has 1 tokens but 3 token types");
  KvCache cache(4, 8);
  try {
    Sequence sequence(model, cache);
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "the model is an encoder: it makes embeddings of texts and cannot write any");
  }
}

TEST(Sequence, FreesPagesBeforeTheWindow) {
  SumModel model;
  model.seen = 6;
  KvCache cache(4, 8);
  Sequence sequence(model, cache);
  std::vector<int64_t> ids(24, 1);
  for (int64_t position = 0; position < 24; ++position) {
    std::span<const float> row = sequence.push(std::span(ids).subspan(size_t(position), 1));
    EXPECT_EQ(row[0], float(std::min<int64_t>(position + 1, 6)));
    EXPECT_EQ(row[1], float(position));
    EXPECT_GE(cache.freePages(), 5) << position;
  }
  // The token at 23 sees positions 18 to 23; the page of 16 to 19 is still there, that of 15 is not.
  EXPECT_EQ(sequence.truncate(22), 22);
  EXPECT_EQ(sequence.push(std::span(ids).first(1))[0], 6);
  EXPECT_EQ(sequence.truncate(20), 0);
  EXPECT_EQ(cache.freePages(), 8);
  EXPECT_EQ(sequence.push(std::span(ids).first(2))[0], 2);
}

TEST(Sequence, GivesTheLastRowOfModelsWithRowsForEveryToken) {
  SumModel model;
  model.everyToken = true;
  KvCache cache(4, 8);
  Sequence sequence(model, cache);
  std::span<const float> row = sequence.push(three);
  EXPECT_EQ(row.size(), 2u);
  EXPECT_EQ(row[0], 6);
}

} // namespace
