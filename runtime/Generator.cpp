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
#include <optional>
#include <utility>

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

/// Has pages for `total` tokens, and frees those that no token from `seenFrom` on sees.
void Sequence::makeRoom(int64_t seenFrom, int64_t total) {
  if (model.window() > 0)
    cache.release(sequence, firstSeen(seenFrom));
  std::vector<int32_t> fresh = cache.grow(sequence, total);
  if (!fresh.empty())
    model.zeroPages(fresh);
}

/// Few different table widths let the executor reuse its launch lists.
size_t Sequence::tableWidth(size_t pages) const {
  int64_t widest = (model.contextLength() + model.pageSize() - 1) / model.pageSize();
  return std::max(pages, std::min(std::bit_ceil(pages), size_t(widest)));
}

void Sequence::fillTable() {
  std::span<const int32_t> pages = cache.pages(sequence);
  blockTable.assign(tableWidth(pages.size()), pages.back());
  std::copy_if(pages.begin(), pages.end(), blockTable.begin() + cache.firstKept(sequence) / cache.pageSize(),
               [](int32_t page) { return page >= 0; });
}

std::span<const float> Sequence::push(std::span<const int64_t> ids) {
  makeRoom(tokens, tokens + int64_t(ids.size()));
  positions.clear();
  slots.clear();
  for (size_t i = 0; i < ids.size(); ++i) {
    positions.push_back(int32_t(tokens + int64_t(i)));
    slots.push_back(cache.slot(sequence, tokens + int64_t(i)));
  }
  fillTable();
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
  batch.maxPages = int64_t(blockTable.size());
  size_t columns = size_t(model.vocabSize());
  logits.resize(size_t(model.rows(batch.tokens(), 1)) * columns);
  model.step(batch, logits);
  return std::span(logits).last(columns);
}

void Sequence::expectLoop(int64_t count) {
  // As startLoop makes room.
  int64_t total = std::min(tokens + count + 2, model.contextLength());
  model.expectDecode(1, int64_t(tableWidth(size_t((total + model.pageSize() - 1) / model.pageSize()))));
}

bool Sequence::startLoop(int64_t id, const DeviceSampling &how) {
  // The step places its successor, too.
  makeRoom(tokens, std::min(tokens + 2, model.contextLength()));
  fillTable();
  int32_t position[] = {int32_t(tokens)}, queryStart[] = {0, 1}, contextLength[] = {int32_t(tokens + 1)};
  int64_t slot[] = {cache.slot(sequence, tokens)};
  StepBatch batch;
  batch.ids = std::span(&id, 1);
  batch.positions = position;
  batch.slots = slot;
  batch.queryStart = queryStart;
  batch.contextLength = contextLength;
  batch.blockTable = loopTable = blockTable;
  batch.maxPages = int64_t(blockTable.size());
  loop = model.decode(batch, std::span(&how, 1));
  tokens += loop ? 1 : 0;
  return loop != nullptr;
}

void Sequence::startStep() {
  // Tokens of steps that have begun may be taken back, and with them what they see.
  makeRoom(std::max<int64_t>(0, tokens - stepsAhead), std::min(tokens + 2, model.contextLength()));
  fillTable();
  bool isKnown = blockTable == loopTable;
  if (!isKnown)
    loopTable = blockTable;
  loop->start(isKnown ? std::span<const int32_t>() : loopTable, int64_t(loopTable.size()));
  ++tokens;
}

int64_t Sequence::finishStep() {
  int64_t id;
  loop->finish(std::span(&id, 1));
  return id;
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
    size_t count = std::min(size_t(chunk), prompt.size() - done);
    if (done + count == prompt.size() && limits.maxTokens != 1 && limits.sampler && limits.sampler->forDevice())
      sequence.expectLoop(int64_t(count));
    logits = push(prompt.subspan(done, count));
  }
  result.promptSeconds = secondsSince(start);

  try {
    return decode(std::move(result), logits, limits, sample, onToken);
  } catch (...) {
    // The cache holds what the steps before have put there.
    sequence.endLoop();
    cached.resize(size_t(sequence.truncate(int64_t(cached.size()))));
    throw;
  }
}

/// Generates from the logits after the prompt.
Generation Conversation::decode(Generation result, std::span<const float> logits, const GenerationLimits &limits,
                                const SampleFunction &sample, const TokenFunction &onToken) {
  auto start = std::chrono::steady_clock::now();
  std::optional<DeviceSampling> onDevice = limits.sampler ? limits.sampler->forDevice() : std::nullopt;
  bool mayLoop = onDevice.has_value(), loops = false;
  /// Steps of the loop that the host has not waited for.
  int64_t underWay = 0;
  /// The id that follows `id`.
  auto follow = [&](int64_t id) {
    ++result.decodeSteps;
    if (std::exchange(mayLoop, false)) {
      onDevice = limits.sampler->forDevice();
      loops = sequence.startLoop(id, *onDevice);
      underWay = 1;
    }
    if (!loops)
      return sample(push(std::span(&id, 1)));
    // The next step begins before the host knows its token.
    while (underWay < stepsAhead && sequence.size() < model.contextLength() &&
           (underWay == 0 || !cancelled(limits)) &&
           (limits.maxTokens < 0 || int64_t(result.ids.size()) + underWay < limits.maxTokens)) {
      sequence.startStep();
      ++underWay;
    }
    --underWay;
    int64_t next = sequence.finishStep();
    cached.push_back(id);
    limits.sampler->accept(next);
    return next;
  };

  int64_t id = sample(logits);
  while (true) {
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
    if (int64_t(cached.size()) >= model.contextLength()) {
      result.reason = StopReason::Context;
      break;
    }
    if (cancelled(limits)) {
      result.reason = StopReason::Cancelled;
      break;
    }
    id = follow(id);
  }
  if (loops) {
    sequence.endLoop();
    cached.resize(size_t(sequence.truncate(int64_t(cached.size()))));
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
