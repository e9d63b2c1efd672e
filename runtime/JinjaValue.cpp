//===- JinjaValue.cpp - Values of chat templates --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaValue.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <cmath>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Lists and dicts may nest this deep in what is printed or compared.
static constexpr int deepest = 200;

//===----------------------------------------------------------------------===//
// Objects
//===----------------------------------------------------------------------===//

void jinja::destroyInTurn(void *object, void (*destroy)(void *)) {
  static thread_local std::vector<std::pair<void *, void (*)(void *)>> waiting;
  static thread_local bool destroying = false;
  waiting.emplace_back(object, destroy);
  if (std::exchange(destroying, true))
    return;
  while (!waiting.empty()) {
    auto [next, how] = waiting.back();
    waiting.pop_back();
    how(next);
  }
  destroying = false;
}

const Value *DictObject::find(const Value &key) const {
  for (const auto &entry : entries)
    if (entry.first == key)
      return &entry.second;
  return nullptr;
}

const Value *DictObject::find(std::string_view key) const {
  for (const auto &entry : entries)
    if (entry.first.isString() && entry.first.string() == key)
      return &entry.second;
  return nullptr;
}

void DictObject::set(Value key, Value value) {
  for (auto &entry : entries)
    if (entry.first == key) {
      entry.second = std::move(value);
      return;
    }
  entries.emplace_back(std::move(key), std::move(value));
}

const Value *Arguments::find(size_t index, std::string_view name) const {
  if (index < positional.size())
    return &positional[index];
  for (const auto &argument : named)
    if (argument.first == name)
      return &argument.second;
  return nullptr;
}

const Value &Arguments::get(size_t index, std::string_view name,
                            std::string_view callee) const {
  if (const Value *value = find(index, name))
    return *value;
  throw Error("{} needs the argument '{}'", callee, name);
}

Value Value::undefined(std::string what) {
  Value result;
  result.data = Undefined{std::move(what)};
  return result;
}

Value Value::list(std::vector<Value> items, ListObject::Kind kind) {
  Value result;
  result.data = makeObject<ListObject>(std::move(items), kind, std::string());
  return result;
}

Value Value::function(std::string name,
                      std::function<Value(const Arguments &)> call) {
  return makeObject<const Function>(std::move(name), std::move(call));
}

//===----------------------------------------------------------------------===//
// Numbers and truth
//===----------------------------------------------------------------------===//

int64_t Value::integer(std::string_view what) const {
  if (isBool())
    return boolean();
  if (isInteger())
    return std::get<int64_t>(data);
  throw Error("{} must be an integer, not {}", what, typeName());
}

double Value::number(std::string_view what) const {
  if (isFloat())
    return std::get<double>(data);
  if (isNumber())
    return static_cast<double>(integer(what));
  throw Error("{} must be a number, not {}", what, typeName());
}

bool Value::truth() const {
  if (isUndefined() || isNone())
    return false;
  if (isNumber())
    return number("truth") != 0;
  if (isString())
    return !string().empty();
  if (hasItems())
    return isGenerator() || !list().items.empty();
  return !isMapping() || !dict().entries.empty();
}

const char *Value::typeName() const {
  if (isUndefined())
    return "undefined";
  if (isNone())
    return "none";
  if (isBool())
    return "bool";
  if (isInteger())
    return "int";
  if (isFloat())
    return "float";
  if (isString())
    return "str";
  if (hasItems()) {
    static constexpr const char *names[] = {
        "list", "tuple", "tuple", "range", "generator", "dict_keys", "dict_values", "dict_items"};
    return names[size_t(list().kind)];
  }
  if (isDict()) {
    static constexpr const char *names[] = {"dict", "namespace", "loop", "object"};
    return names[size_t(dict().role)];
  }
  return "function";
}

bool Value::isSameAs(const Value &other) const {
  if (data.index() != other.data.index())
    return false;
  if (isString())
    return std::get<String>(data) == std::get<String>(other.data) || string() == other.string();
  if (hasItems())
    return &list() == &other.list();
  if (isDict())
    return &dict() == &other.dict();
  return *this == other;
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

static bool equal(const Value &a, const Value &b, int depth) {
  if (depth > deepest)
    throw Error("values nest more than {} deep", deepest);
  if (a.isNumber() && b.isNumber()) {
    if (a.isFloat() || b.isFloat())
      return a.number("==") == b.number("==");
    return a.integer("==") == b.integer("==");
  }
  if (a.isString() && b.isString())
    return a.string() == b.string();
  if (a.hasItems() && b.hasItems()) {
    const auto &left = a.list().items, &right = b.list().items;
    if (&left == &right)
      return true;
    bool comparable = a.isTuple() ? b.isTuple() : a.list().kind == b.list().kind;
    if (!comparable || a.isGenerator() || left.size() != right.size())
      return false;
    for (size_t i = 0; i < left.size(); ++i)
      if (!equal(left[i], right[i], depth + 1))
        return false;
    return true;
  }
  if (a.isDict() && b.isDict()) {
    if (&a.dict() == &b.dict())
      return true;
    if (!a.isMapping() || !b.isMapping() ||
        a.dict().entries.size() != b.dict().entries.size())
      return false;
    for (const auto &[key, value] : a.dict().entries) {
      const Value *other = b.dict().find(key);
      if (!other || !equal(value, *other, depth + 1))
        return false;
    }
    return true;
  }
  if (a.isCallable() && b.isCallable())
    return &a.function() == &b.function();
  return (a.isNone() && b.isNone()) || (a.isUndefined() && b.isUndefined());
}

bool jinja::operator==(const Value &a, const Value &b) {
  return equal(a, b, 0);
}

int jinja::compare(const Value &a, const Value &b) {
  if (a.isNumber() && b.isNumber()) {
    if (a.isFloat() || b.isFloat()) {
      double left = a.number("<"), right = b.number("<");
      return left < right ? -1 : left > right;
    }
    int64_t left = a.integer("<"), right = b.integer("<");
    return left < right ? -1 : left > right;
  }
  // The order of UTF-8 is that of code points, and so Python's.
  if (a.isString() && b.isString())
    return a.string().compare(b.string());
  if (a.isList() && b.isList() && a.isTuple() == b.isTuple()) {
    const auto &left = a.list().items, &right = b.list().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (!(left[i] == right[i]))
        return compare(left[i], right[i]);
    return left.size() < right.size() ? -1 : left.size() > right.size();
  }
  throw Error("{} and {} have no order", a.typeName(), b.typeName());
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// Python's repr() of a float.
static std::string floatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos)
    text += ".0";
  return text;
}

/// Python's str.isprintable of one character.
static bool isPrintable(char32_t c) {
  if (c < 0x80)
    return c >= 0x20 && c != 0x7F;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_CN:
  case UTF8PROC_CATEGORY_CC:
  case UTF8PROC_CATEGORY_CF:
  case UTF8PROC_CATEGORY_CO:
  case UTF8PROC_CATEGORY_CS:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP:
  case UTF8PROC_CATEGORY_ZS:
    return false;
  default:
    return true;
  }
}

/// Python's repr() of a string.
static std::string quoted(std::string_view text) {
  bool hasSingle = text.find('\'') != std::string_view::npos;
  char quote =
      hasSingle && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    char32_t c = nextCodePoint(text, i);
    if (c == char32_t(quote) || c == '\\')
      out += {'\\', char(c)};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (isPrintable(c))
      appendUtf8(out, c);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", uint32_t(c));
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", uint32_t(c));
    else
      out += fmt::format("\\U{:08x}", uint32_t(c));
  }
  return out += quote;
}

std::string Value::text() const {
  if (isUndefined())
    return "";
  return isString() ? string() : repr();
}

std::string Value::repr(int depth) const {
  if (depth > deepest)
    throw Error("values nest more than {} deep", deepest);
  if (isUndefined())
    return "Undefined";
  if (isNone())
    return "None";
  if (isBool())
    return boolean() ? "True" : "False";
  if (isInteger())
    return fmt::format("{}", integer("repr"));
  if (isFloat())
    return floatText(number("repr"));
  if (isString())
    return quoted(string());
  if (isDict() && !isMapping() && dict().role != DictObject::Role::Namespace)
    return fmt::format("<{}>", typeName());
  if (isCallable())
    return fmt::format("<function {}>", function().name);
  if (isGenerator())
    return "<generator>";
  std::string out;
  if (hasItems()) {
    const auto &items = list().items;
    if (list().kind == ListObject::Kind::Range)
      return list().text;
    for (const Value &item : items)
      out.append(out.empty() ? "" : ", ").append(item.repr(depth + 1));
    if (isTuple())
      return "(" + out + (items.size() == 1 ? ",)" : ")");
    out = "[" + out + "]";
    return isList() ? out : fmt::format("{}({})", typeName(), out);
  }
  for (const auto &[key, value] : dict().entries)
    out.append(out.empty() ? "" : ", ")
        .append(key.repr(depth + 1))
        .append(": ")
        .append(value.repr(depth + 1));
  out = "{" + out + "}";
  return isMapping() ? out : "<Namespace " + out + ">";
}
