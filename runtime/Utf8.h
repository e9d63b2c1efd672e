//===- Utf8.h - Checking, repairing and walking UTF-8 -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// True when all of `text` is well-formed UTF-8 (no surrogates, no overlong
/// forms, nothing above U+10FFFF).
bool isValidUtf8(std::string_view text);

/// `text` with one U+FFFD for each maximal ill-formed part, as the Unicode
/// standard recommends and as Rust's from_utf8_lossy does.
std::string repairUtf8(std::string_view text);

/// Reads the code point at `offset` of well-formed UTF-8 and moves `offset`
/// behind it.
char32_t nextCodePoint(std::string_view text, size_t &offset);

/// The length in bytes of the code point that starts with `lead`, in
/// well-formed UTF-8.
size_t codePointLength(unsigned char lead);

/// The number of code points in well-formed UTF-8.
size_t countCodePoints(std::string_view text);

/// Appends `codePoint` as UTF-8.
void appendUtf8(std::string &text, char32_t codePoint);

/// True for the code points of Unicode's White_Space property.
bool isWhiteSpace(char32_t codePoint);

/// Repairs a byte stream that arrives in parts: what a later part may complete
/// is held back.
class Utf8Repairer {
public:
  /// Appends to `out` what of the stream is decided once `bytes` are read.
  void push(std::string_view bytes, std::string &out);

  /// The stream has ended: an unfinished sequence becomes U+FFFD.
  void finish(std::string &out);

private:
  std::string pending;
};

} // namespace mlsys::rt
