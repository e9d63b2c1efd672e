//===- JinjaMethods.cpp - Items and attributes of values --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

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

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

std::vector<Value> jinja::itemsOf(const Value &value, Budget &budget) {
  std::vector<Value> items;
  if (value.isUndefined())
    return items;
  if (value.hasItems()) {
    budget.spend(value.list().items.size() * sizeof(Value));
    if (value.isGenerator())
      return std::exchange(value.list().items, {});
    return value.list().items;
  }
  if (value.isMapping()) {
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

int64_t jinja::lengthOf(const Value &value) {
  if (value.isString())
    return static_cast<int64_t>(countCodePoints(value.string()));
  if (value.hasItems() && !value.isGenerator())
    return static_cast<int64_t>(value.list().items.size());
  if (value.isMapping())
    return static_cast<int64_t>(value.dict().entries.size());
  if (value.isDict() && value.dict().role == DictObject::Role::Loop)
    return value.dict().find(std::string_view("length"))->integer("length");
  if (value.isUndefined())
    return 0;
  throw Error("{} has no length", value.typeName());
}

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

/// The items of a slice: those from `begin` up to `end`, every `stride`th.
static std::vector<Value> sliceItems(const std::vector<Value> &items, const Value &start,
                                     const Value &stop, const Value &step) {
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
  return part;
}

Value jinja::slice(const Value &object, const Value &start, const Value &stop,
                   const Value &step, Budget &budget) {
  defined(object);
  if (!object.isList() && !object.isString())
    throw Error("{} cannot be sliced", object.typeName());
  std::vector<Value> part = sliceItems(itemsOf(object, budget), start, stop, step);
  if (object.isList())
    return object.isTuple() ? Value::tuple(std::move(part)) : Value::list(std::move(part));
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
  if (haystack.isMapping())
    return haystack.dict().find(needle);
  for (const Value &item : itemsOf(haystack, budget))
    if (item == needle)
      return true;
  return false;
}

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

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
  if (name == "copy") {
    auto copy = makeObject<DictObject>();
    copy->entries = entries;
    return copy;
  }
  std::vector<Value> result;
  for (const auto &[key, value] : entries)
    result.push_back(name == "keys"     ? key
                     : name == "values" ? value
                                        : Value::tuple({key, value}));
  return Value::list(std::move(result), name == "keys"     ? ListObject::Kind::Keys
                                        : name == "values" ? ListObject::Kind::Values
                                                           : ListObject::Kind::Items);
}

static Value listMethod(const Value &object, const std::string &name,
                        const Arguments &arguments, Budget &budget) {
  const auto &items = object.list().items;
  budget.spend(items.size() * sizeof(Value));
  if (name == "copy")
    return Value::list(items);
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

Value jinja::method(const Value &object, const std::string &name,
                    Budget &budget) {
  auto bind = [&](auto *call) {
    return Value::function(name, [=, &budget](const Arguments &arguments) {
      return call(object, name, arguments, budget);
    });
  };
  if (object.isString() && isStringMethod(name))
    return bind(callStringMethod);
  if (object.isList()) {
    bool isPlain = object.list().kind == ListObject::Kind::List;
    if (isOneOf(name, {"index", "count"}) || (isPlain && name == "copy"))
      return bind(listMethod);
    if (isPlain && isOneOf(name, {"append", "extend", "insert", "pop", "remove",
                                  "clear", "sort", "reverse"}))
      throw Error("'{}' would change a list, which templates cannot do", name);
    if (object.list().kind == ListObject::Kind::Group && name == "grouper")
      return object.list().items[0];
    if (object.list().kind == ListObject::Kind::Group && name == "list")
      return object.list().items[1];
  }
  if (object.isMapping()) {
    if (isOneOf(name, {"get", "keys", "values", "items", "copy"}))
      return bind(dictMethod);
    if (isOneOf(name, {"pop", "update", "clear", "setdefault", "popitem"}))
      throw Error("'{}' would change a dict, which templates cannot do", name);
  } else if (object.isDict()) {
    if (const Value *found = object.dict().find(std::string_view(name)))
      return *found;
  }
  if (object.isCallable() && !object.isDict() && name == "name")
    return Value(object.function().name);
  return Value::undefined(
      fmt::format("{} has no attribute '{}'", object.typeName(), name));
}

Value jinja::attribute(const Value &object, const std::string &name,
                       Budget &budget) {
  budget.spend();
  Value found = method(defined(object), name, budget);
  if (found.isUndefined() && object.isMapping())
    if (const Value *entry = object.dict().find(std::string_view(name)))
      return *entry;
  return found;
}
