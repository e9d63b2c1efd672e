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
inline char32_t nextCodePoint(std::string_view text, size_t &offset) {
  auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  char32_t lead = byte(offset);
  if (lead < 0x80) {
    offset += 1;
    return lead;
  }
  size_t at = offset;
  if (lead < 0xE0) {
    offset += 2;
    return (lead & 0x1F) << 6 | (byte(at + 1) & 0x3F);
  }
  if (lead < 0xF0) {
    offset += 3;
    return (lead & 0xF) << 12 | (byte(at + 1) & 0x3F) << 6 | (byte(at + 2) & 0x3F);
  }
  offset += 4;
  return (lead & 7) << 18 | (byte(at + 1) & 0x3F) << 12 | (byte(at + 2) & 0x3F) << 6 |
         (byte(at + 3) & 0x3F);
}

/// The length in bytes of the code point that starts with `lead`, in
/// well-formed UTF-8.
inline size_t codePointLength(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/// The number of code points in well-formed UTF-8.
size_t countCodePoints(std::string_view text);

/// Where the first byte above 0x7F is at or behind `offset`; the size of `text`
/// when there is none.
size_t skipAscii(std::string_view text, size_t offset);

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
