//===- JinjaWrap.cpp - Lines of bounded width -------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaWrap.h"

#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

using Text = std::u32string;

/// The white space that textwrap breaks at.
static bool isBreak(char32_t c) { return c == ' ' || (c >= 0x09 && c <= 0x0D); }

static bool isWordCharacter(char32_t c) {
  auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return c == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

static bool isLetter(char32_t c) {
  auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return isWordCharacter(c) && c != '_' && category != UTF8PROC_CATEGORY_ND;
}

static bool isDashContext(char32_t c) {
  return isWordCharacter(c) || Text(U"!\"'&.,?").find(c) != Text::npos;
}

/// True when a word may end behind the hyphen at `i`.
static bool mayBreakBehindHyphen(const Text &text, size_t i) {
  auto letter = [&](size_t at) { return at < text.size() && isLetter(text[at]); };
  auto hyphen = [&](size_t at) { return at < text.size() && text[at] == '-'; };
  bool before = i >= 2 && ((letter(i - 1) && letter(i - 2)) ||
                           (i >= 3 && letter(i - 1) && hyphen(i - 2) && letter(i - 3)));
  bool after = letter(i + 1) && (letter(i + 2) || (hyphen(i + 2) && letter(i + 3)));
  return before && after;
}

/// The end of the run of hyphens at `i`.
static size_t endOfHyphens(const Text &text, size_t i) {
  while (i < text.size() && text[i] == '-')
    ++i;
  return i;
}

/// True when a dash of several hyphens stands at `i`, between words.
static bool isDash(const Text &text, size_t i) {
  size_t end = endOfHyphens(text, i);
  return i > 0 && end - i >= 2 && end < text.size() && isDashContext(text[i - 1]) &&
         isWordCharacter(text[end]);
}

/// Pieces that stay together: words, parts of words, dashes and white space.
static std::vector<Text> chunksOf(const Text &text, bool breakOnHyphens) {
  std::vector<Text> chunks;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (isBreak(text[i])) {
      while (end < text.size() && isBreak(text[end]))
        ++end;
    } else if (breakOnHyphens && isDash(text, i)) {
      end = endOfHyphens(text, i);
    } else {
      do {
        ++end;
        if (breakOnHyphens && text[end - 1] == '-' && end - 1 > i &&
            mayBreakBehindHyphen(text, end - 1))
          break;
      } while (end < text.size() && !isBreak(text[end]) &&
               !(breakOnHyphens && isDash(text, end)));
    }
    chunks.push_back(text.substr(i, end - i));
    i = end;
  }
  return chunks;
}

static std::string toUtf8(const Text &text) {
  std::string out;
  for (char32_t c : text)
    appendUtf8(out, c);
  return out;
}

std::vector<std::string> jinja::wrapLine(const std::string &line, size_t width,
                                         bool breakLongWords, bool breakOnHyphens) {
  Text text;
  for (size_t i = 0; i < line.size();)
    text += nextCodePoint(line, i);
  std::vector<Text> chunks = chunksOf(text, breakOnHyphens);
  std::reverse(chunks.begin(), chunks.end());
  auto isBlank = [](const Text &chunk) { return isBreak(chunk[0]); };
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    if (isBlank(chunks.back()) && !lines.empty())
      chunks.pop_back();
    std::vector<Text> current;
    size_t length = 0;
    while (!chunks.empty() && length + chunks.back().size() <= width) {
      length += chunks.back().size();
      current.push_back(std::move(chunks.back()));
      chunks.pop_back();
    }
    if (!chunks.empty() && chunks.back().size() > width) {
      // A word that no line can hold.
      if (breakLongWords) {
        size_t room = width - length, cut = room;
        if (breakOnHyphens && chunks.back().size() > room) {
          size_t hyphen = chunks.back().rfind(U'-', room > 0 ? room - 1 : 0);
          if (room > 0 && hyphen != Text::npos && hyphen > 0 &&
              chunks.back().find_first_not_of(U'-') < hyphen)
            cut = hyphen + 1;
        }
        current.push_back(chunks.back().substr(0, cut));
        chunks.back().erase(0, cut);
      } else if (current.empty()) {
        current.push_back(std::move(chunks.back()));
        chunks.pop_back();
      }
    }
    if (!current.empty() && (current.back().empty() || isBlank(current.back())))
      current.pop_back();
    if (current.empty())
      continue;
    std::string joined;
    for (const Text &chunk : current)
      joined += toUtf8(chunk);
    lines.push_back(std::move(joined));
  }
  return lines;
}
