//===- MappedFile.h - A file mapped for reading -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mlsys::rt {

/// A regular file, mapped read-only for as long as this object lives.
class MappedFile {
public:
  /// Throws rt::Error naming the file when it is missing, is not a regular file
  /// or cannot be mapped.
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return filePath; }
  uint64_t size() const { return byteCount; }
  const std::byte *data() const { return static_cast<const std::byte *>(address); }
  std::span<const std::byte> bytes() const { return {data(), static_cast<size_t>(byteCount)}; }

  /// Asks the system to read ahead in the whole file.
  void prefetch() const;

  /// Gives the memory of the pages that `bytes` lie in back; reading them again reads the file again.
  /// `bytes` are part of any mapping of a file that was never written to, not of other memory.
  static void release(std::span<const std::byte> bytes);

private:
  void unmap() noexcept;

  std::string filePath;
  void *address = nullptr;
  uint64_t byteCount = 0;
};

} // namespace mlsys::rt
