//===- AtomicFile.h - A file that appears whole or not at all ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// Writes to a temporary file beside `path`; `commit` makes it `path` in one
/// step. Without `commit` (an error, a full disk) nothing remains.
class AtomicFile {
public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile &) = delete;
  AtomicFile &operator=(const AtomicFile &) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Bytes written so far.
  uint64_t size() const { return written; }
  /// Flushes to disk and renames. Throws rt::Error, leaving any old file.
  void commit();

private:
  [[noreturn]] void fail(std::string_view action) const;

  std::string path;
  std::string temporary;
  int fd = -1;
  /// The temporary file has no name yet.
  bool unnamed = false;
  uint64_t written = 0;
};

} // namespace mlsys::rt
