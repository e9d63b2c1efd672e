//===- Unicode.cpp - What Unicode says about characters -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Unicode.h"

#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <memory>
#include <vector>

using namespace mlsys::rt;
using namespace mlsys::rt::unicode;

#include "runtime/UnicodeTables.inc"

namespace {

/// A byte for each code point, in pages of 256 of which equal ones are shared.
class CodePointTable {
public:
  template <size_t count> explicit CodePointTable(const uint32_t (&runs)[count]) {
    bytes.reserve(256 * 400);
    size_t run = 0;
    int32_t uniform[256];
    std::fill(std::begin(uniform), std::end(uniform), -1);
    for (uint32_t page = 0; page < pages; ++page) {
      while (run + 1 < count && runs[run + 1] >> 8 <= page << 8)
        ++run;
      uint8_t value = runs[run] & 0xFF;
      bool isUniform = run + 1 == count || runs[run + 1] >> 8 >= (page + 1) << 8;
      if (isUniform && uniform[value] >= 0) {
        index[page] = static_cast<uint16_t>(uniform[value]);
        continue;
      }
      index[page] = static_cast<uint16_t>(bytes.size() >> 8);
      if (isUniform)
        uniform[value] = index[page];
      for (uint32_t c = page << 8; c < (page + 1) << 8; ++c) {
        while (run + 1 < count && runs[run + 1] >> 8 <= c)
          ++run;
        bytes.push_back(runs[run] & 0xFF);
      }
    }
  }

  uint8_t operator[](char32_t c) const {
    return c < 0x110000 ? bytes[size_t(index[c >> 8]) << 8 | (c & 0xFF)] : 0;
  }

private:
  static constexpr uint32_t pages = 0x1100;
  uint16_t index[pages];
  std::vector<uint8_t> bytes;
};

} // namespace

/// The category in the low five bits; above, 1 for characters that are new in
/// Unicode 9 and 2 for newer ones.
static uint8_t entry(char32_t c) {
  static const CodePointTable table(categoryRuns);
  return table[c];
}

static Category categoryOf(uint8_t entry) { return static_cast<Category>(entry & 31); }

static bool isIn(uint8_t entry, CategoryMask mask) { return mask >> (entry & 31) & 1; }

Category unicode::category(char32_t c) { return categoryOf(entry(c)); }

static constexpr CategoryMask letters = maskOf(Category::Ll) | maskOf(Category::Lm) |
                                        maskOf(Category::Lo) | maskOf(Category::Lt) |
                                        maskOf(Category::Lu);
static constexpr CategoryMask marks =
    maskOf(Category::Mc) | maskOf(Category::Me) | maskOf(Category::Mn);
static constexpr CategoryMask numbers =
    maskOf(Category::Nd) | maskOf(Category::Nl) | maskOf(Category::No);
static constexpr CategoryMask punctuation =
    maskOf(Category::Pc) | maskOf(Category::Pd) | maskOf(Category::Pe) | maskOf(Category::Pf) |
    maskOf(Category::Pi) | maskOf(Category::Po) | maskOf(Category::Ps);

/// `name` in lower case without spaces, underscores and hyphens.
static std::string simplify(std::string_view name) {
  std::string result;
  for (char c : name)
    if (c != ' ' && c != '_' && c != '-')
      result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

std::optional<CategoryMask> unicode::findCategories(std::string_view name) {
  struct Name {
    const char *brief, *full;
    CategoryMask mask;
  };
  constexpr CategoryMask all = (CategoryMask(1) << 30) - 1;
  constexpr CategoryMask others = maskOf(Category::Cn) | maskOf(Category::Cc) |
                                  maskOf(Category::Cf) | maskOf(Category::Co) |
                                  maskOf(Category::Cs);
  constexpr CategoryMask symbols = maskOf(Category::Sc) | maskOf(Category::Sk) |
                                   maskOf(Category::Sm) | maskOf(Category::So);
  constexpr CategoryMask separators =
      maskOf(Category::Zl) | maskOf(Category::Zp) | maskOf(Category::Zs);
  static const Name names[] = {
      {"c", "other", others},
      {"l", "letter", letters},
      {"m", "mark", marks},
      {"n", "number", numbers},
      {"p", "punctuation", punctuation},
      {"s", "symbol", symbols},
      {"z", "separator", separators},
      {"any", "any", all},
      {"assigned", "assigned", all & ~maskOf(Category::Cn)},
      {"lc", "casedletter",
       maskOf(Category::Ll) | maskOf(Category::Lt) | maskOf(Category::Lu)},
      {"cn", "unassigned", maskOf(Category::Cn)},
      {"cc", "control", maskOf(Category::Cc)},
      {"cf", "format", maskOf(Category::Cf)},
      {"co", "privateuse", maskOf(Category::Co)},
      {"cs", "surrogate", maskOf(Category::Cs)},
      {"ll", "lowercaseletter", maskOf(Category::Ll)},
      {"lm", "modifierletter", maskOf(Category::Lm)},
      {"lo", "otherletter", maskOf(Category::Lo)},
      {"lt", "titlecaseletter", maskOf(Category::Lt)},
      {"lu", "uppercaseletter", maskOf(Category::Lu)},
      {"mc", "spacingmark", maskOf(Category::Mc)},
      {"me", "enclosingmark", maskOf(Category::Me)},
      {"mn", "nonspacingmark", maskOf(Category::Mn)},
      {"nd", "decimalnumber", maskOf(Category::Nd)},
      {"nl", "letternumber", maskOf(Category::Nl)},
      {"no", "othernumber", maskOf(Category::No)},
      {"pc", "connectorpunctuation", maskOf(Category::Pc)},
      {"pd", "dashpunctuation", maskOf(Category::Pd)},
      {"pe", "closepunctuation", maskOf(Category::Pe)},
      {"pf", "finalpunctuation", maskOf(Category::Pf)},
      {"pi", "initialpunctuation", maskOf(Category::Pi)},
      {"po", "otherpunctuation", maskOf(Category::Po)},
      {"ps", "openpunctuation", maskOf(Category::Ps)},
      {"sc", "currencysymbol", maskOf(Category::Sc)},
      {"sk", "modifiersymbol", maskOf(Category::Sk)},
      {"sm", "mathsymbol", maskOf(Category::Sm)},
      {"so", "othersymbol", maskOf(Category::So)},
      {"zl", "lineseparator", maskOf(Category::Zl)},
      {"zp", "paragraphseparator", maskOf(Category::Zp)},
      {"zs", "spaceseparator", maskOf(Category::Zs)},
  };
  std::string wanted = simplify(name);
  for (const Name &entry : names)
    if (wanted == entry.brief || wanted == entry.full)
      return entry.mask;
  return std::nullopt;
}

uint8_t unicode::script(char32_t c) {
  static const CodePointTable table(scriptRuns);
  return table[c];
}

std::optional<uint8_t> unicode::findScript(std::string_view name) {
  std::string wanted = simplify(name);
  for (size_t i = 1; i < std::size(scriptNames); ++i)
    if (wanted == simplify(scriptNames[i]))
      return static_cast<uint8_t>(i);
  return std::nullopt;
}

uint8_t unicode::splitScript(char32_t c) {
  static const uint8_t common = *findScript("Common"), devanagari = *findScript("Devanagari"),
                       hiragana = *findScript("Hiragana"), katakana = *findScript("Katakana"),
                       han = *findScript("Han");
  if (c == ' ' || entry(c) >> 5 > 1)
    return 0;
  if (c == 0x30FC)
    return han;
  // Since Unicode 9 these have changed sides.
  if (c == 0x589 || c == 0x61C)
    return common;
  if (c == 0x953 || c == 0x954)
    return devanagari;
  uint8_t result = script(c);
  return result == hiragana || result == katakana ? han : result;
}

bool unicode::isPatternWord(char32_t c) {
  constexpr CategoryMask words =
      letters | marks | maskOf(Category::Nd) | maskOf(Category::Nl) | maskOf(Category::Pc);
  return isIn(entry(c), words) || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool unicode::isWord(char32_t c) { return isPatternWord(c) || c == 0x200C || c == 0x200D; }

bool unicode::isNumeric(char32_t c) {
  if (c < 0x80)
    return c >= '0' && c <= '9';
  return isIn(entry(c), numbers) || (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
}

bool unicode::isPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  uint8_t value = entry(c);
  return (value >> 5 == 0 && isIn(value, punctuation)) || c == 0x166D || c == 0x111C9;
}

bool unicode::isCombiningMark(char32_t c) {
  uint8_t value = entry(c);
  if (c == 0x111C9)
    return false;
  return (value >> 5 < 2 && isIn(value, marks)) || c == 0x1CF2 || c == 0x1CF3;
}

bool unicode::isNonspacingMark(char32_t c) {
  uint8_t value = entry(c);
  if (c == 0x1885 || c == 0x1886 || c == 0xA9BD || c == 0x111C9)
    return false;
  return (value >> 5 == 0 && categoryOf(value) == Category::Mn) || c == 0x1734 || c == 0x1171E;
}

bool unicode::isControl(char32_t c) {
  uint8_t value = entry(c);
  switch (categoryOf(value)) {
  case Category::Cc:
    return c != '\t' && c != '\n' && c != '\r';
  case Category::Cf:
  case Category::Co:
    return value >> 5 == 0;
  default:
    return c == 0xFFFD;
  }
}

bool unicode::isUnknownToNormalForms(char32_t c) {
  uint8_t value = entry(c);
  return value >> 5 > 1 || categoryOf(value) == Category::Cn;
}

void unicode::appendLowercase(std::string &text, char32_t c) {
  if (c < 0x80)
    return text.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  if (c == 0x130)
    return text.append("i\u0307"), void();
  // Newer than some releases of utf8proc.
  struct Run {
    char32_t first, last, lower;
  };
  static constexpr Run runs[] = {
      {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},     {0xA7CC, 0xA7CC, 0xA7CD},
      {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},
      {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x19B},     {0x10D50, 0x10D65, 0x10D70},
      {0x16EA0, 0x16EB8, 0x16EBB},
  };
  for (const Run &run : runs)
    if (c >= run.first && c <= run.last)
      return appendUtf8(text, run.lower + (c - run.first));
  appendUtf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}
