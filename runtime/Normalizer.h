//===- Normalizer.h - Normalizers of tokenizer.json -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Regex.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Replaces each match of a literal or a regular expression by fixed text.
struct Replacement {
  std::string literal; ///< What to find, when there is no `regex`.
  std::optional<Regex> regex;
  std::string content;

  /// Reads `{"pattern": {"String" or "Regex": ...}, "content": ...}`.
  static Replacement fromJson(const nlohmann::json &description,
                              std::string_view where);

  /// Appends `text` with all matches replaced to `out`; returns false and
  /// appends nothing when there is none. `atStart` becomes false when what was
  /// there first is gone (see Normalizer::apply).
  bool apply(std::string_view text, std::string &out, bool &atStart) const;

  /// `text` with all matches replaced.
  std::string apply(std::string_view text) const;
};

/// One change of the text.
class NormalizerStep {
public:
  virtual ~NormalizerStep();
  /// Appends the changed `text` to `out`. When nothing changes, returns false
  /// and appends nothing. Sets `atStart` to false when the first character of
  /// the result stems from a later one.
  virtual bool apply(std::string_view text, std::string &out, bool &atStart) const = 0;
};

/// The text changes before pre-tokenization: the normal forms, Lowercase,
/// StripAccents, Strip, Replace, Prepend, Nmt, BertNormalizer, ByteLevel,
/// Precompiled, and sequences of them.
class Normalizer {
public:
  /// Reads the "normalizer" of a tokenizer.json; null gives the identity.
  static Normalizer fromJson(const nlohmann::json &description);

  /// True when `apply` changes nothing.
  bool isIdentity() const { return steps.empty(); }

  /// Two texts that steps write in turn.
  struct Buffers {
    std::string texts[2];
  };

  /// Normalizes one stretch of well-formed UTF-8; the result lies in `text` or
  /// in a buffer. Sets `atStart` to false when the first character of the
  /// result does not stem from the first one of `text`.
  std::string_view apply(std::string_view text, Buffers &buffers, bool &atStart) const;

  /// The same, as a text of its own.
  std::string apply(std::string_view text) const;

private:
  void add(const nlohmann::json &description, int depth);

  std::vector<std::unique_ptr<const NormalizerStep>> steps;
};

} // namespace mlsys::rt
