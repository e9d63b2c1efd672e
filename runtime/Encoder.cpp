//===- Encoder.cpp - From token ids to rows of numbers ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Encoder.h"

#include "runtime/Error.h"

#include <algorithm>

using namespace mlsys;
using namespace mlsys::rt;

static void checkInput(const LanguageModel &model, const EncoderInput &input, size_t number) {
  int64_t tokens = int64_t(input.ids.size());
  if (tokens == 0)
    throw Error("text {} has no tokens", number);
  if (!input.tokenTypes.empty() && input.tokenTypes.size() != input.ids.size())
    throw Error("text {} has {} tokens but {} token types", number, tokens, input.tokenTypes.size());
  int64_t limit = model.contextLength();
  if (model.bidirectional())
    limit = std::min(limit, model.maxStepTokens());
  if (tokens > limit)
    throw Error("text {} has {} tokens, more than the {} that the model takes; shorten it", number,
                tokens, limit);
  for (int64_t id : input.ids)
    if (id < 0 || id >= model.idLimit())
      throw Error("token id {} of text {} is not in the vocabulary of {}", id, number,
                  model.idLimit());
}

namespace {

/// Sequences of the cache that go through the model in the same steps.
class Group {
public:
  Group(LanguageModel &model, KvCache &cache) : model(model), cache(cache) {}
  ~Group() {
    for (int64_t sequence : sequences)
      cache.removeSequence(sequence);
  }
  Group(const Group &) = delete;
  Group &operator=(const Group &) = delete;

  /// Whether one step can take this sequence, too; the first one always fits.
  bool fits(const EncoderInput &input) const {
    int64_t more = int64_t(input.ids.size());
    return inputs.empty() ||
           (tokens + more <= model.maxStepTokens() && pagesOf(more) <= cache.freePages());
  }

  void add(const EncoderInput &input) {
    sequences.push_back(cache.addSequence());
    inputs.push_back(input);
    tokens += int64_t(input.ids.size());
    if (model.window() == 0)
      grow(sequences.back(), int64_t(input.ids.size()));
    else
      windowed = true;
  }

  /// Appends the rows.
  void run(std::vector<float> &rows) {
    if (!windowed && tokens <= model.maxStepTokens()) {
      for (size_t i = 0; i < inputs.size(); ++i)
        append(i, 0, int64_t(inputs[i].ids.size()));
      step(rows);
      return;
    }
    // One long sequence, in parts, or sequences whose pages are freed on the way.
    for (size_t i = 0; i < inputs.size(); ++i)
      runParts(i, rows);
  }

private:
  int64_t pagesOf(int64_t count) const {
    return (count + cache.pageSize() - 1) / cache.pageSize();
  }

  void grow(int64_t sequence, int64_t count) {
    std::vector<int32_t> fresh = cache.grow(sequence, count);
    if (!fresh.empty())
      model.zeroPages(fresh);
  }

  void runParts(size_t index, std::vector<float> &rows) {
    int64_t count = int64_t(inputs[index].ids.size()), chunk = model.preferredChunk();
    if (model.bidirectional())
      chunk = count;
    for (int64_t done = 0; done < count; done += chunk) {
      int64_t end = std::min(count, done + chunk);
      if (windowed && done > 0)
        cache.release(sequences[index], done + 1 - std::min(done + 1, model.window()));
      grow(sequences[index], end);
      size_t before = rows.size();
      append(index, done, end);
      step(rows);
      if (!model.perToken() && end < count)
        rows.resize(before);
    }
    cache.release(sequences[index], count + cache.pageSize());
  }

  /// Adds tokens [begin, end) of a sequence to the step.
  void append(size_t index, int64_t begin, int64_t end) {
    const EncoderInput &input = inputs[index];
    for (int64_t position = begin; position < end; ++position) {
      ids.push_back(input.ids[size_t(position)]);
      tokenTypes.push_back(input.tokenTypes.empty() ? 0 : input.tokenTypes[size_t(position)]);
      positions.push_back(int32_t(position));
      slots.push_back(cache.slot(sequences[index], position));
    }
    queryStart.push_back(int32_t(ids.size()));
    contextLength.push_back(int32_t(end));
    tables.push_back(cache.pages(sequences[index]));
  }

  /// Runs what was appended.
  void step(std::vector<float> &rows) {
    size_t width = 0;
    for (std::span<const int32_t> table : tables)
      width = std::max(width, table.size());
    std::vector<int32_t> blockTable;
    for (std::span<const int32_t> table : tables) {
      for (int32_t page : table)
        blockTable.push_back(page >= 0 ? page : table.back());
      blockTable.resize(blockTable.size() + width - table.size(), table.back());
    }
    StepBatch batch;
    batch.ids = ids;
    batch.positions = positions;
    batch.slots = slots;
    batch.queryStart = queryStart;
    batch.contextLength = contextLength;
    batch.blockTable = blockTable;
    batch.maxPages = int64_t(width);
    batch.tokenTypes = tokenTypes;
    size_t before = rows.size();
    rows.resize(before + size_t(model.rows(batch.tokens(), batch.requests())) *
                             size_t(model.vocabSize()));
    model.step(batch, std::span(rows).subspan(before));
    ids.clear();
    tokenTypes.clear();
    positions.clear();
    slots.clear();
    queryStart.assign(1, 0);
    contextLength.clear();
    tables.clear();
  }

  LanguageModel &model;
  KvCache &cache;
  std::vector<EncoderInput> inputs;
  std::vector<int64_t> sequences;
  int64_t tokens = 0;
  bool windowed = false;
  // The step that is being put together.
  std::vector<int64_t> ids, tokenTypes, slots;
  std::vector<int32_t> positions, queryStart{0}, contextLength;
  std::vector<std::span<const int32_t>> tables;
};

} // namespace

std::vector<float> rt::encode(LanguageModel &model, KvCache &cache,
                              std::span<const EncoderInput> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    checkInput(model, inputs[i], i + 1);
  std::vector<float> rows;
  for (size_t next = 0; next < inputs.size();) {
    Group group(model, cache);
    while (next < inputs.size() && group.fits(inputs[next]))
      group.add(inputs[next++]);
    group.run(rows);
  }
  return rows;
}
