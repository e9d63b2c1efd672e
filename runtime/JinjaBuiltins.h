//===- JinjaBuiltins.h - What chat template values can do -------*- C++ -*-===//
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

//===----------------------------------------------------------------------===//
// Items and attributes (JinjaMethods.cpp)
//===----------------------------------------------------------------------===//

/// Throws when `value` is undefined, as any use of it but printing does.
const Value &defined(const Value &value);

/// The items that a loop over `value` sees; throws if there are none to see. A
/// generator has none left then.
std::vector<Value> itemsOf(const Value &value, Budget &budget);

/// The number of items or characters; throws if there is none.
int64_t lengthOf(const Value &value);

/// `object.name`, as Jinja finds it: methods before keys.
Value attribute(const Value &object, const std::string &name, Budget &budget);

/// The method of a value, undefined if it has none of that name.
Value method(const Value &object, const std::string &name, Budget &budget);

/// `object[index]`.
Value subscript(const Value &object, const Value &index, Budget &budget);

/// `object[start:stop:step]`, none for what is absent.
Value slice(const Value &object, const Value &start, const Value &stop,
            const Value &step, Budget &budget);

/// True for Jinja's `needle in haystack`.
bool contains(const Value &haystack, const Value &needle, Budget &budget);

//===----------------------------------------------------------------------===//
// Strings (JinjaStrings.cpp, JinjaStringMethods.cpp)
//===----------------------------------------------------------------------===//

/// How letters are mapped, one by one.
enum class Case { Upper, Lower, Title, Capital };

/// `text` with other letters. Title is Jinja's: words start at the beginning and
/// behind spaces, hyphens and opening brackets.
std::string changeCase(const std::string &text, Case wanted);

/// The code points of a string, each as a string.
std::vector<std::string> characters(const std::string &text);

/// Python's str.isspace for one character.
bool isPythonSpace(char32_t c);

/// Python's str.strip with `side` -1 (left), 1 (right) or 0 (both);
/// `characters` none strips white space.
std::string strip(const std::string &text, const Value &characters, int side);

/// Python's str.splitlines.
std::vector<std::string> splitLines(const std::string &text, bool keepEnds);

/// `text` between spaces, `width` characters wide in all if it is shorter. `side`
/// is where it stands: -1 left, 0 in the middle, 1 right.
std::string pad(const std::string &text, int64_t width, const std::string &fill,
                int side, Budget &budget);

/// True when a str has a method of this name.
bool isStringMethod(std::string_view name);

/// Calls a method of a str that there is.
Value callStringMethod(const Value &object, const std::string &name,
                       const Arguments &arguments, Budget &budget);

//===----------------------------------------------------------------------===//
// Formats (JinjaFormat.cpp)
//===----------------------------------------------------------------------===//

/// Python's `format % value`.
std::string formatPercent(const std::string &format, const Value &value,
                          Budget &budget);

/// Python's format.format(arguments).
std::string formatBraces(const std::string &format, const Arguments &arguments,
                         Budget &budget);

/// Python's round(value, digits) of a float.
double roundTo(double value, int64_t digits);

//===----------------------------------------------------------------------===//
// Operators (JinjaArithmetic.cpp)
//===----------------------------------------------------------------------===//

/// `left op right` for + - * / // % ** and ~.
Value arithmetic(const std::string &op, Value left, Value right, Budget &budget);

/// -value, or value for +.
Value signedValue(const std::string &op, const Value &value);

//===----------------------------------------------------------------------===//
// Filters and tests (JinjaFilters.cpp, JinjaTests.cpp)
//===----------------------------------------------------------------------===//

/// Applies the filter `name`; throws for unknown ones.
Value applyFilter(const std::string &name, const Value &value,
                  const Arguments &arguments, Budget &budget);

/// Applies the test `name`; throws for unknown ones.
bool applyTest(const std::string &name, const Value &value,
               const Arguments &arguments, Budget &budget);

/// True when there is a filter or test of this name.
bool isFilter(const std::string &name);
bool isTest(const std::string &name);

} // namespace mlsys::rt::jinja
