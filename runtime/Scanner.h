//===- Scanner.h - A matcher for the usual patterns -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Unicode.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace mlsys::rt {

/// A set of characters, as a pattern's class describes it.
struct CharacterSet {
  uint64_t ascii[2] = {0, 0}; ///< The whole answer for ASCII, once sealed.
  unicode::CategoryMask categories = 0;
  std::vector<std::pair<char32_t, char32_t>> ranges;
  std::vector<uint8_t> scripts;
  bool wordCharacters = false;
  std::vector<CharacterSet> parts; ///< Sets that this one includes.
  std::vector<CharacterSet> limits; ///< Sets that a member must be in, too.
  bool negated = false;

  /// Fills in `ascii`; to be called once all else is set.
  void seal();

  /// True for members; `c` may be any code point. For a sealed set.
  bool has(char32_t c) const {
    return c < 128 ? ascii[c >> 6] >> (c & 63) & 1 : find(c);
  }

private:
  bool find(char32_t c) const;
};

/// Matches a pattern by walking it, which for the patterns of tokenizers is
/// faster than a general engine and sees Unicode as the tokenizers library
/// does. Takes alternatives, classes, properties, repeated characters,
/// optional groups and assertions; not repeated groups or back references.
class Scanner {
public:
  /// Null when the pattern has something else.
  static std::unique_ptr<const Scanner> compile(std::string_view pattern);

  static constexpr size_t none = ~size_t(0);

  /// Finds the first match at or behind `from` in well-formed UTF-8 and sets
  /// where it begins and ends; false when there is none. Adds what it took to
  /// `steps` and throws rt::Error when all calls together took too many for the
  /// length of the text.
  bool find(std::string_view text, size_t from, size_t &begin, size_t &end,
            uint64_t &steps) const;

private:
  friend class ScannerCompiler;
  enum class Kind : uint8_t {
    Set,        ///< One member of a set.
    Repeat,     ///< From `least` to `most` members.
    Choice,     ///< The first of `branches` that leads to a match.
    Look,       ///< branches[0] matches here, or does not.
    Atomic,     ///< branches[0], without another try.
    Behind,     ///< The sets of `branches` match what stands before.
    LineBegin,
    LineEnd,
    TextBegin,
    TextEnd,
    WordEdge,
    Accept
  };
  enum class Mode : uint8_t { Greedy, Lazy, Possessive };
  struct Node {
    Kind kind = Kind::Accept;
    Mode mode = Mode::Greedy;
    bool negated = false;
    uint32_t set = 0;
    uint32_t least = 1, most = 1;
    uint32_t next = 0;
    std::vector<uint32_t> branches;
  };
  struct Match;

  size_t run(Match &match, uint32_t node, size_t at) const;
  void prepare();

  std::vector<CharacterSet> sets;
  std::vector<Node> nodes;
  uint32_t start = 0;
  /// By first byte the branches of a leading Choice that may match, as bits;
  /// just bit 0 when the pattern does not begin with a Choice.
  uint64_t starts[256];
  bool mayBeEmpty = false;
};

} // namespace mlsys::rt
