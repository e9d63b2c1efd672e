//===- JinjaValue.cpp - Values of chat templates --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaValue.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <cmath>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Lists and dicts may nest this deep in what is printed or compared.
static constexpr int deepest = 200;

//===----------------------------------------------------------------------===//
// Objects
//===----------------------------------------------------------------------===//

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

Value Value::list(std::vector<Value> items) {
  Value result;
  result.data =
      std::make_shared<ListObject>(ListObject{std::move(items), false});
  return result;
}

Value Value::tuple(std::vector<Value> items) {
  Value result;
  result.data =
      std::make_shared<ListObject>(ListObject{std::move(items), true});
  return result;
}

Value Value::function(std::string name,
                      std::function<Value(const Arguments &)> call) {
  return std::make_shared<const Function>(
      Function{std::move(name), std::move(call)});
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
  if (isList())
    return !list().items.empty();
  if (isDict())
    return dict().role != DictObject::Role::Plain || !dict().entries.empty();
  return true;
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
  if (isList())
    return list().isTuple ? "tuple" : "list";
  if (isDict())
    return dict().role == DictObject::Role::Plain ? "dict" : "namespace";
  return "function";
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
  if (a.isList() && b.isList()) {
    const auto &left = a.list().items, &right = b.list().items;
    if (a.list().isTuple != b.list().isTuple || left.size() != right.size())
      return false;
    for (size_t i = 0; i < left.size(); ++i)
      if (!equal(left[i], right[i], depth + 1))
        return false;
    return true;
  }
  if (a.isDict() && b.isDict()) {
    if (&a.dict() == &b.dict())
      return true;
    if (a.dict().role != DictObject::Role::Plain ||
        b.dict().role != DictObject::Role::Plain ||
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
  if (a.isList() && b.isList() && a.list().isTuple == b.list().isTuple) {
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

/// Python's repr() of a string.
static std::string quoted(std::string_view text) {
  bool hasSingle = text.find('\'') != std::string_view::npos;
  char quote =
      hasSingle && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (char c : text) {
    if (c == quote || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
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
  if (isCallable())
    return fmt::format("<function {}>", function().name);
  std::string out;
  if (isList()) {
    for (const Value &item : list().items)
      out.append(out.empty() ? "" : ", ").append(item.repr(depth + 1));
    if (!list().isTuple)
      return "[" + out + "]";
    return "(" + out + (list().items.size() == 1 ? ",)" : ")");
  }
  for (const auto &[key, value] : dict().entries)
    out.append(out.empty() ? "" : ", ")
        .append(key.repr(depth + 1))
        .append(": ")
        .append(value.repr(depth + 1));
  out = "{" + out + "}";
  return dict().role == DictObject::Role::Plain ? out
                                                : "<Namespace " + out + ">";
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static void appendJsonString(std::string &out, std::string_view text) {
  out += '"';
  for (char c : text) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20)
        out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
      else
        out += c;
    }
  }
  out += '"';
}

static void appendJson(std::string &out, const Value &value, JsonStyle style,
                       int depth);

/// A key as json.dumps writes it: a string whatever it was.
static void appendJsonKey(std::string &out, const Value &key) {
  if (key.isString())
    return appendJsonString(out, key.string());
  if (!key.isNumber() && !key.isNone())
    throw Error("tojson: a key must be a string or a number, not {}",
                key.typeName());
  out += '"';
  appendJson(out, key, {}, 0);
  out += '"';
}

static void appendJson(std::string &out, const Value &value, JsonStyle style,
                       int depth) {
  if (depth > deepest)
    throw Error("values nest more than {} deep", deepest);
  auto breakLine = [&](int level) {
    if (style.indent >= 0)
      out.append("\n").append(static_cast<size_t>(style.indent) * level, ' ');
  };
  const char *separator = style.indent >= 0 ? "," : ", ";
  if (value.isNone()) {
    out += "null";
  } else if (value.isBool()) {
    out += value.boolean() ? "true" : "false";
  } else if (value.isFloat() && !std::isfinite(value.number("tojson"))) {
    double number = value.number("tojson");
    out += std::isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity";
  } else if (value.isNumber()) {
    out += value.repr();
  } else if (value.isString()) {
    appendJsonString(out, value.string());
  } else if (value.isList()) {
    const auto &items = value.list().items;
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0)
        out += separator;
      breakLine(depth + 1);
      appendJson(out, items[i], style, depth + 1);
    }
    if (!items.empty())
      breakLine(depth);
    out += ']';
  } else if (value.isDict() && value.dict().role == DictObject::Role::Plain) {
    auto entries = value.dict().entries;
    if (style.sortKeys)
      std::sort(entries.begin(), entries.end(),
                [](const auto &a, const auto &b) {
                  return compare(a.first, b.first) < 0;
                });
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0)
        out += separator;
      breakLine(depth + 1);
      appendJsonKey(out, entries[i].first);
      out += ": ";
      appendJson(out, entries[i].second, style, depth + 1);
    }
    if (!entries.empty())
      breakLine(depth);
    out += '}';
  } else {
    throw Error("tojson: {} cannot be written as JSON", value.typeName());
  }
}

std::string jinja::toJson(const Value &value, JsonStyle style) {
  std::string out;
  appendJson(out, value, style, 0);
  return out;
}
