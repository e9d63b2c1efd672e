//===- JsonFields.h - Checked reading of JSON members -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Error.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace mlsys::rt::json {

using Json = nlohmann::json;

/// Parses `text`; `name` says in errors what it is.
inline Json parse(std::string_view text, std::string_view name) {
  try {
    return Json::parse(text);
  } catch (const Json::exception &error) {
    throw Error("{} is not JSON: {}", name, error.what());
  }
}

/// The member `key`, or null when it is absent.
inline const Json &member(const Json &object, const char *key) {
  static const Json null;
  if (!object.is_object())
    return null;
  auto it = object.find(key);
  return it == object.end() ? null : *it;
}

/// The string member `key`; `where` names the object in errors.
inline const std::string &string(const Json &object, const char *key,
                                 std::string_view where) {
  const Json &value = member(object, key);
  if (!value.is_string())
    throw Error("{}: '{}' must be a string but is {}", where, key,
                value.type_name());
  return value.get_ref<const std::string &>();
}

/// The boolean member `key`, or `fallback` when it is absent or null.
inline bool boolean(const Json &object, const char *key, bool fallback,
                    std::string_view where) {
  const Json &value = member(object, key);
  if (value.is_null())
    return fallback;
  if (!value.is_boolean())
    throw Error("{}: '{}' must be true or false but is {}", where, key,
                value.type_name());
  return value.get<bool>();
}

/// `value` as a number in [0, limit).
inline int64_t index(const Json &value, int64_t limit, std::string_view where) {
  bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX) &&
      value.get<int64_t>() >= 0 && value.get<int64_t>() < limit;
  if (!fits)
    throw Error("{}: expected an integer from 0 to {} but found {}", where,
                limit - 1,
                value.dump(-1, ' ', false, Json::error_handler_t::replace));
  return value.get<int64_t>();
}

/// The list member `key`; `where` names the object in errors.
inline const Json &list(const Json &object, const char *key,
                        std::string_view where) {
  const Json &value = member(object, key);
  if (!value.is_array())
    throw Error("{}: '{}' must be a list but is {}", where, key,
                value.type_name());
  return value;
}

} // namespace mlsys::rt::json
