//===- Fuzz.h - What the fuzz targets share ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Error.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

namespace mlsys::fuzz {

/// A file in memory, for readers that take a path.
class MemoryFile {
public:
  explicit MemoryFile(std::string_view bytes) : descriptor(::memfd_create("fuzz", 0)) {
    if (descriptor < 0 || ::write(descriptor, bytes.data(), bytes.size()) !=
                              static_cast<ssize_t>(bytes.size()))
      __builtin_trap();
  }
  ~MemoryFile() { ::close(descriptor); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }

private:
  int descriptor;
};

/// The input as text.
inline std::string_view textOf(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

/// What comes before the first zero byte, and what comes after it.
inline std::pair<std::string_view, std::string_view> splitAtZero(std::string_view text) {
  size_t zero = text.find('\0');
  if (zero == std::string_view::npos)
    return {text, {}};
  return {text.substr(0, zero), text.substr(zero + 1)};
}

/// Calls `function`. An rt::Error is the right answer to a bad input; whatever
/// else is thrown ends the target and is a finding.
template <typename F> void expectErrorsOnly(F &&function) {
  try {
    function();
  } catch (const rt::Error &) {
  }
}

} // namespace mlsys::fuzz
