//===- JinjaStrings.cpp - Strings of chat templates -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// What methods, filters and tests of strings share.
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

std::vector<std::string> jinja::characters(const std::string &text) {
  std::vector<std::string> result;
  for (size_t i = 0; i < text.size();) {
    size_t length = codePointLength(text[i]);
    result.push_back(text.substr(i, length));
    i += length;
  }
  return result;
}

bool jinja::isPythonSpace(char32_t c) {
  return isWhiteSpace(c) || (c >= 0x1C && c <= 0x1F);
}

std::string jinja::changeCase(const std::string &text, Case wanted) {
  std::string out;
  bool inWord = false;
  for (size_t i = 0; i < text.size();) {
    char32_t c = nextCodePoint(text, i);
    auto code = static_cast<utf8proc_int32_t>(c);
    bool upper =
        wanted == Case::Upper ||
        ((wanted == Case::Title || wanted == Case::Capital) && !inWord);
    if (c == 0xDF && upper)
      out += wanted == Case::Upper ? "SS" : "Ss";
    else if (c == 0x130 && !upper)
      out += "i\u0307";
    else
      appendUtf8(out, wanted == Case::Upper ? utf8proc_toupper(code)
                      : upper               ? utf8proc_totitle(code)
                                            : utf8proc_tolower(code));
    inWord = wanted == Case::Capital ||
             !(isWhiteSpace(c) || std::u32string_view(U"-({[<").find(c) !=
                                      std::u32string_view::npos);
  }
  return out;
}

std::string jinja::strip(const std::string &text, const Value &set, int side) {
  std::u32string members;
  if (!set.isNone()) {
    if (!set.isString())
      throw Error("strip needs a str, not {}", set.typeName());
    for (size_t i = 0; i < set.string().size();)
      members += nextCodePoint(set.string(), i);
  }
  auto isStripped = [&](char32_t c) {
    return set.isNone() ? isPythonSpace(c)
                        : members.find(c) != std::u32string::npos;
  };
  size_t begin = 0, end = text.size();
  while (side <= 0 && begin < end) {
    size_t next = begin;
    if (!isStripped(nextCodePoint(text, next)))
      break;
    begin = next;
  }
  while (side >= 0 && end > begin) {
    size_t last = end - 1, next;
    while ((text[last] & 0xC0) == 0x80)
      --last;
    next = last;
    if (!isStripped(nextCodePoint(text, next)))
      break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

std::string jinja::pad(const std::string &text, int64_t width, const std::string &fill,
                       int side, Budget &budget) {
  int64_t missing = width - static_cast<int64_t>(countCodePoints(text));
  if (missing <= 0)
    return text;
  budget.spend(size_t(missing) * fill.size());
  // Python puts the odd one to the left when the width is odd, too.
  int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i)
    out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i)
    out += fill;
  return out;
}

std::vector<std::string> jinja::splitLines(const std::string &text, bool keepEnds) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    size_t at = i;
    char32_t c = nextCodePoint(text, i);
    bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                c == 0x2028 || c == 0x2029;
    if (!ends)
      continue;
    if (c == '\r' && i < text.size() && text[i] == '\n')
      ++i;
    lines.push_back(text.substr(begin, (keepEnds ? i : at) - begin));
    begin = i;
  }
  if (begin < text.size())
    lines.push_back(text.substr(begin));
  return lines;
}
