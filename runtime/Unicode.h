//===- Unicode.h - What Unicode says about characters -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Hugging Face's tokenizers library is built of parts that know different
// versions of Unicode. These functions answer as those parts do.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlsys::rt::unicode {

/// General categories, in the order of the table.
enum class Category : uint8_t {
  Cn, Cc, Cf, Co, Cs, Ll, Lm, Lo, Lt, Lu, Mc, Me, Mn, Nd, Nl, No,
  Pc, Pd, Pe, Pf, Pi, Po, Ps, Sc, Sk, Sm, So, Zl, Zp, Zs
};

/// A set of categories; bit i stands for the category with number i.
using CategoryMask = uint32_t;

constexpr CategoryMask maskOf(Category category) {
  return CategoryMask(1) << static_cast<unsigned>(category);
}

/// The category of a code point, as patterns see it.
Category category(char32_t c);

/// The categories of a name such as "L", "Lu" or "Letter"; empty when there is
/// none.
std::optional<CategoryMask> findCategories(std::string_view name);

/// The number of a character's script, as patterns see it.
uint8_t script(char32_t c);

/// The number of the script with a name such as "Han"; case, spaces and
/// underscores do not matter.
std::optional<uint8_t> findScript(std::string_view name);

/// The script that the pre-tokenizer UnicodeScripts sees; 0 for what belongs to
/// any script.
uint8_t splitScript(char32_t c);

/// What `\w` matches in patterns: letters, marks, digits, connectors.
bool isPatternWord(char32_t c);

/// What `\w` matches elsewhere: also the two zero-width joiners.
bool isWord(char32_t c);

/// Digits and other numbers.
bool isNumeric(char32_t c);

/// Punctuation, and all ASCII symbols.
bool isPunctuation(char32_t c);

/// Characters that StripAccents removes.
bool isCombiningMark(char32_t c);

/// Characters that BertNormalizer removes as accents.
bool isNonspacingMark(char32_t c);

/// Characters that BertNormalizer removes as control characters.
bool isControl(char32_t c);

/// True for characters that the library's normal forms do not know: they stay
/// as they are and stand between their neighbours.
bool isUnknownToNormalForms(char32_t c);

/// Appends the lower case of `c`.
void appendLowercase(std::string &text, char32_t c);

} // namespace mlsys::rt::unicode
