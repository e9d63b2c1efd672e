//===- JinjaListFilters.cpp - Filters of lists and dicts --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaCall.h"

#include "runtime/Error.h"

#include <algorithm>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

//===----------------------------------------------------------------------===//
// Attributes and keys
//===----------------------------------------------------------------------===//

/// The attribute of an item that `path` names, with dots for more than one
/// step; numbers are indices.
static Value attributePath(Value item, const Value &path, Budget &budget) {
  if (path.isInteger())
    return subscript(item, path, budget);
  if (!path.isString())
    throw Error("an attribute must be a str, not {}", path.typeName());
  std::string_view rest = path.string();
  while (!rest.empty()) {
    size_t dot = std::min(rest.find('.'), rest.size());
    std::string part(rest.substr(0, dot));
    bool isIndex = !part.empty() && part.size() < 10 &&
                   part.find_first_not_of("0123456789") == std::string::npos;
    item = subscript(item, isIndex ? Value(int64_t(std::stoll(part))) : Value(part), budget);
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return item;
}

/// Capital letters count as small ones.
static Value withoutCase(const Value &value) {
  return value.isString() ? Value(changeCase(value.string(), Case::Lower)) : value;
}

/// What an item is compared by: itself or an attribute, perhaps without case.
static Value keyOf(const Value &item, const Value &path, bool caseSensitive, Budget &budget) {
  Value key = path.isNone() ? item : attributePath(item, path, budget);
  return caseSensitive ? key : withoutCase(key);
}

/// The order of items by their keys. Equal ones stay as they are, also when descending.
static std::vector<size_t> sortedOrder(const std::vector<Value> &keys, bool descending,
                                       Budget &budget) {
  budget.spend(keys.size() * 64);
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    int result = compare(keys[a], keys[b]);
    return result != 0 ? (descending ? result > 0 : result < 0) : a < b;
  });
  return order;
}

static Value sortFilter(const Call &call) {
  std::vector<Value> items = call.items(), keys, paths;
  bool caseSensitive = call.flag(1, "case_sensitive");
  Value path = call.optional(2, "attribute");
  // Several attributes have commas between.
  if (path.isString() && path.string().find(',') != std::string::npos)
    paths = callStringMethod(path, "split", {{Value(",")}, {}}, call.budget).list().items;
  else
    paths = {path};
  for (const Value &item : items) {
    std::vector<Value> parts;
    for (const Value &part : paths)
      parts.push_back(keyOf(item, part, caseSensitive, call.budget));
    // As a row: of its parts, those that are equal need no order.
    keys.push_back(Value::tuple(std::move(parts)));
  }
  std::vector<Value> sorted;
  for (size_t i : sortedOrder(keys, call.flag(0, "reverse"), call.budget))
    sorted.push_back(items[i]);
  return Value::list(std::move(sorted));
}

static Value dictSort(const Call &call) {
  if (!defined(call.value).isMapping())
    throw Error("dictsort needs a dict, not {}", call.value.typeName());
  bool caseSensitive = call.flag(0, "case_sensitive");
  const Value *by = call.arguments.find(1, "by");
  std::string what = by ? by->text() : "key";
  if (what != "key" && what != "value")
    throw Error("dictsort sorts by key or value, not by {}", what);
  const auto &entries = call.value.dict().entries;
  std::vector<Value> keys, sorted;
  for (const auto &[key, value] : entries)
    keys.push_back(caseSensitive ? (what == "key" ? key : value)
                                 : withoutCase(what == "key" ? key : value));
  for (size_t i : sortedOrder(keys, call.flag(2, "reverse"), call.budget))
    sorted.push_back(Value::tuple({entries[i].first, entries[i].second}));
  return Value::list(std::move(sorted));
}

static Value uniqueFilter(const Call &call) {
  bool caseSensitive = call.flag(0, "case_sensitive");
  Value path = call.optional(1, "attribute");
  std::vector<Value> kept, keys;
  for (const Value &item : call.items()) {
    Value key = keyOf(item, path, caseSensitive, call.budget);
    call.budget.spend(keys.size() * 8);
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      continue;
    keys.push_back(key);
    kept.push_back(item);
  }
  return Value::generator(std::move(kept));
}

static Value groupBy(const Call &call) {
  const Value &path = call.required(0, "attribute");
  Value fallback = call.optional(1, "default");
  bool caseSensitive = call.flag(2, "case_sensitive");
  std::vector<Value> items = call.items(), labels, keys, groups;
  for (const Value &item : items) {
    Value label = attributePath(item, path, call.budget);
    labels.push_back(label.isUndefined() && !fallback.isNone() ? fallback : label);
    keys.push_back(caseSensitive ? labels.back() : withoutCase(labels.back()));
  }
  std::vector<size_t> order = sortedOrder(keys, false, call.budget);
  for (size_t i = 0; i < order.size();) {
    std::vector<Value> members;
    size_t first = order[i];
    for (; i < order.size() && keys[order[i]] == keys[first]; ++i)
      members.push_back(items[order[i]]);
    groups.push_back(Value::list({labels[first], Value::list(std::move(members))},
                                 ListObject::Kind::Group));
  }
  return Value::list(std::move(groups));
}

static Value extremeFilter(const Call &call) {
  std::vector<Value> items = call.items(), keys;
  if (items.empty())
    return Value::undefined("the list is empty");
  for (const Value &item : items)
    keys.push_back(defined(
        keyOf(item, call.optional(1, "attribute"), call.flag(0, "case_sensitive"), call.budget)));
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    int order = compare(keys[i], keys[best]);
    if (call.name == "min" ? order < 0 : order > 0)
      best = i;
  }
  return items[best];
}

//===----------------------------------------------------------------------===//
// Each item
//===----------------------------------------------------------------------===//

/// The items; none of what counts as false, whatever it is.
static std::vector<Value> itemsIfAny(const Call &call) {
  return call.value.truth() ? call.items() : std::vector<Value>();
}

static Value mapFilter(const Call &call) {
  std::vector<Value> result;
  const Value *path = nullptr, *fallback = nullptr;
  const auto &all = call.arguments.positional;
  if (all.empty())
    for (const auto &[name, value] : call.arguments.named) {
      if (name == "attribute")
        path = &value;
      else if (name == "default")
        fallback = &value;
      else
        throw Error("map does not support '{}'", name);
    }
  if (!path && !call.required(0, "filter").isString())
    throw Error("map needs the name of a filter, not {}", all[0].typeName());
  for (const Value &item : itemsIfAny(call)) {
    if (path) {
      Value found = attributePath(item, *path, call.budget);
      result.push_back(found.isUndefined() && fallback ? *fallback : found);
      continue;
    }
    Arguments rest{{all.begin() + 1, all.end()}, call.arguments.named};
    result.push_back(applyFilter(all[0].string(), item, rest, call.budget));
  }
  return Value::generator(std::move(result));
}

/// select, reject, selectattr and rejectattr.
static Value selectFilter(const Call &call) {
  bool byAttribute = call.name.ends_with("attr");
  bool wanted = call.name.starts_with("select");
  const auto &all = call.arguments.positional;
  if (byAttribute && all.empty())
    throw Error("{} needs the name of an attribute", call.name);
  size_t testAt = byAttribute ? 1 : 0;
  if (testAt < all.size() && !all[testAt].isString())
    throw Error("{} needs the name of a test, not {}", call.name,
                all[testAt].typeName());
  std::vector<Value> kept;
  for (const Value &item : itemsIfAny(call)) {
    Value tested =
        byAttribute ? attributePath(item, all[0], call.budget) : item;
    bool passes = tested.truth();
    if (testAt < all.size()) {
      Arguments rest{{all.begin() + long(testAt) + 1, all.end()}, call.arguments.named};
      passes = applyTest(all[testAt].string(), tested, rest, call.budget);
    }
    if (passes == wanted)
      kept.push_back(item);
  }
  return Value::generator(std::move(kept));
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

static Value sumFilter(const Call &call) {
  Value path = call.optional(0, "attribute"), start = call.optional(1, "start");
  Value total = start.isNone() ? Value(int64_t(0)) : start;
  for (const Value &entry : call.items()) {
    Value item = path.isNone() ? entry : attributePath(entry, path, call.budget);
    if (total.isString() || item.isString())
      throw Error("an item of sum must be a number, not str");
    total = arithmetic("+", total, item, call.budget);
  }
  return total;
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

static Value firstFilter(const Call &call) {
  // Of a generator the others stay.
  if (call.value.isGenerator() && !call.value.list().items.empty()) {
    auto &left = call.value.list().items;
    Value first = left.front();
    left.erase(left.begin());
    return first;
  }
  std::vector<Value> items = call.items();
  return items.empty() ? Value::undefined("the list is empty") : items.front();
}

static void refuseGenerator(const Call &call) {
  if (call.value.isGenerator())
    throw Error("{} needs a list; put |list before it", call.name);
}

static Value lastFilter(const Call &call) {
  refuseGenerator(call);
  std::vector<Value> items = call.items();
  return items.empty() ? Value::undefined("the list is empty") : items.back();
}

static Value reverseFilter(const Call &call) {
  std::vector<Value> items = call.items();
  std::reverse(items.begin(), items.end());
  if (!call.value.isString())
    return call.value.isGenerator() ? Value::list(std::move(items))
                                    : Value::generator(std::move(items));
  std::string text;
  for (const Value &item : items)
    text += item.string();
  return text;
}

/// Lists of `count` items, the last one filled up if asked for.
static Value batchFilter(const Call &call) {
  int64_t count = call.required(0, "linecount").integer("linecount");
  if (count < 1)
    throw Error("batch needs a count of at least 1, not {}", count);
  Value fill = call.optional(1, "fill_with");
  std::vector<Value> rows, row;
  for (const Value &item : call.items()) {
    if (int64_t(row.size()) == count)
      rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (!fill.isNone() && int64_t(row.size()) < count) {
      call.budget.spend(size_t(std::min<int64_t>(count, int64_t(1) << 40)) * sizeof(Value));
      row.resize(size_t(count), fill);
    }
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::generator(std::move(rows));
}

/// `slices` lists as even as can be, the first ones longer.
static Value sliceFilter(const Call &call) {
  int64_t slices = call.required(0, "slices").integer("slices");
  if (slices < 1)
    throw Error("slice needs a count of at least 1, not {}", slices);
  call.budget.spend(size_t(std::min<int64_t>(slices, int64_t(1) << 40)) * sizeof(Value) * 4);
  Value fill = call.optional(1, "fill_with");
  std::vector<Value> items = call.items(), columns;
  size_t each = items.size() / size_t(slices), longer = items.size() % size_t(slices), begin = 0;
  for (size_t i = 0; i < size_t(slices); ++i) {
    size_t size = each + (i < longer);
    std::vector<Value> column(items.begin() + long(begin), items.begin() + long(begin + size));
    if (!fill.isNone() && i >= longer)
      column.push_back(fill);
    columns.push_back(Value::list(std::move(column)));
    begin += size;
  }
  return Value::generator(std::move(columns));
}

static Value itemsFilter(const Call &call) {
  if (call.value.isUndefined())
    return Value::generator({});
  if (!call.value.isMapping())
    throw Error("items needs a dict, not {}", call.value.typeName());
  std::vector<Value> result;
  call.budget.spend(call.value.dict().entries.size() * sizeof(Value) * 4);
  for (const auto &[key, item] : call.value.dict().entries)
    result.push_back(Value::tuple({key, item}));
  return Value::generator(std::move(result));
}

static Value defaultFilter(const Call &call) {
  bool falls = call.value.isUndefined() || (call.flag(1, "boolean") && !call.value.truth());
  const Value *fallback = call.arguments.find(0, "default_value");
  return !falls ? call.value : fallback ? *fallback : Value("");
}

const FilterTable &jinja::listFilters() {
  static const Filter length = [](const Call &c) { return Value(lengthOf(c.value)); };
  static const FilterTable table = {
      {"attr",
       [](const Call &c) { return method(c.value, c.required(0, "name").text(), c.budget); }},
      {"batch", batchFilter},
      {"count", length},
      {"d", defaultFilter},
      {"default", defaultFilter},
      {"dictsort", dictSort},
      {"first", firstFilter},
      {"groupby", groupBy},
      {"items", itemsFilter},
      {"join", joinFilter},
      {"last", lastFilter},
      {"length", length},
      {"list", [](const Call &c) { return Value::list(c.items()); }},
      {"map", mapFilter},
      {"max", extremeFilter},
      {"min", extremeFilter},
      {"reject", selectFilter},
      {"rejectattr", selectFilter},
      {"reverse", reverseFilter},
      {"select", selectFilter},
      {"selectattr", selectFilter},
      {"slice", sliceFilter},
      {"sort", sortFilter},
      {"sum", sumFilter},
      {"unique", uniqueFilter},
  };
  return table;
}
