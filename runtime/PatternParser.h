//===- PatternParser.h - Patterns as trees ----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Scanner.h"

#include <optional>
#include <string_view>
#include <vector>

namespace mlsys::rt::pattern {

enum class Kind { Set, Group, Look, Atomic, Behind, LineBegin, LineEnd, TextBegin, TextEnd, WordEdge };
enum class Mode { Greedy, Lazy, Possessive };

struct Item;
using Sequence = std::vector<Item>;

/// A part of a pattern and how often it comes.
struct Item {
  Kind kind = Kind::Set;
  CharacterSet set;                   ///< For Set.
  std::vector<Sequence> alternatives; ///< For groups and assertions.
  bool negated = false;               ///< For assertions.
  uint32_t least = 1, most = 1;
  Mode mode = Mode::Greedy;
};

/// "Without limit", for Item::most.
constexpr uint32_t unlimited = ~uint32_t(0);

/// The alternatives of `pattern` in Oniguruma's syntax; empty when it has
/// something that Scanner does not take, or is wrong.
std::optional<std::vector<Sequence>> parse(std::string_view pattern);

} // namespace mlsys::rt::pattern
