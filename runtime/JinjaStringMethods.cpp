//===- JinjaStringMethods.cpp - Methods of Python's str ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

//===----------------------------------------------------------------------===//
// Letters
//===----------------------------------------------------------------------===//

static utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

static bool isUpper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
static bool isLower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL; }
static bool isTitle(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
static bool isLetter(char32_t c) {
  return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LO;
}
static bool isDecimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

/// Python's str.title, whose words are runs of letters.
static std::string titleOf(const std::string &text) {
  std::string out;
  bool inWord = false;
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<utf8proc_int32_t>(nextCodePoint(text, i));
    appendUtf8(out, inWord ? utf8proc_tolower(c) : utf8proc_totitle(c));
    inWord = isUpper(c) || isLower(c) || isTitle(c);
  }
  return out;
}

static std::string swapCase(const std::string &text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    char32_t c = nextCodePoint(text, i);
    std::string letter = text.substr(begin, i - begin);
    out += isUpper(c)   ? changeCase(letter, Case::Lower)
           : isLower(c) ? changeCase(letter, Case::Upper)
                        : letter;
  }
  return out;
}

/// str.istitle: capital letters begin words and only those.
static bool isTitleCased(const std::string &text) {
  bool cased = false, inWord = false;
  for (size_t i = 0; i < text.size();) {
    char32_t c = nextCodePoint(text, i);
    if (isUpper(c) || isTitle(c)) {
      if (inWord)
        return false;
      cased = inWord = true;
    } else if (isLower(c)) {
      if (!inWord)
        return false;
    } else {
      inWord = false;
    }
  }
  return cased;
}

/// The methods is...().
static bool hasProperty(const std::string &text, const std::string &name) {
  if (name == "istitle")
    return isTitleCased(text);
  bool cased = name == "isupper" || name == "islower";
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    char32_t c = nextCodePoint(text, i);
    if (cased) {
      if (name == "isupper" ? isLower(c) || isTitle(c) : isUpper(c) || isTitle(c))
        return false;
      any |= isUpper(c) || isLower(c);
      continue;
    }
    bool holds = name == "isspace"   ? isPythonSpace(c)
                 : name == "isascii" ? c < 0x80
                 : name == "isalpha" ? isLetter(c)
                 : name == "isalnum" ? isLetter(c) || isDecimal(c)
                                     : isDecimal(c);
    if (!holds)
      return false;
    any = true;
  }
  return any || name == "isascii";
}

//===----------------------------------------------------------------------===//
// Widths
//===----------------------------------------------------------------------===//

/// str.zfill: zeros behind the sign.
static std::string fillZeros(const std::string &text, int64_t width, Budget &budget) {
  size_t sign = text.starts_with('+') || text.starts_with('-');
  return text.substr(0, sign) +
         pad(text.substr(sign), width - static_cast<int64_t>(sign), "0", 1, budget);
}

static std::string expandTabs(const std::string &text, int64_t size, Budget &budget) {
  std::string out;
  int64_t column = 0;
  for (const std::string &c : characters(text)) {
    if (c == "\t") {
      int64_t spaces = size > 0 ? size - column % size : 0;
      budget.spend(size_t(spaces));
      out.append(size_t(spaces), ' ');
      column += spaces;
    } else {
      out += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Splitting and searching
//===----------------------------------------------------------------------===//

/// str.split and str.rsplit at white space.
static std::vector<std::string> splitSpace(const std::string &text, int64_t most,
                                           bool fromRight) {
  struct Word {
    size_t begin, end;
  };
  std::vector<Word> words;
  bool inWord = false;
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    bool space = isPythonSpace(nextCodePoint(text, i));
    if (!space && !inWord)
      words.push_back({begin, i});
    else if (!space)
      words.back().end = i;
    inWord = !space;
  }
  if (most >= 0 && int64_t(words.size()) > most) {
    // What is left in one piece runs to the edge of the text, less the white space there.
    if (fromRight) {
      size_t keep = words.size() - size_t(most);
      Word rest = {0, words[keep - 1].end};
      words.erase(words.begin(), words.begin() + long(keep));
      words.insert(words.begin(), rest);
    } else {
      words.resize(size_t(most) + 1);
      words.back().end = text.size();
    }
  }
  std::vector<std::string> parts;
  for (const Word &word : words)
    parts.push_back(text.substr(word.begin, word.end - word.begin));
  return parts;
}

static Value split(const std::string &text, const Value &separator, int64_t most,
                   bool fromRight) {
  std::vector<std::string> parts;
  if (separator.isNone()) {
    parts = splitSpace(text, most, fromRight);
  } else {
    if (!separator.isString() || separator.string().empty())
      throw Error("split needs a separator that is a str and not empty");
    const std::string &cut = separator.string();
    std::string rest = text;
    while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
      size_t at = fromRight ? rest.rfind(cut) : rest.find(cut);
      if (at == std::string::npos)
        break;
      parts.push_back(fromRight ? rest.substr(at + cut.size()) : rest.substr(0, at));
      fromRight ? rest.erase(at) : rest.erase(0, at + cut.size());
    }
    parts.push_back(rest);
    if (fromRight)
      std::reverse(parts.begin(), parts.end());
  }
  return Value::list({parts.begin(), parts.end()});
}

static Value partition(const std::string &text, const std::string &separator, bool last) {
  if (separator.empty())
    throw Error("partition needs a separator that is not empty");
  size_t at = last ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos)
    return last ? Value::tuple({"", "", text}) : Value::tuple({text, "", ""});
  return Value::tuple(
      {text.substr(0, at), separator, text.substr(at + separator.size())});
}

static std::string replaceText(const std::string &text, const std::string &from,
                               const std::string &to, int64_t most,
                               Budget &budget) {
  std::string out;
  if (from.empty()) {
    // Between all characters, before the first and behind the last.
    size_t at = 0;
    for (; most != 0 && at <= text.size(); --most) {
      size_t length = at < text.size() ? codePointLength(text[at]) : 0;
      budget.spend(to.size() + length);
      out.append(to).append(text, at, length);
      at += std::max<size_t>(length, 1);
    }
    return at < text.size() ? out.append(text, at) : out;
  }
  size_t begin = 0;
  for (size_t at;
       most != 0 && (at = text.find(from, begin)) != std::string::npos;
       --most) {
    budget.spend(at - begin + to.size());
    out.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  return out.append(text, begin);
}

/// True when `text` begins (or ends) with the str, or with one of the tuple.
static bool hasAffix(const std::string &text, const Value &affix,
                     bool atStart) {
  if (affix.isTuple()) {
    for (const Value &item : affix.list().items)
      if (hasAffix(text, item, atStart))
        return true;
    return false;
  }
  if (!affix.isString())
    throw Error("startswith and endswith need a str, not {}", affix.typeName());
  return atStart ? text.starts_with(affix.string())
                 : text.ends_with(affix.string());
}

//===----------------------------------------------------------------------===//
// The table of methods
//===----------------------------------------------------------------------===//

namespace {
/// What a method is given.
struct MethodCall {
  const std::string &name;
  const std::string &text;
  const Arguments &arguments;
  Budget &budget;

  Value optional(size_t index, const char *argument) const {
    const Value *value = arguments.find(index, argument);
    return value ? *value : Value();
  }
  const std::string &string(size_t index, const char *argument) const {
    const Value &value = arguments.get(index, argument, name);
    if (!value.isString())
      throw Error("{} needs a str as '{}', not {}", name, argument,
                  value.typeName());
    return value.string();
  }
  int64_t integer(size_t index, const char *argument, int64_t fallback) const {
    Value value = optional(index, argument);
    return value.isNone() ? fallback : value.integer(argument);
  }
  /// The width and the fill character of center, ljust and rjust.
  std::string padded(int side) const {
    std::string fill = arguments.find(1, "fillchar") ? string(1, "fillchar") : " ";
    if (countCodePoints(fill) != 1)
      throw Error("{} fills with one character", name);
    return pad(text, arguments.get(0, "width", name).integer("width"), fill, side, budget);
  }
  /// The part of the text that the arguments `index` and the next one bound, as characters;
  /// `offset` is how many stand before it.
  std::string part(size_t index, int64_t &offset) const {
    offset = 0;
    Value start = optional(index, "start"), end = optional(index + 1, "end");
    if (start.isNone() && end.isNone())
      return text;
    if (!start.isNone()) {
      int64_t size = static_cast<int64_t>(countCodePoints(text));
      int64_t at = start.integer("start");
      offset = std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
    }
    return slice(Value(text), start, end, Value(), budget).string();
  }
};
} // namespace

static Value findText(const MethodCall &call) {
  int64_t offset;
  std::string part = call.part(1, offset);
  const std::string &needle = call.string(0, "sub");
  bool last = call.name.starts_with('r');
  size_t at = last ? part.rfind(needle) : part.find(needle);
  if (at != std::string::npos)
    return offset + static_cast<int64_t>(
                        countCodePoints(std::string_view(part).substr(0, at)));
  if (call.name.ends_with("index"))
    throw Error("the text does not hold {}", Value(needle).repr());
  return int64_t(-1);
}

static Value countText(const MethodCall &call) {
  int64_t offset;
  std::string part = call.part(1, offset);
  const std::string &needle = call.string(0, "sub");
  if (needle.empty())
    return static_cast<int64_t>(countCodePoints(part)) + 1;
  int64_t found = 0;
  for (size_t at = 0; (at = part.find(needle, at)) != std::string::npos; at += needle.size())
    ++found;
  return found;
}

static Value affixMethod(const MethodCall &call) {
  int64_t offset;
  std::string part = call.part(1, offset);
  return hasAffix(part, call.arguments.get(0, "prefix", call.name), call.name == "startswith");
}

static Value removeAffix(const MethodCall &call) {
  const std::string &affix = call.string(0, "affix"), &text = call.text;
  bool prefix = call.name == "removeprefix";
  if (prefix ? !text.starts_with(affix) : !text.ends_with(affix))
    return text;
  return text.substr(prefix ? affix.size() : 0, text.size() - affix.size());
}

static Value joinMethod(const MethodCall &call) {
  std::string out;
  bool first = true;
  for (const Value &item : itemsOf(call.arguments.get(0, "iterable", call.name), call.budget)) {
    if (!item.isString())
      throw Error("join needs items that are str, not {}", item.typeName());
    call.budget.spend(call.text.size() + item.string().size());
    out.append(first ? "" : call.text).append(item.string());
    first = false;
  }
  return out;
}

using Method = Value (*)(const MethodCall &);

static const std::map<std::string, Method, std::less<>> &methods() {
  static const Method property = [](const MethodCall &c) {
    return Value(hasProperty(c.text, c.name));
  };
  static const Method splits = [](const MethodCall &c) {
    return split(c.text, c.optional(0, "sep"), c.integer(1, "maxsplit", -1),
                 c.name.starts_with('r'));
  };
  static const Method partitions = [](const MethodCall &c) {
    return partition(c.text, c.string(0, "sep"), c.name.starts_with('r'));
  };
  static const std::map<std::string, Method, std::less<>> table = {
      {"capitalize", [](const MethodCall &c) { return Value(changeCase(c.text, Case::Capital)); }},
      {"casefold", [](const MethodCall &c) { return Value(changeCase(c.text, Case::Lower)); }},
      {"center", [](const MethodCall &c) { return Value(c.padded(0)); }},
      {"count", countText},
      {"endswith", affixMethod},
      {"expandtabs",
       [](const MethodCall &c) {
         return Value(expandTabs(c.text, c.integer(0, "tabsize", 8), c.budget));
       }},
      {"find", findText},
      {"format",
       [](const MethodCall &c) { return Value(formatBraces(c.text, c.arguments, c.budget)); }},
      {"index", findText},
      {"isalnum", property},
      {"isalpha", property},
      {"isascii", property},
      {"isdecimal", property},
      {"isdigit", property},
      {"islower", property},
      {"isnumeric", property},
      {"isspace", property},
      {"istitle", property},
      {"isupper", property},
      {"join", joinMethod},
      {"ljust", [](const MethodCall &c) { return Value(c.padded(-1)); }},
      {"lower", [](const MethodCall &c) { return Value(changeCase(c.text, Case::Lower)); }},
      {"lstrip",
       [](const MethodCall &c) { return Value(strip(c.text, c.optional(0, "chars"), -1)); }},
      {"partition", partitions},
      {"removeprefix", removeAffix},
      {"removesuffix", removeAffix},
      {"replace",
       [](const MethodCall &c) {
         return Value(replaceText(c.text, c.string(0, "old"), c.string(1, "new"),
                                  c.integer(2, "count", -1), c.budget));
       }},
      {"rfind", findText},
      {"rindex", findText},
      {"rjust", [](const MethodCall &c) { return Value(c.padded(1)); }},
      {"rpartition", partitions},
      {"rsplit", splits},
      {"rstrip",
       [](const MethodCall &c) { return Value(strip(c.text, c.optional(0, "chars"), 1)); }},
      {"split", splits},
      {"splitlines",
       [](const MethodCall &c) {
         std::vector<std::string> lines =
             splitLines(c.text, c.optional(0, "keepends").truth());
         return Value::list({lines.begin(), lines.end()});
       }},
      {"startswith", affixMethod},
      {"strip",
       [](const MethodCall &c) { return Value(strip(c.text, c.optional(0, "chars"), 0)); }},
      {"swapcase", [](const MethodCall &c) { return Value(swapCase(c.text)); }},
      {"title", [](const MethodCall &c) { return Value(titleOf(c.text)); }},
      {"upper", [](const MethodCall &c) { return Value(changeCase(c.text, Case::Upper)); }},
      {"zfill",
       [](const MethodCall &c) {
         return Value(fillZeros(c.text, c.arguments.get(0, "width", c.name).integer("width"),
                                c.budget));
       }},
  };
  return table;
}

bool jinja::isStringMethod(std::string_view name) {
  return methods().find(name) != methods().end();
}

Value jinja::callStringMethod(const Value &object, const std::string &name,
                              const Arguments &arguments, Budget &budget) {
  budget.spend(object.string().size());
  return methods().at(name)({name, object.string(), arguments, budget});
}
