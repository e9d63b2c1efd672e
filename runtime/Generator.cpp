//===- Generator.cpp - From prompt ids to generated ids ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Generator.h"

#include "runtime/Error.h"

#include <algorithm>
#include <bit>
#include <chrono>

using namespace mlsys;
using namespace mlsys::rt;

std::string_view rt::stopReasonText(StopReason reason) {
  switch (reason) {
  case StopReason::Length:
    return "token limit";
  case StopReason::StopId:
    return "stop token";
  case StopReason::StopText:
    return "stop string";
  case StopReason::Context:
    return "end of context";
  case StopReason::Cancelled:
    return "cancelled";
  }
  return "";
}

Sequence::Sequence(LanguageModel &model, KvCache &cache)
    : model(model), cache(cache), sequence(cache.addSequence()) {
  if (!model.bidirectional())
    return;
  cache.removeSequence(sequence);
  throw Error("the model is an encoder: it makes embeddings of texts and cannot write any");
}

Sequence::~Sequence() { cache.removeSequence(sequence); }

std::span<const float> Sequence::push(std::span<const int64_t> ids) {
  // What the first new token does not see is not read again.
  if (model.window() > 0)
    cache.release(sequence, firstSeen(tokens));
  std::vector<int32_t> fresh = cache.grow(sequence, tokens + int64_t(ids.size()));
  if (!fresh.empty())
    model.zeroPages(fresh);
  positions.clear();
  slots.clear();
  for (size_t i = 0; i < ids.size(); ++i) {
    positions.push_back(int32_t(tokens + int64_t(i)));
    slots.push_back(cache.slot(sequence, tokens + int64_t(i)));
  }
  std::span<const int32_t> pages = cache.pages(sequence);
  // Few different table widths let the executor reuse its launch lists.
  int64_t widest = (model.contextLength() + model.pageSize() - 1) / model.pageSize();
  size_t width = std::max(pages.size(), std::min(std::bit_ceil(pages.size()), size_t(widest)));
  blockTable.assign(width, pages.back());
  std::copy_if(pages.begin(), pages.end(), blockTable.begin() + cache.firstKept(sequence) / cache.pageSize(),
               [](int32_t page) { return page >= 0; });
  tokens += int64_t(ids.size());
  int32_t queryStart[] = {0, int32_t(ids.size())};
  int32_t contextLength[] = {int32_t(tokens)};
  StepBatch batch;
  batch.ids = ids;
  batch.positions = positions;
  batch.slots = slots;
  batch.queryStart = queryStart;
  batch.contextLength = contextLength;
  batch.blockTable = blockTable;
  batch.maxPages = int64_t(width);
  size_t columns = size_t(model.vocabSize());
  logits.resize(size_t(model.rows(batch.tokens(), 1)) * columns);
  model.step(batch, logits);
  return std::span(logits).last(columns);
}

int64_t Sequence::truncate(int64_t count) {
  if (firstSeen(count) < cache.firstKept(sequence))
    count = 0;
  cache.truncate(sequence, count);
  return tokens = count;
}

/// The first position that the token at `position` sees.
int64_t Sequence::firstSeen(int64_t position) const {
  int64_t window = model.window();
  return window > 0 ? position + 1 - std::min(position + 1, window) : 0;
}

static void checkPrompt(const LanguageModel &model, std::span<const int64_t> prompt) {
  if (prompt.empty())
    throw Error("the prompt is empty");
  for (int64_t id : prompt)
    if (id < 0 || id >= model.idLimit())
      throw Error("token id {} of the prompt is not in the vocabulary of {}", id,
                  model.idLimit());
  if (int64_t(prompt.size()) > model.contextLength())
    throw Error("the prompt has {} tokens, more than the context of {}; shorten it or use a larger --ctx-size",
                prompt.size(), model.contextLength());
}

static double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Conversation::Conversation(LanguageModel &model)
    : model(model), cache(model.pageSize(), model.pageCount()), sequence(model, cache) {}

void Conversation::reset() {
  sequence.truncate(0);
  cached.clear();
}

/// Runs `ids`. When that fails, the cache holds what it held before.
std::span<const float> Conversation::push(std::span<const int64_t> ids) {
  try {
    std::span<const float> logits = sequence.push(ids);
    cached.insert(cached.end(), ids.begin(), ids.end());
    return logits;
  } catch (...) {
    cached.resize(size_t(sequence.truncate(int64_t(cached.size()))));
    throw;
  }
}

Generation Conversation::generate(std::span<const int64_t> prompt, const GenerationLimits &limits,
                                  const SampleFunction &sample, const TokenFunction &onToken) {
  checkPrompt(model, prompt);
  Generation result;
  result.promptTokens = int64_t(prompt.size());
  if (limits.maxTokens == 0)
    return result;

  // The last token runs in any case, for its logits.
  size_t kept = size_t(
      std::mismatch(cached.begin(), cached.end(), prompt.begin(), prompt.end() - 1).first -
      cached.begin());
  kept = size_t(sequence.truncate(int64_t(kept)));
  cached.resize(kept);
  result.cachedTokens = int64_t(kept);

  auto start = std::chrono::steady_clock::now();
  int64_t chunk = limits.chunk > 0 ? limits.chunk : model.preferredChunk();
  chunk = std::clamp<int64_t>(chunk, 1, model.maxStepTokens());
  std::span<const float> logits;
  for (size_t done = kept; done < prompt.size(); done += size_t(chunk)) {
    if (cancelled(limits)) {
      result.reason = StopReason::Cancelled;
      return result;
    }
    logits = push(prompt.subspan(done, std::min(size_t(chunk), prompt.size() - done)));
  }
  result.promptSeconds = secondsSince(start);

  start = std::chrono::steady_clock::now();
  while (true) {
    int64_t id = sample(logits);
    if (std::find(limits.stopIds.begin(), limits.stopIds.end(), id) != limits.stopIds.end()) {
      result.reason = StopReason::StopId;
      break;
    }
    result.ids.push_back(id);
    if (onToken(id) == Next::Stop) {
      result.reason = StopReason::StopText;
      break;
    }
    if (limits.maxTokens >= 0 && int64_t(result.ids.size()) >= limits.maxTokens) {
      result.reason = StopReason::Length;
      break;
    }
    if (sequence.size() >= model.contextLength()) {
      result.reason = StopReason::Context;
      break;
    }
    if (cancelled(limits)) {
      result.reason = StopReason::Cancelled;
      break;
    }
    logits = push(std::span(&id, 1));
    ++result.decodeSteps;
  }
  result.decodeSeconds = secondsSince(start);
  return result;
}

Generation rt::generate(LanguageModel &model, std::span<const int64_t> prompt,
                        const GenerationLimits &limits, const SampleFunction &sample,
                        const std::function<void(int64_t)> &onToken) {
  return Conversation(model).generate(prompt, limits, sample, [&](int64_t id) {
    onToken(id);
    return Next::Continue;
  });
}
