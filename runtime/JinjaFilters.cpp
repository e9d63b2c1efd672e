//===- JinjaFilters.cpp - The filters of chat templates ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaCall.h"

#include "runtime/Error.h"

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

static const FilterTable &filters() {
  static const FilterTable table = [] {
    FilterTable all = textFilters();
    all.insert(listFilters().begin(), listFilters().end());
    return all;
  }();
  return table;
}

bool jinja::isFilter(const std::string &name) { return filters().contains(name); }

Value jinja::applyFilter(const std::string &name, const Value &value,
                         const Arguments &arguments, Budget &budget) {
  budget.spend();
  auto it = filters().find(name);
  if (it == filters().end()) {
    std::string list;
    for (const auto &entry : filters())
      list.append(list.empty() ? "" : ", ").append(entry.first);
    throw Error("the filter '{}' is not supported; supported are {}", name,
                list);
  }
  return it->second({name, value, arguments, budget});
}
