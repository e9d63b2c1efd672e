//===- JinjaTests.cpp - Tests of chat templates -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// What stands behind `is`, and what select and its kin take.
#include "runtime/JinjaCall.h"

#include "runtime/Error.h"

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

using Test = bool (*)(const Call &);

/// It can be gone through.
static bool isIterable(const Call &call) {
  return call.value.isString() || call.value.hasItems() || call.value.isUndefined() ||
         call.value.isMapping() ||
         (call.value.isDict() && call.value.dict().role == DictObject::Role::Loop);
}

/// It has a length and indices.
static bool isSequence(const Call &call) {
  return call.value.isString() || call.value.isList() || call.value.isUndefined() ||
         call.value.isMapping();
}

/// The remainder of a division is as wanted.
static bool leaves(const Call &call, const Value &divisor, int64_t rest) {
  return arithmetic("%", call.value, divisor, call.budget) == Value(rest);
}

static bool isDivisible(const Call &call) { return leaves(call, call.required(0, "num"), 0); }
static bool isEven(const Call &call) { return leaves(call, Value(int64_t(2)), 0); }
static bool isOdd(const Call &call) { return leaves(call, Value(int64_t(2)), 1); }

static bool hasCase(const Call &call) {
  Value text(call.text());
  return method(text, "is" + call.name, call.budget).function().call({}).truth();
}

static bool equals(const Call &call) { return call.value == call.required(0, "other"); }
static bool differs(const Call &call) { return !equals(call); }
static int order(const Call &call) {
  return compare(defined(call.value), defined(call.required(0, "other")));
}
static bool isLess(const Call &call) { return order(call) < 0; }
static bool isAtMost(const Call &call) { return order(call) <= 0; }
static bool isMore(const Call &call) { return order(call) > 0; }
static bool isAtLeast(const Call &call) { return order(call) >= 0; }

static bool isNamed(const Call &call, bool (*known)(const std::string &)) {
  return call.value.isString() && known(call.value.string());
}

static const std::map<std::string, Test> &tests() {
  static const std::map<std::string, Test> table = {
      {"!=", differs},
      {"<", isLess},
      {"<=", isAtMost},
      {"==", equals},
      {">", isMore},
      {">=", isAtLeast},
      {"boolean", [](const Call &c) { return c.value.isBool(); }},
      // Python's undefined can be called, to say that it is undefined.
      {"callable", [](const Call &c) { return c.value.isCallable() || c.value.isUndefined(); }},
      {"defined", [](const Call &c) { return !c.value.isUndefined(); }},
      {"divisibleby", isDivisible},
      {"eq", equals},
      {"equalto", equals},
      // No text is marked as escaped, since templates write plain text.
      {"escaped", [](const Call &) { return false; }},
      {"even", isEven},
      {"false",
       [](const Call &c) { return c.value.isBool() && !c.value.boolean(); }},
      {"filter", [](const Call &c) { return isNamed(c, isFilter); }},
      {"float", [](const Call &c) { return c.value.isFloat(); }},
      {"ge", isAtLeast},
      {"greaterthan", isMore},
      {"gt", isMore},
      {"in",
       [](const Call &c) {
         return contains(c.required(0, "seq"), c.value, c.budget);
       }},
      {"integer", [](const Call &c) { return c.value.isInteger(); }},
      {"iterable", isIterable},
      {"le", isAtMost},
      {"lessthan", isLess},
      {"lower", hasCase},
      {"lt", isLess},
      {"mapping", [](const Call &c) { return c.value.isMapping(); }},
      {"ne", differs},
      {"none", [](const Call &c) { return c.value.isNone(); }},
      {"number", [](const Call &c) { return c.value.isNumber(); }},
      {"odd", isOdd},
      {"sameas",
       [](const Call &c) { return c.value.isSameAs(c.required(0, "other")); }},
      {"sequence", isSequence},
      {"string", [](const Call &c) { return c.value.isString(); }},
      {"test", [](const Call &c) { return isNamed(c, isTest); }},
      {"true",
       [](const Call &c) { return c.value.isBool() && c.value.boolean(); }},
      {"undefined", [](const Call &c) { return c.value.isUndefined(); }},
      {"upper", hasCase},
  };
  return table;
}

bool jinja::isTest(const std::string &name) { return tests().contains(name); }

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
