//===- Bpe.h - Byte-pair encoding -------------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlsys::rt {

/// Finds by std::string_view in maps that are keyed by std::string.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

/// From strings to numbers.
using StringMap =
    std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

/// The model of a tokenizer.json with "type": "BPE": a vocabulary and ranked
/// merges. Immutable; one object may serve many threads.
class Bpe {
public:
  /// Ids are below this, which bounds what a lying file can allocate.
  static constexpr int64_t idLimit = int64_t(1) << 24;

  /// Reads the "model" member. With `wordsAreBytes` the words to encode are raw
  /// bytes, and the vocabulary writes them with byte-level characters.
  static Bpe fromJson(const nlohmann::json &model, bool wordsAreBytes);

  /// What encoding one text needs besides the model: buffers and a cache of
  /// words. Not to be shared between threads.
  class Session {
  public:
    /// `bytes` is the length of the whole text; long texts get a word cache.
    Session(const Bpe &model, size_t bytes);
    ~Session();

    /// Appends the ids of one word (well-formed UTF-8, not empty).
    void encode(std::string_view word, std::vector<int64_t> &ids);

  private:
    struct CacheEntry;
    struct Candidate;
    struct Node;

    void encodeCached(std::string_view word, std::vector<int64_t> &ids);
    void encodeWhole(std::string_view word);
    void mergeShort();
    void mergeLong();

    const Bpe &model;
    std::vector<int32_t> symbols;
    std::vector<uint64_t> pairs;
    std::vector<Node> nodes;
    std::vector<Candidate> queue;
    std::vector<CacheEntry> cache;
  };

  /// The vocabulary, from token to id.
  const StringMap &vocabulary() const { return ids; }

  /// The id of `token`, if the vocabulary has it.
  std::optional<int32_t> find(std::string_view token) const;

private:
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
  std::array<int32_t, 256> fallbackBytes; ///< Of <0x00> to <0xFF>, or -1.
  std::vector<bool> joints; ///< Pairs of characters some merge joins.
  std::string prefix, suffix;
  int32_t unknown = -1;
  bool wordsAreBytes = false;
  bool byteFallback = false;
  bool fuseUnknown = false;
  bool ignoreMerges = false;
};

} // namespace mlsys::rt
