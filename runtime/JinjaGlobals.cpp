//===- JinjaGlobals.cpp - Functions that every template has -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaGlobals.h"

#include "runtime/Error.h"
#include "runtime/JinjaScope.h"

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Items of range(), as in Jinja's sandbox.
static constexpr int64_t longestRange = 100'000;

static Value makeRange(const Arguments &arguments, Budget &budget) {
  const auto &given = arguments.positional;
  if (given.empty() || given.size() > 3)
    throw Error("range takes one to three integers");
  int64_t start = given.size() > 1 ? given[0].integer("range") : 0;
  int64_t stop = given[given.size() > 1 ? 1 : 0].integer("range");
  int64_t step = given.size() > 2 ? given[2].integer("range") : 1;
  if (step == 0)
    throw Error("the step of range cannot be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == longestRange)
      throw Error("range gives more than {} items", longestRange);
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  budget.spend(items.size() * sizeof(Value));
  Value range = Value::list(std::move(items), ListObject::Kind::Range);
  range.list().text = step == 1 ? fmt::format("range({}, {})", start, stop)
                                : fmt::format("range({}, {}, {})", start, stop, step);
  return range;
}

static Value makeDict(const Arguments &arguments, DictObject::Role role, Budget &budget) {
  auto dict = makeObject<DictObject>();
  dict->role = role;
  if (!arguments.positional.empty()) {
    const Value &from = arguments.positional[0];
    if (from.isMapping()) {
      dict->entries = from.dict().entries;
    } else if (from.hasItems()) {
      for (const Value &pair : itemsOf(from, budget)) {
        std::vector<Value> parts = itemsOf(pair, budget);
        if (parts.size() != 2)
          throw Error("dict needs pairs, not {} items", parts.size());
        budget.spend(dict->entries.size());
        dict->set(parts[0], parts[1]);
      }
    } else {
      throw Error("dict and namespace take a dict, not {}", from.typeName());
    }
  }
  for (const auto &[name, value] : arguments.named)
    dict->set(Value(name), value);
  budget.spend(dict->entries.size() * sizeof(Value) * 2);
  return dict;
}

/// An object that goes round its values: next(), reset(), current.
static Value makeCycler(const Arguments &arguments) {
  if (arguments.positional.empty())
    throw Error("cycler needs values");
  auto object = makeObject<DictObject>();
  object->role = DictObject::Role::Object;
  auto position = std::make_shared<size_t>(0);
  auto values = std::make_shared<const std::vector<Value>>(arguments.positional);
  // The object owns its methods, so they must not own it.
  std::weak_ptr<DictObject> weak = object;
  auto move = [weak, position, values](size_t to) {
    *position = to % values->size();
    if (auto object = weak.lock())
      object->set("current", (*values)[*position]);
  };
  move(0);
  object->set("next", Value::function("next", [position, values, move](const Arguments &) {
                Value current = (*values)[*position];
                move(*position + 1);
                return current;
              }));
  object->set("reset", Value::function("reset", [move](const Arguments &) {
                move(0);
                return Value();
              }));
  return object;
}

/// A function that gives nothing the first time and the separator from then on.
static Value makeJoiner(const Arguments &arguments) {
  const Value *given = arguments.find(0, "sep");
  Value separator = given ? *given : Value(", ");
  auto used = std::make_shared<bool>(false);
  return Value::function("joiner", [separator, used](const Arguments &) {
    return std::exchange(*used, true) ? separator : Value("");
  });
}

std::map<std::string, Value> jinja::makeGlobals(Budget &budget, std::vector<Value> &namespaces) {
  auto range = [&budget](const Arguments &a) { return makeRange(a, budget); };
  auto plainDict = [&budget](const Arguments &a) {
    return makeDict(a, DictObject::Role::Plain, budget);
  };
  auto makeNamespace = [&budget, &namespaces](const Arguments &a) {
    namespaces.push_back(makeDict(a, DictObject::Role::Namespace, budget));
    return namespaces.back();
  };
  return {
      {"range", Value::function("range", range)},
      {"dict", Value::function("dict", plainDict)},
      {"namespace", Value::function("namespace", makeNamespace)},
      {"cycler", Value::function("cycler", makeCycler)},
      {"joiner", Value::function("joiner", makeJoiner)},
  };
}

Value jinja::makeLoop(const std::shared_ptr<LoopState> &state) {
  const std::vector<Value> &items = state->items;
  size_t i = state->turn;
  auto number = [](size_t n) { return Value(static_cast<int64_t>(n)); };
  auto dict = makeObject<DictObject>();
  dict->role = DictObject::Role::Loop;
  dict->entries = {
      {"index", number(i + 1)},
      {"index0", number(i)},
      {"revindex", number(items.size() - i)},
      {"revindex0", number(items.size() - i - 1)},
      {"first", i == 0},
      {"last", i + 1 == items.size()},
      {"length", number(items.size())},
      {"depth", number(size_t(state->depth))},
      {"depth0", number(size_t(state->depth) - 1)},
      {"previtem",
       i > 0 ? items[i - 1] : Value::undefined("there is no previous item")},
      {"nextitem", i + 1 < items.size()
                       ? items[i + 1]
                       : Value::undefined("there is no next item")},
      {"cycle", Value::function("cycle",
                                [i](const Arguments &arguments) {
                                  if (arguments.positional.empty())
                                    throw Error("cycle needs values");
                                  return arguments.positional[i % arguments.positional.size()];
                                })},
      {"changed", Value::function("changed", [state](const Arguments &arguments) {
         Value now = Value::tuple(arguments.positional);
         bool changed = !state->lastChanged || !(*state->lastChanged == now);
         state->lastChanged = now;
         return Value(changed);
       })}};
  if (state->call.isCallable())
    dict->call = makeObject<const Function>(state->call.function());
  return dict;
}
