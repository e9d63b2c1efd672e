//===- KernelCache.h - Compiled kernels kept on disk ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// Compiled code by the hash of everything it depends on. An entry is written to a
/// temporary file, synced and renamed, and ends with its size and hash, so that a
/// damaged one is never used. Safe to share between processes. A folder that
/// cannot be written is reported once on stderr; everything works without it.
class KernelCache {
public:
  /// Uses MLSYS_CACHE_DIR, else XDG_CACHE_HOME/mlsys, else ~/.cache/mlsys.
  KernelCache();
  explicit KernelCache(std::filesystem::path folder);

  /// The name of the entry that depends on `parts`.
  static std::string key(std::initializer_list<std::string_view> parts);

  /// The entry's bytes, or nothing when there is none or it is damaged.
  std::optional<std::string> get(const std::string &key) const;
  /// The checked entry as a file, for dlopen: the bytes, then the trailer.
  std::optional<std::filesystem::path> getFile(const std::string &key) const;
  /// Returns false when the entry could not be written.
  bool put(const std::string &key, std::string_view bytes);

  const std::filesystem::path &folder() const { return directory; }

private:
  std::filesystem::path directory;
};

} // namespace mlsys::rt
