//===- NormalForm.cpp - Unicode's normal forms ----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// Most text is in normal form. What may not be is a run that begins with a
// character that changes, or that a later one may change, and ends before the
// next character that nothing before it can change. Only such runs are worked
// on.
#include "runtime/NormalForm.h"

#include "runtime/Error.h"
#include "runtime/Unicode.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

using namespace mlsys::rt;

static bool composes(NormalForm form) { return form == NormalForm::NFC || form == NormalForm::NFKC; }

static int combiningClass(int32_t c) { return utf8proc_get_property(c)->combining_class; }

/// Appends the full decomposition of one character.
static void decompose(int32_t c, NormalForm form, std::vector<int32_t> &out) {
  // The longest decomposition has 18 characters.
  int32_t buffer[32];
  int options = UTF8PROC_DECOMPOSE;
  if (form == NormalForm::NFKC || form == NormalForm::NFKD)
    options |= UTF8PROC_COMPAT;
  int boundClass = 0;
  utf8proc_ssize_t length = utf8proc_decompose_char(
      c, buffer, std::size(buffer), static_cast<utf8proc_option_t>(options), &boundClass);
  if (length < 0 || length > static_cast<utf8proc_ssize_t>(std::size(buffer)))
    throw Error("the text cannot be normalized: {}", utf8proc_errmsg(length));
  out.insert(out.end(), buffer, buffer + length);
}

/// Puts decomposed characters into order and, if the form asks for it, together.
static void finish(std::vector<int32_t> &characters, NormalForm form) {
  std::vector<uint64_t> keys;
  for (size_t from = 0; from < characters.size();) {
    keys.clear();
    size_t to = from;
    // The class, then the place, then the character.
    for (; to < characters.size(); ++to) {
      uint64_t rank = combiningClass(characters[to]);
      if (rank == 0)
        break;
      keys.push_back(rank << 55 | (to - from) << 21 | static_cast<uint32_t>(characters[to]));
    }
    std::sort(keys.begin(), keys.end());
    for (uint64_t key : keys)
      characters[from++] = static_cast<int32_t>(key & 0x1FFFFF);
    from = to + 1;
  }
  if (!composes(form))
    return;
  utf8proc_ssize_t length = utf8proc_normalize_utf32(
      characters.data(), static_cast<utf8proc_ssize_t>(characters.size()),
      static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (length < 0)
    throw Error("the text cannot be normalized: {}", utf8proc_errmsg(length));
  characters.resize(static_cast<size_t>(length));
}

namespace {

/// What a form does to single characters.
class Traits {
public:
  explicit Traits(NormalForm form) : flags(0x110000) {
    std::vector<int32_t> characters;
    // Characters that may be put together with one before them.
    std::vector<bool> joins(0x110000);
    if (composes(form))
      for (int32_t c = 0; c < 0x110000; ++c) {
        if (!decomposes(c))
          continue;
        characters.clear();
        decompose(c, NormalForm::NFD, characters);
        for (size_t i = 1; i < characters.size(); ++i)
          joins[characters[i]] = true;
      }
    for (int32_t c = 0; c < 0x110000; ++c) {
      if (isSurrogate(c))
        continue;
      if (unicode::isUnknownToNormalForms(static_cast<char32_t>(c))) {
        flags[c] = separate | stable;
        continue;
      }
      if (!decomposes(c)) {
        bool isSeparate = combiningClass(c) == 0 && !joins[c];
        flags[c] = static_cast<uint8_t>((isSeparate ? separate : 0) | stable);
        continue;
      }
      characters.clear();
      decompose(c, form, characters);
      bool isSeparate = combiningClass(characters[0]) == 0 && !joins[characters[0]];
      if (characters.size() > 1 || characters[0] != c)
        finish(characters, form);
      bool isStable = characters.size() == 1 && characters[0] == c;
      flags[c] = static_cast<uint8_t>((isSeparate ? separate : 0) | (isStable ? stable : 0));
    }
  }

  /// Nothing before `c` changes it, nor does it change what is before.
  bool isSeparate(char32_t c) const { return flags[c] & separate; }
  /// By itself, `c` is in normal form.
  bool isStable(char32_t c) const { return flags[c] & stable; }

private:
  static constexpr uint8_t separate = 1, stable = 2;
  static bool decomposes(int32_t c) {
    return utf8proc_get_property(c)->decomp_seqindex != UINT16_MAX || (c >= 0xAC00 && c < 0xD7A4);
  }
  static bool isSurrogate(int32_t c) { return c >= 0xD800 && c < 0xE000; }

  std::vector<uint8_t> flags;
};

} // namespace

static const Traits &traitsOf(NormalForm form) {
  switch (form) {
  case NormalForm::NFC: {
    static const Traits traits(NormalForm::NFC);
    return traits;
  }
  case NormalForm::NFD: {
    static const Traits traits(NormalForm::NFD);
    return traits;
  }
  case NormalForm::NFKC: {
    static const Traits traits(NormalForm::NFKC);
    return traits;
  }
  case NormalForm::NFKD:
    break;
  }
  static const Traits traits(NormalForm::NFKD);
  return traits;
}

bool mlsys::rt::appendNormalForm(NormalForm form, std::string_view text, std::string &out) {
  size_t at = skipAscii(text, 0);
  if (at == text.size())
    return false;
  const Traits &traits = traitsOf(form);
  // `done` is how much of the text is in `out`, `before` where the last
  // character begins, which the next one may change.
  size_t done = 0, before = at == 0 ? 0 : at - 1;
  bool changed = false;
  std::vector<int32_t> run;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      at = skipAscii(text, at);
      before = at - 1;
      continue;
    }
    size_t next = at;
    char32_t c = nextCodePoint(text, next);
    if (traits.isSeparate(c) && traits.isStable(c)) {
      before = at;
      at = next;
      continue;
    }
    size_t from = traits.isSeparate(c) ? at : before;
    at = next;
    while (at < text.size()) {
      next = at;
      if (traits.isSeparate(nextCodePoint(text, next)))
        break;
      at = next;
    }
    out.append(text.substr(done, from - done));
    run.clear();
    for (size_t i = from; i < at;) {
      size_t start = i;
      char32_t member = nextCodePoint(text, i);
      if (unicode::isUnknownToNormalForms(member))
        out.append(text.substr(start, i - start));
      else
        decompose(static_cast<int32_t>(member), form, run);
    }
    finish(run, form);
    for (int32_t member : run)
      appendUtf8(out, static_cast<char32_t>(member));
    done = before = at;
    changed = true;
  }
  if (!changed)
    return false;
  out.append(text.substr(done));
  return true;
}
