//===- WordCache.h - The ids of words seen before ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Remembers the ids of short words, as many as its fixed size allows. A newer
/// word takes the place of an older one with the same hash.
class WordCache {
public:
  /// Appends the ids of `word`, if it is known, and returns true.
  bool find(std::string_view word, std::vector<int64_t> &ids) {
    if (word.size() > longest)
      return false;
    if (entries.empty())
      entries.resize(count);
    const Entry &entry = entries[hash(word) % count];
    if (entry.length != word.size() || std::memcmp(entry.word, word.data(), word.size()) != 0)
      return false;
    ids.insert(ids.end(), entry.ids, entry.ids + entry.count);
    return true;
  }

  /// Remembers `word`, which `find` has just not found.
  template <typename Id> void add(std::string_view word, std::span<const Id> ids) {
    if (word.size() > longest || ids.size() > mostIds)
      return;
    Entry &entry = entries[hash(word) % count];
    entry.length = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(ids.size());
    std::memcpy(entry.word, word.data(), word.size());
    for (size_t i = 0; i < ids.size(); ++i)
      entry.ids[i] = static_cast<int32_t>(ids[i]);
  }

private:
  static constexpr size_t longest = 30, mostIds = 8, count = 32768;

  /// One cache line; no word has the length 0.
  struct alignas(64) Entry {
    uint8_t length = 0;
    uint8_t count = 0;
    char word[longest];
    int32_t ids[mostIds];
  };

  static uint64_t load(const char *from, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, from, size);
    return value;
  }

  static uint64_t hash(std::string_view word) {
    const char *from = word.data();
    size_t size = word.size();
    uint64_t a, b = 0;
    if (size > 8) {
      a = load(from, 8);
      b = load(from + size - 8, 8);
      if (size > 16)
        a = a * 0x9E3779B97F4A7C15 + load(from + 8, 8), b ^= load(from + size - 16, 8) << 1;
    } else if (size >= 4) {
      a = load(from, 4) | load(from + size - 4, 4) << 32;
    } else {
      a = static_cast<unsigned char>(from[0]) | static_cast<unsigned char>(from[size / 2]) << 8 |
          static_cast<unsigned char>(from[size - 1]) << 16;
    }
    uint64_t mixed = (a ^ size) * 0x9E3779B97F4A7C15 ^ (b + 0x165667B19E3779F9) * 0xC2B2AE3D27D4EB4F;
    mixed ^= mixed >> 32;
    mixed *= 0x9E3779B97F4A7C15;
    return mixed >> 40;
  }

  std::vector<Entry> entries;
};

} // namespace mlsys::rt
