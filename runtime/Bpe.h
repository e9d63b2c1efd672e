//===- Bpe.h - Byte-pair encoding -------------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/TokenModel.h"

#include <array>

namespace mlsys::rt {

/// A model with "type": "BPE": a vocabulary and ranked merges.
class Bpe : public TokenModel {
public:
  /// See TokenModel::fromJson.
  Bpe(const nlohmann::json &model, bool wordsAreBytes);

  std::unique_ptr<TokenModel::Session> makeSession() const override;
  std::optional<int32_t> find(std::string_view token) const override;
  void forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const override;

private:
  class Session;
  struct MergeSlot {
    uint64_t pair;   ///< Left id in the upper half, right id in the lower.
    uint64_t result; ///< Rank in the upper half, merged id in the lower.
  };
  /// "No merge", and the key of an empty slot.
  static constexpr uint64_t none = ~uint64_t(0);

  void addMerges(const nlohmann::json &merges);
  void insertMerge(uint64_t pair, uint64_t result);
  uint64_t merge(int32_t left, int32_t right) const;
  void appendSymbols(std::string_view word,
                     std::vector<int32_t> &symbols) const;
  int32_t symbolOf(std::string_view character) const;
  bool mayJoin(char32_t left, char32_t right) const;

  StringMap ids;
  StringMap byteWords; ///< Tokens as raw bytes, for ignore_merges.
  std::vector<MergeSlot> merges;
  uint64_t mergeMask = 0;
  std::array<int32_t, 256> byteSymbols;   ///< Of raw bytes, or -1.
  std::array<int32_t, 128> asciiSymbols;  ///< Of ASCII characters, or -1.
  std::vector<int32_t> fallbackBytes;     ///< Of <0x00> to <0xFF>, or -1.
  std::vector<bool> joints; ///< Pairs of characters some merge joins.
  std::string prefix, suffix;
  int32_t unknown = -1;
  bool wordsAreBytes = false;
  bool byteFallback = false;
  bool fuseUnknown = false;
  bool ignoreMerges = false;
};

} // namespace mlsys::rt
