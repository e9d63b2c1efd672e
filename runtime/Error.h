//===- Error.h - The error that the runtime throws --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace mlsys::rt {

/// A failure that the user can act on. The text names the file, tensor or flag,
/// what was expected and what to do; tools print it after "error: ".
class Error : public std::runtime_error {
public:
  explicit Error(const std::string &message) : std::runtime_error(message) {}

  /// Formats the message as fmt::format does.
  template <typename... Args>
  explicit Error(fmt::format_string<Args...> format, Args &&...args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

} // namespace mlsys::rt
