//===- Charsmap.cpp - SentencePiece's replacement tables ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Charsmap.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, precompiled_charsmap";

std::optional<std::string> mlsys::rt::decodeBase64(std::string_view text) {
  if (text.size() % 4 != 0)
    return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+'             ? 62
                : c == '/'             ? 63
                                       : -1;
    if (value < 0)
      return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return bytes;
}

Charsmap Charsmap::fromBase64(std::string_view text) {
  std::optional<std::string> bytes = decodeBase64(text);
  if (!bytes)
    throw Error("{}: not base64", where);
  auto word = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i)
      value |= static_cast<uint32_t>(static_cast<unsigned char>((*bytes)[at + i])) << (8 * i);
    return value;
  };
  if (bytes->size() < 4)
    throw Error("{}: {} bytes are too few", where, bytes->size());
  size_t size = word(0);
  if (size < 4 || size % 4 != 0 || size > bytes->size() - 4)
    throw Error("{}: a trie of {} bytes does not fit into {}", where, size, bytes->size());
  Charsmap result;
  for (size_t at = 4; at < 4 + size; at += 4)
    result.trie.push_back(word(at));
  result.texts = bytes->substr(4 + size);
  if (!isValidUtf8(result.texts))
    throw Error("{}: its texts are not UTF-8", where);
  return result;
}

uint32_t Charsmap::unit(size_t index) const {
  if (index >= trie.size())
    throw Error("{}: the trie points to {} of {}", where, index, trie.size());
  return trie[index];
}

/// What stands in the place of the shortest entry that begins `key`.
std::optional<std::string_view> Charsmap::find(std::string_view key) const {
  auto offset = [](uint32_t unit) {
    return static_cast<size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
  };
  size_t node = offset(trie[0]);
  for (unsigned char byte : key) {
    if (byte == 0)
      break;
    node ^= byte;
    uint32_t found = unit(node);
    if ((found & ((1u << 31) | 0xFF)) != byte)
      break;
    node ^= offset(found);
    if ((found >> 8 & 1) == 0)
      continue;
    size_t begin = unit(node) & ((1u << 31) - 1);
    if (begin > texts.size() || (begin < texts.size() && (texts[begin] & 0xC0) == 0x80))
      throw Error("{}: no text begins at {}", where, begin);
    size_t end = std::min(texts.find('\0', begin), texts.size());
    return std::string_view(texts).substr(begin, end - begin);
  }
  return std::nullopt;
}

bool Charsmap::apply(std::string_view text, std::string &out) const {
  size_t before = out.size();
  bool changed = false;
  // Short graphemes are looked up whole, others character by character.
  constexpr size_t shortGrapheme = 6;
  // Most texts that replace one are as short; a file that says otherwise may
  // not take all memory.
  const size_t most = before + text.size() * 64 + 4096;
  auto replace = [&](std::string_view part) {
    std::optional<std::string_view> replacement = find(part);
    if (replacement) {
      out += *replacement;
      changed = true;
    }
    if (out.size() > most)
      throw Error("{}: the text becomes too long", where);
    return replacement.has_value();
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    char32_t last = nextCodePoint(text, end);
    size_t characters = 1;
    utf8proc_int32_t state = 0;
    while (end < text.size()) {
      size_t next = end;
      char32_t c = nextCodePoint(text, next);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last),
                                           static_cast<utf8proc_int32_t>(c), &state))
        break;
      last = c;
      end = next;
      ++characters;
    }
    std::string_view grapheme = text.substr(at, end - at);
    at = end;
    if (characters > 1 && grapheme.size() < shortGrapheme && replace(grapheme))
      continue;
    for (size_t i = 0; i < grapheme.size();) {
      size_t length = codePointLength(grapheme[i]);
      std::string_view character = grapheme.substr(i, length);
      if (!replace(character))
        out += character;
      i += length;
    }
  }
  if (!changed)
    out.resize(before);
  return changed;
}
