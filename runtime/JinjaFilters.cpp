//===- JinjaFilters.cpp - Filters and tests of chat templates -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

namespace {
/// What a filter or test is given.
struct Call {
  const std::string &name;
  const Value &value;
  const Arguments &arguments;
  Budget &budget;

  /// Argument `index` or none.
  Value optional(size_t index, std::string_view argument) const {
    const Value *found = arguments.find(index, argument);
    return found ? *found : Value();
  }
  bool flag(size_t index, std::string_view argument) const {
    return optional(index, argument).truth();
  }
  const Value &required(size_t index, std::string_view argument) const {
    return arguments.get(index, argument, name);
  }
  std::string text() const {
    std::string result = value.text();
    budget.spend(result.size());
    return result;
  }
  std::vector<Value> items() const { return itemsOf(value, budget); }
};
} // namespace

//===----------------------------------------------------------------------===//
// Text filters
//===----------------------------------------------------------------------===//

/// How letters are mapped, one by one.
enum class Case { Upper, Lower, Title, Capital };

static std::string changeCase(const std::string &text, Case wanted) {
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
    // Jinja's title starts words at spaces, hyphens and opening brackets.
    inWord = wanted == Case::Capital ||
             !(isWhiteSpace(c) || std::u32string_view(U"-({[<").find(c) !=
                                      std::u32string_view::npos);
  }
  return out;
}

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
  std::string text = call.text(), out;
  bool atStart = true;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    call.budget.spend(margin.size());
    if ((atStart && first) || (!atStart && (blank || end > begin)))
      out += margin;
    out.append(text, begin, end - begin);
    if (end < text.size())
      out += '\n';
    begin = end + 1;
    atStart = false;
  }
  return out;
}

static Value escapeFilter(const Call &call) {
  std::string out;
  for (char c : call.text()) {
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
  call.budget.spend(out.size());
  return out;
}

static Value toJsonFilter(const Call &call) {
  JsonStyle style;
  Value indent = call.optional(1, "indent");
  for (const auto &[name, value] : call.arguments.named)
    if (name != "indent" && name != "sort_keys" && name != "ensure_ascii" &&
        !(name == "separators" && value.isNone()))
      throw Error("tojson does not support '{}'", name);
  if (!indent.isNone())
    style.indent =
        static_cast<int>(std::clamp<int64_t>(indent.integer("indent"), 0, 64));
  style.sortKeys = call.flag(3, "sort_keys");
  if (call.flag(0, "ensure_ascii"))
    throw Error("tojson does not support ensure_ascii");
  std::string text = toJson(defined(call.value), style);
  call.budget.spend(text.size());
  return text;
}

static Value intFilter(const Call &call) {
  Value fallback = call.optional(0, "default");
  if (fallback.isNone())
    fallback = int64_t(0);
  if (call.value.isFloat()) {
    double number = std::trunc(call.value.number("int"));
    if (std::abs(number) < 9e18)
      return static_cast<int64_t>(number);
    return fallback;
  }
  if (call.value.isNumber())
    return call.value.integer("int");
  std::string text = strip(call.text(), Value(), 0);
  size_t sign = text.starts_with('+');
  int64_t whole;
  const char *end = text.data() + text.size();
  if (auto result = std::from_chars(text.data() + sign, end, whole);
      result.ec == std::errc() && result.ptr == end)
    return whole;
  double number;
  if (auto result = std::from_chars(text.data() + sign, end, number);
      result.ec == std::errc() && result.ptr == end && std::abs(number) < 9e18)
    return static_cast<int64_t>(number);
  return fallback;
}

static Value floatFilter(const Call &call) {
  Value fallback = call.optional(0, "default");
  if (fallback.isNone())
    fallback = 0.0;
  if (call.value.isNumber())
    return call.value.number("float");
  std::string text = strip(call.text(), Value(), 0);
  double number;
  const char *end = text.data() + text.size();
  auto result =
      std::from_chars(text.data() + text.starts_with('+'), end, number);
  return result.ec == std::errc() && result.ptr == end ? Value(number)
                                                       : fallback;
}

//===----------------------------------------------------------------------===//
// List filters
//===----------------------------------------------------------------------===//

/// The attribute of an item that `path` names, with dots for more than one
/// step.
static Value attributePath(Value item, const Value &path, Budget &budget) {
  if (path.isInteger())
    return subscript(item, path, budget);
  if (!path.isString())
    throw Error("an attribute must be a str, not {}", path.typeName());
  std::string_view rest = path.string();
  while (!rest.empty()) {
    size_t dot = std::min(rest.find('.'), rest.size());
    item = subscript(item, Value(rest.substr(0, dot)), budget);
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return item;
}

static Value joinFilter(const Call &call) {
  Value separator = call.optional(0, "d"), path = call.optional(1, "attribute");
  std::string between = separator.isNone() ? "" : separator.text(), out;
  bool first = true;
  for (const Value &item : call.items()) {
    std::string part =
        (path.isNone() ? item : attributePath(item, path, call.budget)).text();
    call.budget.spend(between.size() + part.size());
    if (!first)
      out += between;
    out += part;
    first = false;
  }
  return out;
}

static Value sortFilter(const Call &call) {
  std::vector<Value> items = call.items();
  bool descending = call.flag(0, "reverse"),
       caseSensitive = call.flag(1, "case_sensitive");
  Value path = call.optional(2, "attribute");
  std::vector<std::pair<Value, size_t>> keys;
  for (const Value &item : items) {
    Value key = path.isNone() ? item : attributePath(item, path, call.budget);
    if (key.isString() && !caseSensitive)
      key = changeCase(key.string(), Case::Lower);
    keys.emplace_back(key, keys.size());
  }
  call.budget.spend(items.size() * 64);
  std::sort(keys.begin(), keys.end(), [&](const auto &a, const auto &b) {
    int order = compare(a.first, b.first);
    return order != 0 ? (descending ? order > 0 : order < 0)
                      : a.second < b.second;
  });
  std::vector<Value> sorted;
  for (const auto &key : keys)
    sorted.push_back(items[key.second]);
  return Value::list(std::move(sorted));
}

static Value uniqueFilter(const Call &call) {
  bool caseSensitive = call.flag(0, "case_sensitive");
  std::vector<Value> kept, keys;
  for (const Value &item : call.items()) {
    Value key = item.isString() && !caseSensitive
                    ? Value(changeCase(item.string(), Case::Lower))
                    : item;
    call.budget.spend(keys.size() * 8);
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      continue;
    keys.push_back(key);
    kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

static Value mapFilter(const Call &call) {
  std::vector<Value> result;
  const Value *path = nullptr, *fallback = nullptr;
  for (const auto &[name, value] : call.arguments.named) {
    if (name == "attribute")
      path = &value;
    if (name == "default")
      fallback = &value;
  }
  for (const Value &item : call.items()) {
    if (path) {
      Value found = attributePath(item, *path, call.budget);
      result.push_back(found.isUndefined() && fallback ? *fallback : found);
      continue;
    }
    const Value &filter = call.required(0, "filter");
    if (!filter.isString())
      throw Error("map needs the name of a filter, not {}", filter.typeName());
    const auto &all = call.arguments.positional;
    Arguments rest{{all.begin() + 1, all.end()}, call.arguments.named};
    result.push_back(applyFilter(filter.string(), item, rest, call.budget));
  }
  return Value::list(std::move(result));
}

/// select, reject, selectattr and rejectattr.
static Value selectFilter(const Call &call) {
  bool byAttribute = call.name.ends_with("attr");
  bool wanted = call.name.starts_with("select");
  const auto &all = call.arguments.positional;
  if (byAttribute)
    call.required(0, "attribute");
  size_t testAt = byAttribute ? 1 : 0;
  std::vector<Value> kept;
  for (const Value &item : call.items()) {
    Value tested =
        byAttribute ? attributePath(item, all[0], call.budget) : item;
    bool passes;
    if (testAt < all.size()) {
      if (!all[testAt].isString())
        throw Error("{} needs the name of a test, not {}", call.name,
                    all[testAt].typeName());
      Arguments rest{{all.begin() + testAt + 1, all.end()}, {}};
      passes = applyTest(all[testAt].string(), tested, rest, call.budget);
    } else {
      passes = tested.truth();
    }
    if (passes == wanted)
      kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

static Value pairs(const Value &value, Budget &budget, bool sorted) {
  if (value.isUndefined())
    return Value::list({});
  if (!value.isDict() || value.dict().role != DictObject::Role::Plain)
    throw Error("items needs a dict, not {}", value.typeName());
  auto entries = value.dict().entries;
  budget.spend(entries.size() * sizeof(Value) * 2);
  if (sorted)
    std::sort(entries.begin(), entries.end(), [](const auto &a, const auto &b) {
      auto key = [](const Value &v) {
        return v.isString() ? Value(changeCase(v.string(), Case::Lower)) : v;
      };
      return compare(key(a.first), key(b.first)) < 0;
    });
  std::vector<Value> result;
  for (const auto &[key, item] : entries)
    result.push_back(Value::tuple({key, item}));
  return Value::list(std::move(result));
}

static Value extremeFilter(const Call &call) {
  std::vector<Value> items = call.items();
  if (items.empty())
    return Value::undefined("the list is empty");
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    int order = compare(items[i], items[best]);
    if (call.name == "min" ? order < 0 : order > 0)
      best = i;
  }
  return items[best];
}

static Value sumFilter(const Call &call) {
  Value path = call.optional(0, "attribute");
  int64_t whole = 0;
  double real = 0;
  bool isReal = false;
  for (const Value &entry : call.items()) {
    Value item =
        path.isNone() ? entry : attributePath(entry, path, call.budget);
    if (item.isFloat())
      isReal = true;
    else if (__builtin_add_overflow(whole, item.integer("an item of sum"),
                                    &whole))
      throw Error("a sum is too large");
    real += item.number("an item of sum");
  }
  return isReal ? Value(real) : Value(whole);
}

static Value lengthFilter(const Call &call) {
  const Value &value = call.value;
  if (value.isString())
    return static_cast<int64_t>(countCodePoints(value.string()));
  if (value.isList())
    return static_cast<int64_t>(value.list().items.size());
  if (value.isDict() && value.dict().role == DictObject::Role::Plain)
    return static_cast<int64_t>(value.dict().entries.size());
  if (value.isUndefined())
    return int64_t(0);
  throw Error("{} has no length", value.typeName());
}

static Value reverseFilter(const Call &call) {
  std::vector<Value> items = call.items();
  std::reverse(items.begin(), items.end());
  if (!call.value.isString())
    return Value::list(std::move(items));
  std::string text;
  for (const Value &item : items)
    text += item.string();
  return text;
}

static Value absFilter(const Call &call) {
  if (call.value.isFloat())
    return std::abs(call.value.number("abs"));
  int64_t value = call.value.integer("abs");
  if (value == INT64_MIN)
    throw Error("a number is too large");
  return value < 0 ? -value : value;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

using Filter = Value (*)(const Call &);

static const std::map<std::string, Filter> &filters() {
  static const std::map<std::string, Filter> table = {
      {"trim",
       [](const Call &c) {
         return Value(strip(c.text(), c.optional(0, "chars"), 0));
       }},
      {"upper",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Upper)); }},
      {"lower",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Lower)); }},
      {"title",
       [](const Call &c) { return Value(changeCase(c.text(), Case::Title)); }},
      {"capitalize",
       [](const Call &c) {
         return Value(changeCase(c.text(), Case::Capital));
       }},
      {"string", [](const Call &c) { return Value(c.text()); }},
      {"safe", [](const Call &c) { return Value(c.text()); }},
      {"replace",
       [](const Call &c) {
         Value text(c.text());
         Value method = attribute(text, "replace", c.budget);
         return method.function().call(c.arguments);
       }},
      {"indent", indentFilter},
      {"escape", escapeFilter},
      {"e", escapeFilter},
      {"tojson", toJsonFilter},
      {"int", intFilter},
      {"float", floatFilter},
      {"abs", absFilter},
      {"length", lengthFilter},
      {"count", lengthFilter},
      {"list", [](const Call &c) { return Value::list(c.items()); }},
      {"join", joinFilter},
      {"first",
       [](const Call &c) {
         std::vector<Value> items = c.items();
         return items.empty() ? Value::undefined("the list is empty")
                              : items.front();
       }},
      {"last",
       [](const Call &c) {
         std::vector<Value> items = c.items();
         return items.empty() ? Value::undefined("the list is empty")
                              : items.back();
       }},
      {"reverse", reverseFilter},
      {"sort", sortFilter},
      {"unique", uniqueFilter},
      {"map", mapFilter},
      {"select", selectFilter},
      {"reject", selectFilter},
      {"selectattr", selectFilter},
      {"rejectattr", selectFilter},
      {"min", extremeFilter},
      {"max", extremeFilter},
      {"sum", sumFilter},
      {"items", [](const Call &c) { return pairs(c.value, c.budget, false); }},
      {"dictsort",
       [](const Call &c) { return pairs(defined(c.value), c.budget, true); }},
      {"default",
       [](const Call &c) {
         bool falls = c.value.isUndefined() ||
                      (c.flag(1, "boolean") && !c.value.truth());
         const Value *fallback = c.arguments.find(0, "default_value");
         return !falls ? c.value : fallback ? *fallback : Value("");
       }},
  };
  return table;
}

Value jinja::applyFilter(const std::string &name, const Value &value,
                         const Arguments &arguments, Budget &budget) {
  budget.spend();
  const std::string &known = name == "d" ? "default" : name;
  auto it = filters().find(known);
  if (it == filters().end()) {
    std::string list;
    for (const auto &entry : filters())
      list.append(list.empty() ? "" : ", ").append(entry.first);
    throw Error("the filter '{}' is not supported; supported are {}", name,
                list);
  }
  return it->second({name, value, arguments, budget});
}

using Test = bool (*)(const Call &);

static bool isSequence(const Value &value) {
  return value.isString() || value.isList() || value.isUndefined() ||
         (value.isDict() && value.dict().role == DictObject::Role::Plain);
}

static bool isDivisible(const Call &call) {
  int64_t divisor = call.required(0, "num").integer("divisibleby");
  if (divisor == 0)
    throw Error("division by zero");
  return divisor == -1 || call.value.integer("divisibleby") % divisor == 0;
}

static bool hasCase(const Call &call, Case wanted) {
  std::string text = call.text();
  return changeCase(text, wanted) == text &&
         changeCase(text, Case::Upper) != changeCase(text, Case::Lower);
}

static const std::map<std::string, Test> &tests() {
  static const std::map<std::string, Test> table = {
      {"defined", [](const Call &c) { return !c.value.isUndefined(); }},
      {"undefined", [](const Call &c) { return c.value.isUndefined(); }},
      {"none", [](const Call &c) { return c.value.isNone(); }},
      {"string", [](const Call &c) { return c.value.isString(); }},
      {"number", [](const Call &c) { return c.value.isNumber(); }},
      {"integer", [](const Call &c) { return c.value.isInteger(); }},
      {"float", [](const Call &c) { return c.value.isFloat(); }},
      {"boolean", [](const Call &c) { return c.value.isBool(); }},
      {"true",
       [](const Call &c) { return c.value.isBool() && c.value.boolean(); }},
      {"false",
       [](const Call &c) { return c.value.isBool() && !c.value.boolean(); }},
      {"mapping",
       [](const Call &c) {
         return c.value.isDict() &&
                c.value.dict().role == DictObject::Role::Plain;
       }},
      {"iterable", [](const Call &c) { return isSequence(c.value); }},
      {"sequence", [](const Call &c) { return isSequence(c.value); }},
      {"callable", [](const Call &c) { return c.value.isCallable(); }},
      {"lower", [](const Call &c) { return hasCase(c, Case::Lower); }},
      {"upper", [](const Call &c) { return hasCase(c, Case::Upper); }},
      {"odd", [](const Call &c) { return c.value.integer("odd") % 2 != 0; }},
      {"even", [](const Call &c) { return c.value.integer("even") % 2 == 0; }},
      {"divisibleby", isDivisible},
      {"eq", [](const Call &c) { return c.value == c.required(0, "other"); }},
      {"equalto",
       [](const Call &c) { return c.value == c.required(0, "other"); }},
      {"ne",
       [](const Call &c) { return !(c.value == c.required(0, "other")); }},
      {"lt",
       [](const Call &c) {
         return compare(c.value, c.required(0, "other")) < 0;
       }},
      {"le",
       [](const Call &c) {
         return compare(c.value, c.required(0, "other")) <= 0;
       }},
      {"gt",
       [](const Call &c) {
         return compare(c.value, c.required(0, "other")) > 0;
       }},
      {"ge",
       [](const Call &c) {
         return compare(c.value, c.required(0, "other")) >= 0;
       }},
      {"in",
       [](const Call &c) {
         return contains(c.required(0, "seq"), c.value, c.budget);
       }},
  };
  return table;
}

bool jinja::applyTest(const std::string &name, const Value &value,
                      const Arguments &arguments, Budget &budget) {
  budget.spend();
  auto it = tests().find(name);
  if (it == tests().end()) {
    std::string list;
    for (const auto &entry : tests())
      list.append(list.empty() ? "" : ", ").append(entry.first);
    throw Error("the test '{}' is not supported; supported are {}", name, list);
  }
  return it->second({name, value, arguments, budget});
}
