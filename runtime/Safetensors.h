//===- Safetensors.h - Reads safetensors headers ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/StoredTensor.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// The tensors of one safetensors file or of a sharded set. Every extent has
/// been checked: inside its file, no overlap, size equal to shape times type.
struct Safetensors {
  struct File {
    std::string path;
    uint64_t size = 0;
  };
  std::vector<File> files;
  /// Sorted by name.
  std::vector<StoredTensor> tensors;
  /// The string pairs of `__metadata__`.
  std::map<std::string, std::string> metadata;

  /// The tensor called `name`, or null.
  const StoredTensor *find(std::string_view name) const;
};

/// Reads the header of one file. Throws rt::Error naming the file and tensor.
Safetensors readSafetensors(const std::string &path);

/// Reads model.safetensors of a folder, or the shards that its
/// model.safetensors.index.json lists.
Safetensors readSafetensorsFolder(const std::string &folder);

} // namespace mlsys::rt
