//===- Generator.h - From prompt ids to generated ids -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/KvCache.h"
#include "runtime/LanguageModel.h"
#include "runtime/Sampler.h"

#include <atomic>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Chooses the next id from the logits.
using SampleFunction = std::function<int64_t(std::span<const float>)>;

/// What to do after an id.
enum class Next { Continue, Stop };

/// Gets each id as soon as it is known.
using TokenFunction = std::function<Next(int64_t)>;

/// How long to generate and when to stop.
struct GenerationLimits {
  /// The most new tokens; -1: until a stop id or the end of the context.
  int64_t maxTokens = 128;
  /// Tokens of the prompt in one step; 0: the model's choice.
  int64_t chunk = 0;
  /// Ids that end the text; they are not part of it.
  std::vector<int64_t> stopIds;
  /// Checked before each step.
  const std::atomic<bool> *cancel = nullptr;
  /// The sampler that the sample function draws from, when it does nothing else: then the device
  /// may draw instead. Null: the function sees all logits.
  Sampler *sampler = nullptr;
};

enum class StopReason { Length, StopId, StopText, Context, Cancelled };

/// "stop token", "token limit", ... for the summary line.
std::string_view stopReasonText(StopReason reason);

struct Generation {
  std::vector<int64_t> ids;
  StopReason reason = StopReason::Length;
  /// Tokens of the prompt, and how many of them the KV cache held already.
  int64_t promptTokens = 0, cachedTokens = 0;
  /// Steps after the prompt's, and the time both took.
  int64_t decodeSteps = 0;
  double promptSeconds = 0, decodeSeconds = 0;
};

/// One request in the KV cache: feeds tokens to a model and keeps the
/// bookkeeping of pages, positions and slots.
class Sequence {
public:
  Sequence(LanguageModel &model, KvCache &cache);
  ~Sequence();
  Sequence(const Sequence &) = delete;
  Sequence &operator=(const Sequence &) = delete;

  /// Runs `ids` after what came before, at most maxStepTokens() of them, and
  /// returns the logits after the last one, valid until the next call.
  std::span<const float> push(std::span<const int64_t> ids);
  /// Says that startLoop() is likely to follow the next push(), of `count` ids.
  void expectLoop(int64_t count);
  /// Starts to decode on the device: runs `id`, whose successor finishStep() gives. False, and
  /// nothing has happened, when the model cannot.
  bool startLoop(int64_t id, const DeviceSampling &how);
  /// Starts the step that runs the token which the step before chooses.
  void startStep();
  /// Waits for the oldest step and gives the id that it chose.
  int64_t finishStep();
  /// Ends the loop, if there is one; of steps that have begun nothing is left after
  /// truncate().
  void endLoop() { loop.reset(); }

  /// Forgets all but the first `count` tokens, of which there are that many; all of them when
  /// pages that the next token would see have been freed (see LanguageModel::window). Returns how
  /// many are left.
  int64_t truncate(int64_t count);
  /// Tokens so far.
  int64_t size() const { return tokens; }

private:
  int64_t firstSeen(int64_t position) const;
  void makeRoom(int64_t seenFrom, int64_t total);
  size_t tableWidth(size_t pages) const;
  void fillTable();

  LanguageModel &model;
  KvCache &cache;
  int64_t sequence;
  int64_t tokens = 0;
  std::vector<int32_t> positions, blockTable;
  std::vector<int64_t> slots;
  std::vector<float> logits;
  std::unique_ptr<DecodeLoop> loop;
  /// The block table that the device has.
  std::vector<int32_t> loopTable;
};

/// A KV cache with one sequence in it, which is kept from one generation to the next.
class Conversation {
public:
  explicit Conversation(LanguageModel &model);

  /// Generates from a prompt. Of the prompt only what follows its longest beginning that is in
  /// the cache is run; what else the cache held is forgotten. Throws when the prompt is empty,
  /// has ids beyond the vocabulary, or leaves no room in the context.
  Generation generate(std::span<const int64_t> prompt, const GenerationLimits &limits,
                      const SampleFunction &sample, const TokenFunction &onToken);

  /// Forgets everything.
  void reset();
  /// The ids whose keys and values are in the cache.
  std::span<const int64_t> ids() const { return cached; }

private:
  bool cancelled(const GenerationLimits &limits) const {
    return limits.cancel && limits.cancel->load();
  }
  std::span<const float> push(std::span<const int64_t> ids);
  Generation decode(Generation result, std::span<const float> logits, const GenerationLimits &limits,
                    const SampleFunction &sample, const TokenFunction &onToken);

  LanguageModel &model;
  KvCache cache;
  Sequence sequence;
  std::vector<int64_t> cached;
};

/// Generates from a prompt with a cache of its own.
Generation generate(LanguageModel &model, std::span<const int64_t> prompt,
                    const GenerationLimits &limits, const SampleFunction &sample,
                    const std::function<void(int64_t)> &onToken);

} // namespace mlsys::rt
