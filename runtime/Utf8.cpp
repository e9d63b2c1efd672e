//===- Utf8.cpp - Checking, repairing and walking UTF-8 -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Utf8.h"

#include <cstdint>
#include <cstring>

using namespace mlsys::rt;

static const char *const replacement = "\xEF\xBF\xBD";

namespace {
/// What begins at a byte: a whole code point, an ill-formed part, or the start
/// of a code point whose rest is not there yet.
enum class Sequence { Whole, Bad, Partial };
} // namespace

/// Classifies the bytes at the front of `text` (not empty) and sets `length` to
/// how many of them belong together.
static Sequence classify(std::string_view text, size_t &length) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  length = 1;
  if (lead < 0x80)
    return Sequence::Whole;
  unsigned char low = 0x80, high = 0xBF;
  size_t needed;
  if (lead >= 0xC2 && lead <= 0xDF) {
    needed = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    needed = 3;
    if (lead == 0xE0)
      low = 0xA0;
    if (lead == 0xED)
      high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    needed = 4;
    if (lead == 0xF0)
      low = 0x90;
    if (lead == 0xF4)
      high = 0x8F;
  } else {
    return Sequence::Bad;
  }
  while (length < needed) {
    if (length == text.size())
      return Sequence::Partial;
    if (byte(length) < low || byte(length) > high)
      return Sequence::Bad;
    low = 0x80;
    high = 0xBF;
    ++length;
  }
  return Sequence::Whole;
}

bool mlsys::rt::isValidUtf8(std::string_view text) {
  for (size_t at = 0; (at = skipAscii(text, at)) < text.size();) {
    size_t length;
    if (classify(text.substr(at), length) != Sequence::Whole)
      return false;
    at += length;
  }
  return true;
}

std::string mlsys::rt::repairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Repairer repairer;
  repairer.push(text, out);
  repairer.finish(out);
  return out;
}

void Utf8Repairer::push(std::string_view bytes, std::string &out) {
  std::string joined;
  if (!pending.empty()) {
    joined = pending.append(bytes);
    pending.clear();
    bytes = joined;
  }
  while (!bytes.empty()) {
    size_t length;
    Sequence kind = classify(bytes, length);
    if (kind == Sequence::Partial) {
      pending = bytes;
      return;
    }
    if (kind == Sequence::Whole)
      out.append(bytes.substr(0, length));
    else
      out.append(replacement);
    bytes.remove_prefix(length);
  }
}

void Utf8Repairer::finish(std::string &out) {
  if (!pending.empty())
    out.append(replacement);
  pending.clear();
}

size_t mlsys::rt::skipAscii(std::string_view text, size_t offset) {
  constexpr uint64_t highBits = 0x8080808080808080;
  uint64_t word;
  for (; offset + sizeof(word) <= text.size(); offset += sizeof(word)) {
    std::memcpy(&word, text.data() + offset, sizeof(word));
    if (word & highBits)
      break;
  }
  while (offset < text.size() && static_cast<unsigned char>(text[offset]) < 0x80)
    ++offset;
  return offset;
}

size_t mlsys::rt::countCodePoints(std::string_view text) {
  size_t count = 0;
  for (unsigned char byte : text)
    count += (byte & 0xC0) != 0x80;
  return count;
}

void mlsys::rt::appendUtf8(std::string &text, char32_t c) {
  auto add = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6);
    add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12);
    add(0x80 | (c >> 6 & 0x3F));
    add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | c >> 18);
    add(0x80 | (c >> 12 & 0x3F));
    add(0x80 | (c >> 6 & 0x3F));
    add(0x80 | (c & 0x3F));
  }
}

bool mlsys::rt::isWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
