//===- LanguageModel.h - One step of a language model -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// What generation and encoding need of a model. Compiled programs (ProgramModel) and the
// interpreter implement it.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DeviceSampling.h"

#include <cstdint>
#include <memory>
#include <span>

namespace mlsys::rt {

struct LaunchProfile;

/// The new tokens of R requests, one request after another: T tokens in all.
/// The arrays are those of program::Role.
struct StepBatch {
  /// [T] token ids.
  std::span<const int64_t> ids;
  /// [T] the position of each token in its request.
  std::span<const int32_t> positions;
  /// [T] where keys and values go: page * pageSize + row; -1: nowhere.
  std::span<const int64_t> slots;
  /// [R + 1] the first token of each request, then T.
  std::span<const int32_t> queryStart;
  /// [R] tokens of each request, the new ones counted.
  std::span<const int32_t> contextLength;
  /// [R, maxPages] the pages of each request, filled up with anything valid; so are the
  /// places of pages that lie before the window (see LanguageModel::window).
  std::span<const int32_t> blockTable;
  int64_t maxPages = 0;
  /// [T] the segment of each token, for encoders that have them; empty: zeros.
  std::span<const int64_t> tokenTypes = {};

  int64_t tokens() const { return int64_t(ids.size()); }
  int64_t requests() const { return int64_t(contextLength.size()); }
};

/// Steps of a DecodeLoop that have begun, at most, when the host waits for the first of them.
inline constexpr int64_t stepsAhead = 2;

/// Decode steps each of which takes the tokens that the step before chose, without the host
/// between them.
class DecodeLoop {
public:
  virtual ~DecodeLoop() = default;

  /// Starts the next step: the next position of every request. Before the step behind it chooses
  /// tokens, the page of its position is in the block table, too. `blockTable`
  /// [R, maxPages] replaces the one before; empty: it stays.
  virtual void start(std::span<const int32_t> blockTable, int64_t maxPages) = 0;
  /// Waits for the oldest step that was started and gives the tokens that it chose. Throws
  /// rt::Error when its logits are no numbers. At most 8 steps are under way.
  virtual void finish(std::span<int64_t> ids) = 0;
};

/// A language model with a paged KV cache.
class LanguageModel {
public:
  virtual ~LanguageModel() = default;

  /// The longest sequence, prompt and answer together.
  virtual int64_t contextLength() const = 0;
  /// Logits of a token; of an encoder, the elements of a token's embedding.
  virtual int64_t vocabSize() const = 0;
  /// Token ids are smaller than that.
  virtual int64_t idLimit() const { return vocabSize(); }
  /// True for encoders: tokens see the whole request, and all of a request's tokens are in
  /// one step.
  virtual bool bidirectional() const { return false; }
  /// True when a step gives a row for each token instead of for each request.
  virtual bool perToken() const { return false; }
  /// When not 0, no token sees one that is so many positions before it, or more: pages
  /// that lie before the window of the next token are not read again.
  virtual int64_t window() const { return 0; }
  /// Tokens in a page of the KV cache.
  virtual int64_t pageSize() const = 0;
  /// Pages that there are in all.
  virtual int64_t pageCount() const = 0;
  /// The most new tokens that one step may have.
  virtual int64_t maxStepTokens() const = 0;
  /// Tokens of a prompt that one step does best.
  virtual int64_t preferredChunk() const = 0;

  /// Makes pages zero, before the first step that uses them.
  virtual void zeroPages(std::span<const int32_t> pages) = 0;

  /// Runs the new tokens. `logits` is [R, vocabSize]: those that follow the last
  /// token of each request; [T, vocabSize] when perToken(). Throws rt::Error.
  virtual void step(const StepBatch &batch, std::span<float> logits) = 0;

  /// Says that decode() is likely to follow the next step, with so many requests and a block table of that
  /// width; the model may get ready for it while the device works.
  virtual void expectDecode(int64_t requests, int64_t maxPages) {
    (void)requests;
    (void)maxPages;
  }

  /// Starts a decode step and chooses the tokens that follow on the device, from then on in a
  /// loop; `how` says for each request how. Null when the model cannot. No other step while
  /// the loop lives.
  virtual std::unique_ptr<DecodeLoop> decode(const StepBatch &, std::span<const DeviceSampling>) { return nullptr; }

  /// Records each launch of the steps that follow; null ends that. False when the model has no
  /// kernels.
  virtual bool setProfile(LaunchProfile *) { return false; }

  /// The rows that a step with these numbers of tokens and requests gives.
  int64_t rows(int64_t tokens, int64_t requests) const { return perToken() ? tokens : requests; }
};

} // namespace mlsys::rt
