//===- ByteLevel.cpp - The characters that stand for bytes ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ByteLevel.h"

#include "runtime/Utf8.h"

#include <algorithm>

using namespace mlsys::rt;

const char *const bytelevel::pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Code points of the stand-ins lie below this.
static constexpr char32_t codePointLimit = 0x144;

namespace {
struct Tables {
  std::array<std::string, 256> characters;
  std::array<int, codePointLimit> bytes;
};
} // namespace

static const Tables &tables() {
  static const Tables result = [] {
    Tables t;
    t.bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 0x21 && byte <= 0x7E) ||
                       (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      char32_t c = printable ? byte : next++;
      appendUtf8(t.characters[byte], c);
      t.bytes[c] = byte;
    }
    return t;
  }();
  return result;
}

const std::array<std::string, 256> &bytelevel::characters() {
  return tables().characters;
}

std::string bytelevel::encode(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char byte : bytes)
    out += tables().characters[byte];
  return out;
}

/// The byte that `c` stands for, or -1.
static int toByte(char32_t c) {
  return c < codePointLimit ? tables().bytes[c] : -1;
}

std::string bytelevel::decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    int byte = toByte(nextCodePoint(text, i));
    if (byte < 0)
      return std::string(text);
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

bool bytelevel::isEncoded(std::string_view text) {
  for (size_t i = 0; i < text.size();)
    if (toByte(nextCodePoint(text, i)) < 0)
      return false;
  return true;
}
