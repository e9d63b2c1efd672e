//===- ByteLevel.h - The characters that stand for bytes --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace mlsys::rt::bytelevel {

/// For each byte the character, as UTF-8, that byte-level vocabularies write in
/// its place: printable Latin-1 bytes stand for themselves, the rest for U+0100
/// and up.
const std::array<std::string, 256> &characters();

/// Writes the stand-in of each byte of `bytes`.
std::string encode(std::string_view bytes);

/// The bytes that `text` (well-formed UTF-8) stands for; `text` itself when a
/// character of it stands for no byte.
std::string decode(std::string_view text);

/// True when every character of `text` stands for a byte.
bool isEncoded(std::string_view text);

/// GPT-2's pattern, which splits text into words when use_regex is set.
extern const char *const pattern;

} // namespace mlsys::rt::bytelevel
