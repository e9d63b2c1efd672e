//===- NormalizerSteps.cpp - The steps of normalizers ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/NormalizerSteps.h"

#include "runtime/ByteLevel.h"
#include "runtime/Charsmap.h"
#include "runtime/JsonFields.h"
#include "runtime/NormalForm.h"
#include "runtime/Unicode.h"
#include "runtime/Utf8.h"

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, normalizer";

namespace {

class ToNormalForm : public NormalizerStep {
public:
  explicit ToNormalForm(NormalForm form) : form(form) {}
  bool apply(std::string_view text, std::string &out, bool &) const override {
    return appendNormalForm(form, text, out);
  }

private:
  NormalForm form;
};

class Prepend : public NormalizerStep {
public:
  explicit Prepend(std::string prefix) : prefix(std::move(prefix)) {}
  bool apply(std::string_view text, std::string &out, bool &) const override {
    if (text.empty() || prefix.empty())
      return false;
    out.reserve(text.size() + prefix.size());
    out.append(prefix).append(text);
    return true;
  }

private:
  std::string prefix;
};

class Replace : public NormalizerStep {
public:
  explicit Replace(Replacement replacement) : replacement(std::move(replacement)) {}
  bool apply(std::string_view text, std::string &out, bool &atStart) const override {
    return replacement.apply(text, out, atStart);
  }

private:
  Replacement replacement;
};

/// Appends `text` without the characters for which `removes` is true.
template <typename Removes>
void filter(std::string_view text, std::string &out, bool &atStart, Removes removes) {
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    if (!removes(nextCodePoint(text, at)))
      out.append(text.substr(begin, at - begin));
    else if (begin == 0)
      atStart = false;
  }
}

class Lowercase : public NormalizerStep {
public:
  bool apply(std::string_view text, std::string &out, bool &) const override {
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();)
      unicode::appendLowercase(out, nextCodePoint(text, at));
    return true;
  }
};

class StripAccents : public NormalizerStep {
public:
  bool apply(std::string_view text, std::string &out, bool &atStart) const override {
    if (skipAscii(text, 0) == text.size())
      return false;
    filter(text, out, atStart, unicode::isCombiningMark);
    return true;
  }
};

class Strip : public NormalizerStep {
public:
  Strip(bool left, bool right) : left(left), right(right) {}
  bool apply(std::string_view text, std::string &out, bool &atStart) const override {
    size_t begin = 0, end = text.size();
    for (size_t next = 0; left && begin < end && isWhiteSpace(nextCodePoint(text, next));)
      begin = next;
    while (right && begin < end) {
      size_t before = end - 1;
      while ((text[before] & 0xC0) == 0x80)
        --before;
      size_t next = before;
      if (!isWhiteSpace(nextCodePoint(text, next)))
        break;
      end = before;
    }
    if (begin > 0)
      atStart = false;
    out.append(text.substr(begin, end - begin));
    return true;
  }

private:
  bool left, right;
};

/// The cleaning that neural machine translation models use.
class Nmt : public NormalizerStep {
public:
  bool apply(std::string_view text, std::string &out, bool &atStart) const override {
    std::string kept;
    filter(text, kept, atStart, isRemoved);
    for (size_t at = 0; at < kept.size();) {
      char32_t c = nextCodePoint(kept, at);
      appendUtf8(out, isSpace(c) ? U' ' : c);
    }
    return true;
  }

private:
  static bool isRemoved(char32_t c) {
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
  }
  static bool isSpace(char32_t c) {
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class ByteCharacters : public NormalizerStep {
public:
  bool apply(std::string_view text, std::string &out, bool &) const override {
    out = bytelevel::encode(text);
    return true;
  }
};

class Precompiled : public NormalizerStep {
public:
  explicit Precompiled(Charsmap charsmap) : charsmap(std::move(charsmap)) {}
  bool apply(std::string_view text, std::string &out, bool &) const override {
    return charsmap.apply(text, out);
  }

private:
  Charsmap charsmap;
};

/// Cleans text, sets Chinese characters apart, takes accents off and lowers
/// case, each if asked for.
class Bert : public NormalizerStep {
public:
  Bert(bool cleans, bool separatesChinese, bool stripsAccents, bool lowers)
      : cleans(cleans), separatesChinese(separatesChinese), stripsAccents(stripsAccents),
        lowers(lowers) {
    for (unsigned char c = 0; c < 128; ++c)
      ascii[c] = toAscii(c);
  }

  bool apply(std::string_view text, std::string &out, bool &atStart) const override {
    out.reserve(text.size() + text.size() / 4);
    // Up to the first character beyond ASCII all is said by a table.
    size_t at = 0;
    auto copyAscii = [&](std::string_view from, size_t end) {
      for (; at < end; ++at) {
        char c = ascii[static_cast<unsigned char>(from[at])];
        if (c != removed)
          out.push_back(c);
        else if (at == 0)
          atStart = false;
      }
    };
    copyAscii(text, skipAscii(text, 0));
    if (at == text.size())
      return true;
    // Accents may belong to the character before them.
    if (stripsAccents)
      return applyInSteps(text, out, atStart);
    while (at < text.size()) {
      size_t begin = at;
      char32_t c = nextCodePoint(text, at);
      if (c < 0x80) {
        at = begin;
        copyAscii(text, skipAscii(text, at));
      } else if (!(cleans && unicode::isControl(c))) {
        add(c, out);
      } else if (begin == 0) {
        atStart = false;
      }
    }
    return true;
  }

private:
  /// Stands in the table for characters that are left out.
  static constexpr char removed = static_cast<char>(0xFF);

  char toAscii(unsigned char c) const {
    if (cleans && (c == 0 || unicode::isControl(c)))
      return removed;
    if (cleans && isWhiteSpace(c))
      return ' ';
    return static_cast<char>(lowers && c >= 'A' && c <= 'Z' ? c + 32 : c);
  }

  static bool isChinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
  }

  /// Appends one kept character, with all changes but those of accents.
  void add(char32_t c, std::string &out) const {
    bool isApart = separatesChinese && isChinese(c);
    if (isApart)
      out.push_back(' ');
    if (cleans && isWhiteSpace(c))
      out.push_back(' ');
    else if (lowers)
      unicode::appendLowercase(out, c);
    else
      appendUtf8(out, c);
    if (isApart)
      out.push_back(' ');
  }

  /// The same with accents: clean, set apart, decompose, drop, lower.
  bool applyInSteps(std::string_view text, std::string &out, bool &atStart) const {
    std::string spread, decomposed;
    spread.reserve(text.size() + text.size() / 4);
    for (size_t at = 0; at < text.size();) {
      size_t begin = at;
      char32_t c = nextCodePoint(text, at);
      if (cleans && (c == 0 || unicode::isControl(c))) {
        if (begin == 0)
          atStart = false;
        continue;
      }
      if (cleans && isWhiteSpace(c))
        spread.push_back(' ');
      else if (separatesChinese && isChinese(c))
        spread.append(" ").append(text.substr(begin, at - begin)).append(" ");
      else
        spread.append(text.substr(begin, at - begin));
    }
    std::string_view form = spread;
    if (appendNormalForm(NormalForm::NFD, spread, decomposed))
      form = decomposed;
    out.clear();
    for (size_t at = 0; at < form.size();) {
      size_t begin = at;
      char32_t c = nextCodePoint(form, at);
      if (c >= 0x80 && unicode::isNonspacingMark(c)) {
        if (begin == 0)
          atStart = false;
      } else if (lowers) {
        unicode::appendLowercase(out, c);
      } else {
        out.append(form.substr(begin, at - begin));
      }
    }
    return true;
  }

  bool cleans, separatesChinese, stripsAccents, lowers;
  char ascii[128];
};

} // namespace

std::unique_ptr<const NormalizerStep>
mlsys::rt::makeNormalizerStep(const nlohmann::json &description) {
  const std::string &type = json::string(description, "type", where);
  auto flag = [&](const char *key, bool fallback) {
    return json::boolean(description, key, fallback, where);
  };
  if (type == "NFC")
    return std::make_unique<ToNormalForm>(NormalForm::NFC);
  if (type == "NFD")
    return std::make_unique<ToNormalForm>(NormalForm::NFD);
  if (type == "NFKC")
    return std::make_unique<ToNormalForm>(NormalForm::NFKC);
  if (type == "NFKD")
    return std::make_unique<ToNormalForm>(NormalForm::NFKD);
  if (type == "Lowercase")
    return std::make_unique<Lowercase>();
  if (type == "StripAccents")
    return std::make_unique<StripAccents>();
  if (type == "Strip")
    return std::make_unique<Strip>(flag("strip_left", true), flag("strip_right", true));
  if (type == "Prepend")
    return std::make_unique<Prepend>(json::string(description, "prepend", where));
  if (type == "Replace")
    return std::make_unique<Replace>(Replacement::fromJson(description, where));
  if (type == "Nmt")
    return std::make_unique<Nmt>();
  if (type == "ByteLevel")
    return std::make_unique<ByteCharacters>();
  if (type == "BertNormalizer") {
    bool lowers = flag("lowercase", true);
    return std::make_unique<Bert>(flag("clean_text", true), flag("handle_chinese_chars", true),
                                  flag("strip_accents", lowers), lowers);
  }
  if (type == "Precompiled")
    return std::make_unique<Precompiled>(
        Charsmap::fromBase64(json::string(description, "precompiled_charsmap", where)));
  throw Error("{} '{}' is not supported; supported are NFC, NFD, NFKC, NFKD, Lowercase, "
              "StripAccents, Strip, Replace, Prepend, Nmt, BertNormalizer, ByteLevel, Precompiled "
              "and Sequence",
              where, type);
}
