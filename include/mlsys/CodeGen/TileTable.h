//===- TileTable.h - Tile sizes that were measured --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <map>
#include <string>

namespace mlsys {

/// Tile sizes by the shape of a product or an attention, both as text (see TileChoice.h), for one
/// instruction set. `mlsys tune` writes such a file and tile choice reads it:
///
///   {"isa": "avx512bf16", "threads": 2,
///    "tiles": {"dot rows=512? ...": "rows=12 vectors=2 ...", ...}}
struct TileTable {
  /// A name of Program.fbs, and the worker threads that were measured with.
  std::string isa;
  int64_t threads = 0;
  std::map<std::string, std::string, std::less<>> tiles;

  /// Null when there is none.
  const std::string *find(llvm::StringRef shape) const;

  /// Errors name the file.
  static llvm::Expected<TileTable> read(llvm::StringRef path);
  /// The file appears whole or not at all.
  llvm::Error write(llvm::StringRef path) const;
};

} // namespace mlsys
