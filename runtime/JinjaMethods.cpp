//===- JinjaMethods.cpp - Methods and items of chat template values -------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

void Budget::spend(size_t made) {
  if (steps == 0 || made > bytes)
    throw Error("the template does more work than is allowed");
  --steps;
  bytes -= made;
}

const Value &jinja::defined(const Value &value) {
  if (value.isUndefined())
    throw Error("{}", value.undefinedWhat());
  return value;
}

static std::vector<std::string> characters(const std::string &text) {
  std::vector<std::string> result;
  for (size_t i = 0; i < text.size();) {
    size_t length = codePointLength(text[i]);
    result.push_back(text.substr(i, length));
    i += length;
  }
  return result;
}

std::vector<Value> jinja::itemsOf(const Value &value, Budget &budget) {
  std::vector<Value> items;
  if (value.isUndefined())
    return items;
  if (value.isList()) {
    budget.spend(value.list().items.size() * sizeof(Value));
    return value.list().items;
  }
  if (value.isDict() && value.dict().role == DictObject::Role::Plain) {
    budget.spend(value.dict().entries.size() * sizeof(Value));
    for (const auto &entry : value.dict().entries)
      items.push_back(entry.first);
    return items;
  }
  if (value.isString()) {
    budget.spend(value.string().size() * (sizeof(Value) + sizeof(std::string)));
    for (std::string &character : characters(value.string()))
      items.emplace_back(std::move(character));
    return items;
  }
  throw Error("{} has no items to go through", value.typeName());
}

//===----------------------------------------------------------------------===//
// Indexing
//===----------------------------------------------------------------------===//

Value jinja::subscript(const Value &object, const Value &index,
                       Budget &budget) {
  budget.spend();
  defined(object);
  if (object.isDict()) {
    if (const Value *found = object.dict().find(index))
      return *found;
    if (index.isString())
      return attribute(object, index.string(), budget);
    return Value::undefined(
        fmt::format("the dict has no key {}", index.repr()));
  }
  if (index.isString())
    return attribute(object, index.string(), budget);
  if ((object.isList() || object.isString()) &&
      (index.isInteger() || index.isBool())) {
    int64_t at = index.integer("an index");
    std::vector<Value> text;
    if (object.isString())
      text = itemsOf(object, budget);
    const std::vector<Value> &items =
        object.isString() ? text : object.list().items;
    int64_t size = static_cast<int64_t>(items.size());
    if (at < 0)
      at += size;
    if (at >= 0 && at < size)
      return items[at];
    return Value::undefined(
        fmt::format("the {} has no item {}", object.typeName(), index.repr()));
  }
  return Value::undefined(fmt::format("{} cannot be indexed with {}",
                                      object.typeName(), index.typeName()));
}

Value jinja::slice(const Value &object, const Value &start, const Value &stop,
                   const Value &step, Budget &budget) {
  defined(object);
  if (!object.isList() && !object.isString())
    throw Error("{} cannot be sliced", object.typeName());
  std::vector<Value> items = itemsOf(object, budget);
  int64_t size = static_cast<int64_t>(items.size());
  int64_t stride = step.isNone() ? 1 : step.integer("a slice's step");
  if (stride == 0)
    throw Error("a slice's step cannot be zero");
  auto bound = [&](const Value &value, int64_t fallback) {
    if (value.isNone())
      return fallback;
    int64_t at = value.integer("a slice's bound");
    if (at < 0)
      at = at < -size ? -1 : at + size;
    // -1 stands for "before the first", which only a backward slice can use.
    return std::clamp<int64_t>(at, stride > 0 ? 0 : -1,
                               stride > 0 ? size : size - 1);
  };
  int64_t begin = bound(start, stride > 0 ? 0 : size - 1);
  int64_t end = bound(stop, stride > 0 ? size : -1);
  std::vector<Value> part;
  stride = std::clamp(stride, -size - 1, size + 1);
  for (int64_t i = begin; stride > 0 ? i < end : i > end; i += stride)
    part.push_back(items[i]);
  if (object.isList())
    return object.list().isTuple ? Value::tuple(std::move(part))
                                 : Value::list(std::move(part));
  std::string text;
  for (const Value &character : part)
    text += character.string();
  return text;
}

bool jinja::contains(const Value &haystack, const Value &needle,
                     Budget &budget) {
  if (haystack.isString()) {
    if (!needle.isString())
      throw Error("'in' of a str needs a str, not {}", needle.typeName());
    budget.spend(haystack.string().size());
    return haystack.string().find(needle.string()) != std::string::npos;
  }
  if (haystack.isDict())
    return haystack.dict().find(needle);
  for (const Value &item : itemsOf(haystack, budget))
    if (item == needle)
      return true;
  return false;
}

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

/// Python's str.isspace for one character.
static bool isPythonSpace(char32_t c) {
  return isWhiteSpace(c) || (c >= 0x1C && c <= 0x1F);
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

/// Python's str.split.
static Value split(const std::string &text, const Value &separator,
                   int64_t most) {
  std::vector<Value> parts;
  auto mayCut = [&] {
    return most < 0 || static_cast<int64_t>(parts.size()) < most;
  };
  size_t begin = 0;
  if (!separator.isNone()) {
    if (!separator.isString() || separator.string().empty())
      throw Error("split needs a separator that is a str and not empty");
    for (size_t at; mayCut() && (at = text.find(separator.string(), begin)) !=
                                    std::string::npos;
         begin = at + separator.string().size())
      parts.emplace_back(text.substr(begin, at - begin));
    parts.emplace_back(text.substr(begin));
    return Value::list(std::move(parts));
  }
  while (begin < text.size()) {
    size_t end = begin, next = begin;
    if (isPythonSpace(nextCodePoint(text, next))) {
      begin = next;
      continue;
    }
    if (!mayCut()) {
      parts.emplace_back(text.substr(begin));
      break;
    }
    while (end < text.size()) {
      next = end;
      if (isPythonSpace(nextCodePoint(text, next)))
        break;
      end = next;
    }
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return Value::list(std::move(parts));
}

/// Python's str.splitlines, for the line ends that text files have.
static Value splitLines(const std::string &text) {
  std::vector<Value> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = text.find_first_of("\r\n", begin);
    if (end == std::string::npos)
      end = text.size();
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return Value::list(std::move(lines));
}

static std::string replaceText(const std::string &text, const std::string &from,
                               const std::string &to, int64_t most,
                               Budget &budget) {
  if (from.empty())
    throw Error("replace of an empty str is not supported");
  std::string out;
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
  if (affix.isList()) {
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

static Value findText(const std::string &text, const Value &needle, bool last) {
  if (!needle.isString())
    throw Error("find needs a str, not {}", needle.typeName());
  size_t at = last ? text.rfind(needle.string()) : text.find(needle.string());
  if (at == std::string::npos)
    return int64_t(-1);
  return static_cast<int64_t>(
      countCodePoints(std::string_view(text).substr(0, at)));
}

static std::string titleOf(const std::string &text) {
  std::string out;
  bool inWord = false;
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<utf8proc_int32_t>(nextCodePoint(text, i));
    utf8proc_category_t category = utf8proc_category(c);
    appendUtf8(out, inWord ? utf8proc_tolower(c) : utf8proc_totitle(c));
    inWord = category == UTF8PROC_CATEGORY_LU ||
             category == UTF8PROC_CATEGORY_LL ||
             category == UTF8PROC_CATEGORY_LT;
  }
  return out;
}

/// Calls method `name` of a str. `known` is cleared when there is no such
/// method.
static Value stringMethod(const Value &object, const std::string &name,
                          const Arguments &arguments, Budget &budget) {
  const std::string &text = object.string();
  budget.spend(text.size());
  auto optional = [&](size_t index, const char *argument) {
    const Value *value = arguments.find(index, argument);
    return value ? *value : Value();
  };
  auto required = [&](size_t index,
                      const char *argument) -> const std::string & {
    const Value &value = arguments.get(index, argument, name);
    if (!value.isString())
      throw Error("{} needs a str as '{}', not {}", name, argument,
                  value.typeName());
    return value.string();
  };
  auto count = [&](size_t index, const char *argument) {
    Value value = optional(index, argument);
    return value.isNone() ? int64_t(-1) : value.integer(argument);
  };
  if (name == "strip")
    return strip(text, optional(0, "chars"), 0);
  if (name == "lstrip")
    return strip(text, optional(0, "chars"), -1);
  if (name == "rstrip")
    return strip(text, optional(0, "chars"), 1);
  if (name == "split")
    return split(text, optional(0, "sep"), count(1, "maxsplit"));
  if (name == "splitlines")
    return splitLines(text);
  if (name == "startswith" || name == "endswith")
    return hasAffix(text, arguments.get(0, "prefix", name),
                    name == "startswith");
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string &affix = required(0, "affix");
    bool prefix = name == "removeprefix";
    if (prefix ? !text.starts_with(affix) : !text.ends_with(affix))
      return text;
    return text.substr(prefix ? affix.size() : 0, text.size() - affix.size());
  }
  if (name == "replace")
    return replaceText(text, required(0, "old"), required(1, "new"),
                       count(2, "count"), budget);
  if (name == "find" || name == "rfind")
    return findText(text, arguments.get(0, "sub", name), name == "rfind");
  if (name == "count") {
    const std::string &sub = required(0, "sub");
    if (sub.empty())
      throw Error("count of an empty str is not supported");
    int64_t found = 0;
    for (size_t at = 0; (at = text.find(sub, at)) != std::string::npos;
         at += sub.size())
      ++found;
    return found;
  }
  if (name == "isdigit" || name == "isspace") {
    bool all = !text.empty();
    for (size_t i = 0; i < text.size();) {
      char32_t c = nextCodePoint(text, i);
      all &= name == "isspace"
                 ? isPythonSpace(c)
                 : utf8proc_category(static_cast<utf8proc_int32_t>(c)) ==
                       UTF8PROC_CATEGORY_ND;
    }
    return all;
  }
  if (name == "join")
    return applyFilter("join", arguments.get(0, "iterable", name),
                       {{Value(text)}, {}}, budget);
  // Python's title starts a word behind all that is no letter; the filter does
  // not. What is left are upper, lower and capitalize.
  if (name == "title")
    return titleOf(text);
  return applyFilter(name, Value(text), {}, budget);
}

static Value dictMethod(const Value &object, const std::string &name,
                        const Arguments &arguments, Budget &budget) {
  const auto &entries = object.dict().entries;
  budget.spend(entries.size() * sizeof(Value) * 2);
  if (name == "get") {
    if (const Value *found = object.dict().find(arguments.get(0, "key", name)))
      return *found;
    const Value *fallback = arguments.find(1, "default");
    return fallback ? *fallback : Value();
  }
  std::vector<Value> result;
  for (const auto &[key, value] : entries)
    result.push_back(name == "keys"     ? key
                     : name == "values" ? value
                                        : Value::tuple({key, value}));
  return Value::list(std::move(result));
}

static Value listMethod(const Value &object, const std::string &name,
                        const Arguments &arguments, Budget &budget) {
  const auto &items = object.list().items;
  budget.spend(items.size());
  const Value &wanted = arguments.get(0, "value", name);
  int64_t found = 0;
  for (size_t i = 0; i < items.size(); ++i)
    if (items[i] == wanted) {
      if (name == "index")
        return static_cast<int64_t>(i);
      ++found;
    }
  if (name == "index")
    throw Error("{} is not in the list", wanted.repr());
  return found;
}

static bool isOneOf(std::string_view name,
                    std::initializer_list<const char *> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value jinja::attribute(const Value &object, const std::string &name,
                       Budget &budget) {
  budget.spend();
  defined(object);
  auto method = [&](auto *call) {
    return Value::function(name, [=, &budget](const Arguments &arguments) {
      return call(object, name, arguments, budget);
    });
  };
  if (object.isString() &&
      isOneOf(name, {"strip",        "lstrip",     "rstrip",   "split",
                     "splitlines",   "startswith", "endswith", "removeprefix",
                     "removesuffix", "replace",    "find",     "rfind",
                     "count",        "isdigit",    "isspace",  "join",
                     "upper",        "lower",      "title",    "capitalize"}))
    return method(stringMethod);
  if (object.isList() && isOneOf(name, {"index", "count"}))
    return method(listMethod);
  if (object.isList() &&
      isOneOf(name, {"append", "extend", "insert", "pop", "remove"}))
    throw Error("'{}' would change a list, which templates cannot do", name);
  if (object.isDict()) {
    bool isPlain = object.dict().role == DictObject::Role::Plain;
    if (isPlain && isOneOf(name, {"get", "keys", "values", "items"}))
      return method(dictMethod);
    if (isPlain &&
        isOneOf(name, {"pop", "update", "clear", "setdefault", "popitem"}))
      throw Error("'{}' would change a dict, which templates cannot do", name);
    if (object.dict().role == DictObject::Role::Loop && name == "cycle")
      return Value::function(name, [object](const Arguments &arguments) {
        if (arguments.positional.empty())
          throw Error("cycle needs values");
        int64_t index =
            object.dict().find(std::string_view("index0"))->integer("cycle");
        return arguments.positional[index % arguments.positional.size()];
      });
    if (const Value *found = object.dict().find(std::string_view(name)))
      return *found;
  }
  return Value::undefined(
      fmt::format("{} has no attribute '{}'", object.typeName(), name));
}
