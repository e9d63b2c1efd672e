//===- JinjaCall.h - What a filter or test is given -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaBuiltins.h"

#include <map>

namespace mlsys::rt::jinja {

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
  int64_t integer(size_t index, std::string_view argument, int64_t fallback) const {
    Value given = optional(index, argument);
    return given.isNone() ? fallback : given.integer(argument);
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

using Filter = Value (*)(const Call &);
using FilterTable = std::map<std::string, Filter>;

/// The filters of text and numbers, and those of lists and dicts.
const FilterTable &textFilters();
const FilterTable &listFilters();

} // namespace mlsys::rt::jinja
