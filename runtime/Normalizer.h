//===- Normalizer.h - Normalizers of tokenizer.json -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Regex.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Replaces each match of a literal or a regular expression by fixed text.
struct Replacement {
  std::string literal; ///< What to find, when `regex` is empty.
  std::optional<Regex> regex;
  std::string content;

  /// Reads `{"pattern": {"String" or "Regex": ...}, "content": ...}`.
  static Replacement fromJson(const nlohmann::json &description,
                              std::string_view where);

  /// `text` with all matches replaced.
  std::string apply(std::string_view text) const;
};

/// The text changes before pre-tokenization: Prepend, Replace, NFC, NFD, NFKC,
/// NFKD, and sequences of them.
class Normalizer {
public:
  /// Reads the "normalizer" of a tokenizer.json; null gives the identity.
  static Normalizer fromJson(const nlohmann::json &description);

  /// True when `apply` changes nothing.
  bool isIdentity() const { return steps.empty(); }

  /// Normalizes one stretch of well-formed UTF-8.
  std::string apply(std::string_view text) const;

private:
  enum class Kind { Prepend, Replace, Unicode };
  struct Step {
    Kind kind;
    std::string prefix;
    Replacement replacement;
    int unicodeOptions = 0;
  };
  void add(const nlohmann::json &description, int depth);

  std::vector<Step> steps;
};

} // namespace mlsys::rt
