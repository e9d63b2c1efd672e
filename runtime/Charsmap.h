//===- Charsmap.h - SentencePiece's replacement tables ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// The "precompiled_charsmap" of a tokenizer.json: a double-array trie over
/// what is replaced, then the texts in its place. Every access is checked,
/// since the file may say anything.
class Charsmap {
public:
  /// Reads the base64 text; throws rt::Error when it is not a charsmap.
  static Charsmap fromBase64(std::string_view text);

  /// Appends `text` (well-formed UTF-8) with its replacements to `out`; returns
  /// false and appends nothing when there are none.
  bool apply(std::string_view text, std::string &out) const;

private:
  std::optional<std::string_view> find(std::string_view key) const;
  uint32_t unit(size_t index) const;

  std::vector<uint32_t> trie;
  std::string texts; ///< Each ends with a zero byte.
};

/// The bytes that base64 text stands for, or nothing when it is malformed.
std::optional<std::string> decodeBase64(std::string_view text);

} // namespace mlsys::rt
