//===- AddedTokens.h - Tokens found before the model runs -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/ByteTrie.h"
#include "runtime/FunctionRef.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// A token that is found in the text itself, not made by the model.
struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool singleWord = false; ///< Not inside a word.
  bool lstrip = false;     ///< Takes the white space before it.
  bool rstrip = false;     ///< Takes the white space behind it.
  bool normalized = false; ///< Looked for after normalization, not before.
  bool special = false;    ///< Left out of decoded text on request.

  /// Reads one of "added_tokens"; `where` names it in errors.
  static AddedToken fromJson(const nlohmann::json &description, int64_t id,
                             std::string_view where);
};

/// Finds added tokens in text: the leftmost, and of those the longest.
class AddedTokenMatcher {
public:
  AddedTokenMatcher() = default;

  /// A token and how the text writes it.
  struct Pattern {
    std::string text;
    AddedToken token;
  };

  /// Looks for `patterns`; of equal ones the first counts.
  explicit AddedTokenMatcher(std::vector<Pattern> patterns);

  /// Takes a stretch of text between tokens (with id -1) or a token.
  using Sink = FunctionRef<void(size_t begin, size_t end, int64_t id)>;

  /// Cuts `text` (well-formed UTF-8) at its tokens; with `specialIsText` special
  /// ones are passed over.
  void split(std::string_view text, bool specialIsText, Sink sink) const;

private:
  /// The token that begins at `at`, or null, and where its match ends.
  const AddedToken *match(std::string_view text, size_t at, size_t &end) const;

  std::vector<Pattern> patterns;
  ByteTrie trie; ///< To indices into patterns.
};

} // namespace mlsys::rt
