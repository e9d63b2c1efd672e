//===- JinjaBuiltins.h - Filters, tests and methods of chat templates ---*- C++
//-*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaValue.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt::jinja {

/// What one rendering may cost: steps, and bytes of the strings it makes.
class Budget {
public:
  /// One step that makes or reads `made` bytes; throws rt::Error when all is
  /// spent.
  void spend(size_t made = 0);

private:
  size_t steps = 2'000'000;
  size_t bytes = size_t(256) << 20;
};

/// The items that a loop over `value` sees; throws if there are none to see.
std::vector<Value> itemsOf(const Value &value, Budget &budget);

/// `object.name`, as Jinja finds it: methods before keys.
Value attribute(const Value &object, const std::string &name, Budget &budget);

/// `object[index]`.
Value subscript(const Value &object, const Value &index, Budget &budget);

/// `object[start:stop:step]`, none for what is absent.
Value slice(const Value &object, const Value &start, const Value &stop,
            const Value &step, Budget &budget);

/// True for Jinja's `needle in haystack`.
bool contains(const Value &haystack, const Value &needle, Budget &budget);

/// Applies the filter `name`; throws for unknown ones.
Value applyFilter(const std::string &name, const Value &value,
                  const Arguments &arguments, Budget &budget);

/// Applies the test `name`; throws for unknown ones.
bool applyTest(const std::string &name, const Value &value,
               const Arguments &arguments, Budget &budget);

/// Python's str.strip with `side` -1 (left), 1 (right) or 0 (both);
/// `characters` none strips white space.
std::string strip(const std::string &text, const Value &characters, int side);

/// Throws when `value` is undefined, as any use of it but printing does.
const Value &defined(const Value &value);

} // namespace mlsys::rt::jinja
