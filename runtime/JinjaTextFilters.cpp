//===- JinjaTextFilters.cpp - Filters of text and numbers -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaCall.h"

#include "runtime/Error.h"
#include "runtime/JinjaWrap.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

//===----------------------------------------------------------------------===//
// Layout
//===----------------------------------------------------------------------===//

static Value indentFilter(const Call &call) {
  Value width = call.optional(0, "width");
  std::string margin;
  if (width.isString()) {
    margin = width.string();
  } else {
    int64_t count = width.isNone() ? 4 : width.integer("indent's width");
    margin.assign(std::clamp<int64_t>(count, 0, 1000), ' ');
  }
  bool first = call.flag(1, "first"), blank = call.flag(2, "blank");
  std::string out;
  bool atStart = true;
  // The newline makes an empty line behind the last one, which Python's splitlines drops.
  for (const std::string &line : splitLines(call.text() + "\n", false)) {
    call.budget.spend(margin.size() + line.size());
    if (!atStart)
      out += '\n';
    if (atStart ? first : blank || !line.empty())
      out += margin;
    out += line;
    atStart = false;
  }
  return out;
}

static Value truncateFilter(const Call &call) {
  std::string end = call.arguments.find(2, "end") ? call.optional(2, "end").text() : "...";
  int64_t length = call.integer(0, "length", 255), leeway = call.integer(3, "leeway", 5);
  int64_t endLength = int64_t(countCodePoints(end));
  if (length < endLength || leeway < 0)
    throw Error("truncate: expected a length of at least {} and a leeway of at least 0", endLength);
  std::string text = call.text();
  // Beyond all texts there are, so that the sum stays in bounds.
  leeway = std::min<int64_t>(leeway, int64_t(1) << 32);
  if (int64_t(countCodePoints(text)) <= std::min<int64_t>(length, int64_t(1) << 32) + leeway)
    return text;
  std::string cut =
      slice(Value(text), Value(), Value(length - endLength), Value(), call.budget).string();
  if (!call.flag(1, "killwords"))
    cut = cut.substr(0, cut.rfind(' '));
  return cut + end;
}

static Value wordWrapFilter(const Call &call) {
  int64_t width = call.integer(0, "width", 79);
  if (width <= 0)
    throw Error("wordwrap: the width must be above 0, not {}", width);
  auto flag = [&](size_t index, const char *name) {
    return !call.arguments.find(index, name) || call.flag(index, name);
  };
  Value given = call.optional(2, "wrapstring");
  std::string newline = given.isNone() ? "\n" : given.text(), out;
  bool first = true;
  for (const std::string &line : splitLines(call.text(), false)) {
    std::vector<std::string> wrapped = wrapLine(line, size_t(width), flag(1, "break_long_words"),
                                                flag(3, "break_on_hyphens"));
    if (wrapped.empty())
      wrapped.emplace_back();
    for (const std::string &part : wrapped) {
      call.budget.spend(part.size() + newline.size());
      out.append(first ? "" : newline).append(part);
      first = false;
    }
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Escapes
//===----------------------------------------------------------------------===//

static std::string escaped(const std::string &text) {
  std::string out;
  for (char c : text) {
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&#34;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  }
  return out;
}

static Value escapeFilter(const Call &call) {
  std::string out = escaped(call.text());
  call.budget.spend(out.size());
  return out;
}

static Value xmlAttributes(const Call &call) {
  if (!call.value.isMapping())
    throw Error("xmlattr needs a dict, not {}", call.value.typeName());
  std::string out;
  for (const auto &[key, value] : call.value.dict().entries) {
    if (value.isNone() || value.isUndefined())
      continue;
    if (key.text().find_first_of(" \t\n\v\f\r/>=") != std::string::npos)
      throw Error("xmlattr: {} is no name of an attribute", key.repr());
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : " ", escaped(key.text()),
                       escaped(value.text()));
    call.budget.spend(out.size());
  }
  const Value *space = call.arguments.find(0, "autospace");
  return out.empty() || (space && !space->truth()) ? out : " " + out;
}

/// Percent escapes of all that stands for something in a URL.
static std::string urlQuoted(const std::string &text, bool inQuery) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("_.-~").find(c) != std::string_view::npos ||
                 (c == '/' && !inQuery);
    if (plain)
      out += c;
    else if (c == ' ' && inQuery)
      out += '+';
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

static Value urlEncode(const Call &call) {
  if (!call.value.isMapping() && !call.value.hasItems())
    return urlQuoted(call.text(), false);
  std::vector<Value> pairs;
  if (call.value.isMapping())
    for (const auto &[key, value] : call.value.dict().entries)
      pairs.push_back(Value::tuple({key, value}));
  else
    pairs = call.items();
  std::string out;
  for (const Value &pair : pairs) {
    std::vector<Value> parts = itemsOf(pair, call.budget);
    if (parts.size() != 2)
      throw Error("urlencode needs pairs, not {} items", parts.size());
    out += fmt::format("{}{}={}", out.empty() ? "" : "&", urlQuoted(parts[0].text(), true),
                       urlQuoted(parts[1].text(), true));
    call.budget.spend(out.size());
  }
  return out;
}

static Value toJsonFilter(const Call &call) {
  JsonStyle style;
  for (const auto &[name, value] : call.arguments.named)
    if (name != "indent" && name != "sort_keys" && name != "ensure_ascii" && name != "separators")
      throw Error("tojson does not support '{}'", name);
  style.ensureAscii = call.flag(0, "ensure_ascii");
  Value indent = call.optional(1, "indent"), separators = call.optional(2, "separators");
  style.sortKeys = call.flag(3, "sort_keys");
  if (indent.isString())
    style.indent = indent.string();
  else if (!indent.isNone())
    style.indent.emplace(size_t(std::clamp<int64_t>(indent.integer("indent"), 0, 64)), ' ');
  if (style.indent)
    style.itemSeparator = ",";
  if (!separators.isNone()) {
    std::vector<Value> both = itemsOf(separators, call.budget);
    if (both.size() != 2 || !both[0].isString() || !both[1].isString())
      throw Error("tojson: the separators must be two str");
    style.itemSeparator = both[0].string();
    style.keySeparator = both[1].string();
  }
  std::string text = toJson(defined(call.value), style);
  call.budget.spend(text.size());
  return text;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// The digits of a number without the underscores that Python allows between them; empty when
/// it has others.
static std::string withoutUnderscores(const std::string &text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i + 1] != '_';
    if (text[i] != '_')
      out += text[i];
    else if (!between)
      return "";
  }
  return out;
}

static Value intFilter(const Call &call) {
  const Value *given = call.arguments.find(0, "default");
  Value fallback = given ? *given : Value(int64_t(0));
  if (call.value.isFloat()) {
    double number = std::trunc(call.value.number("int"));
    return std::abs(number) < 9e18 ? Value(static_cast<int64_t>(number)) : fallback;
  }
  if (call.value.isNumber())
    return call.value.integer("int");
  defined(call.value);
  if (!call.value.isString())
    return fallback;
  int64_t base = call.integer(1, "base", 10);
  if (base != 0 && (base < 2 || base > 36))
    return fallback;
  std::string text = withoutUnderscores(strip(call.text(), Value(), 0));
  bool negative = text.starts_with('-');
  std::string digits = text.substr(negative || text.starts_with('+'));
  if (digits.size() > 1 && digits[0] == '0') {
    char kind = char(std::tolower(static_cast<unsigned char>(digits[1])));
    int64_t says = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (says != 0 && (base == says || base == 0)) {
      digits.erase(0, 2);
      base = says;
    }
  }
  if (digits.starts_with('-') || digits.starts_with('+'))
    return fallback;
  digits.insert(0, negative ? "-" : "");
  const char *end = digits.data() + digits.size();
  int64_t whole;
  if (auto result = std::from_chars(digits.data(), end, whole, int(base ? base : 10));
      result.ec == std::errc() && result.ptr == end)
    return whole;
  double number;
  if (auto result = std::from_chars(digits.data(), end, number);
      result.ec == std::errc() && result.ptr == end && std::abs(number) < 9e18)
    return static_cast<int64_t>(number);
  return fallback;
}

static Value floatFilter(const Call &call) {
  const Value *given = call.arguments.find(0, "default");
  Value fallback = given ? *given : Value(0.0);
  if (call.value.isNumber())
    return call.value.number("float");
  if (!defined(call.value).isString())
    return fallback;
  std::string text = withoutUnderscores(strip(call.text(), Value(), 0));
  double number;
  size_t sign = text.starts_with('+');
  const char *end = text.data() + text.size();
  auto result = std::from_chars(text.data() + sign, end, number);
  return result.ec == std::errc() && result.ptr == end ? Value(number)
                                                       : fallback;
}

static Value absFilter(const Call &call) {
  if (call.value.isFloat())
    return std::abs(call.value.number("abs"));
  int64_t value = defined(call.value).integer("abs");
  if (value == INT64_MIN)
    throw Error("a number is too large");
  return value < 0 ? -value : value;
}

static Value roundFilter(const Call &call) {
  int64_t precision = call.integer(0, "precision", 0);
  const Value *given = call.arguments.find(1, "method");
  std::string how = given ? given->text() : "common";
  if (how != "common" && how != "ceil" && how != "floor")
    throw Error("round: the method must be common, ceil or floor, not {}", how);
  double value = defined(call.value).number("round");
  if (how == "common") {
    if (!call.value.isFloat() && precision >= 0)
      return call.value.integer("round");
    double rounded = roundTo(value, precision);
    return call.value.isFloat() ? Value(rounded) : Value(static_cast<int64_t>(rounded));
  }
  double scale = std::pow(10.0, double(precision));
  return (how == "ceil" ? std::ceil(value * scale) : std::floor(value * scale)) / scale;
}

static Value fileSize(const Call &call) {
  static const Arguments noDefault = {{Value()}, {}};
  Value parsed = floatFilter({call.name, call.value, noDefault, call.budget});
  double bytes = parsed.number("the value of filesizeformat");
  bool binary = call.flag(0, "binary");
  double base = binary ? 1024 : 1000;
  if (bytes == 1)
    return "1 Byte";
  if (bytes < base)
    return fmt::format("{} Bytes", static_cast<int64_t>(bytes));
  std::string_view prefixes = binary ? "KMGTPEZY" : "kMGTPEZY";
  double unit = base;
  size_t which = 0;
  while (which + 1 < prefixes.size() && bytes >= unit * base) {
    unit *= base;
    ++which;
  }
  return fmt::format("{:.1f} {}{}", bytes / unit, prefixes[which], binary ? "iB" : "B");
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

/// Runs of letters, digits and underscores.
static Value countWords(const Call &call) {
  int64_t count = 0;
  bool inWord = false;
  std::string text = call.text();
  for (size_t i = 0; i < text.size();) {
    auto category = utf8proc_category(static_cast<utf8proc_int32_t>(nextCodePoint(text, i)));
    bool isWord = (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
                  (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) ||
                  text[i - 1] == '_';
    count += isWord && !inWord;
    inWord = isWord;
  }
  return count;
}

static Value formatFilter(const Call &call) {
  const Arguments &given = call.arguments;
  if (!given.positional.empty() && !given.named.empty())
    throw Error("format takes values or names, not both");
  Value values = Value::tuple(given.positional);
  if (!given.named.empty()) {
    auto dict = makeObject<DictObject>();
    for (const auto &[name, value] : given.named)
      dict->set(Value(name), value);
    values = dict;
  }
  return formatPercent(call.text(), values, call.budget);
}

const FilterTable &jinja::textFilters() {
  static const FilterTable table = {
      {"abs", absFilter},
      {"capitalize",
       [](const Call &c) {
         return Value(changeCase(c.text(), Case::Capital));
       }},
      {"center",
       [](const Call &c) {
         return Value(pad(c.text(), c.integer(0, "width", 80), " ", 0, c.budget));
       }},
      {"e", escapeFilter},
      {"escape", escapeFilter},
      {"filesizeformat", fileSize},
      {"float", floatFilter},
      {"forceescape", escapeFilter},
      {"format", formatFilter},
      {"indent", indentFilter},
      {"int", intFilter},
      {"lower",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Lower)); }},
      {"replace",
       [](const Call &c) {
         return callStringMethod(Value(c.text()), "replace", c.arguments, c.budget);
       }},
      {"round", roundFilter},
      {"safe", [](const Call &c) { return Value(c.text()); }},
      {"string", [](const Call &c) { return Value(c.text()); }},
      {"title",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Title)); }},
      {"tojson", toJsonFilter},
      {"trim",
       [](const Call &c) {
         return Value(strip(c.text(), c.optional(0, "chars"), 0));
       }},
      {"truncate", truncateFilter},
      {"upper",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Upper)); }},
      {"urlencode", urlEncode},
      {"wordcount", countWords},
      {"wordwrap", wordWrapFilter},
      {"xmlattr", xmlAttributes},
  };
  return table;
}
