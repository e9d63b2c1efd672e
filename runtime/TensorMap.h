//===- TensorMap.h - Tensors as the copy engine sees them -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"
#include "runtime/device/mlsys/host_async.h"

#include <cstdint>
#include <span>
#include <string>

namespace mlsys::rt {

/// A tensor in device memory that a kernel reads or writes by tiles: the value
/// of a parameter `tensor_map`. Dimension 0 is the one whose elements are
/// neighbours.
struct TensorMapArgument {
  static constexpr int maxRank = 5;
  void *base = nullptr;
  program::DType type = program::DType::BF16;
  int rank = 0;
  uint64_t extents[maxRank] = {};
  /// Bytes from one index to the next, of dimensions 1 and up.
  uint64_t strides[maxRank - 1] = {};
  /// Elements of a tile.
  uint32_t box[maxRank] = {};
  /// The tile's rows have 128 bytes, whose chunks of 16 are exchanged; else
  /// they lie as they are.
  bool swizzled = true;

  bool operator==(const TensorMapArgument &) const = default;
};

/// Throws rt::Error when the map is none that a GPU takes; `kernel` is for the
/// message.
void checkTensorMap(const TensorMapArgument &map, const std::string &kernel);

/// The pages of the KV cache: how many, and the bytes of each.
struct CachePages {
  uint64_t count = 0, bytes = 0;
};

/// The map of a launch, whose base is still to be set, for symbols and the resulting bytes of the
/// function's buffers. Throws rt::Error when it reaches beyond its buffer, or beyond a page of the cache.
TensorMapArgument bindTensorMap(const program::Function &function, const program::Launch &launch,
                                const program::TensorMap &map, std::span<const int64_t> symbols,
                                std::span<const uint64_t> bufferBytes, const CachePages &pages);

/// The map for the host executor; it has been checked.
host::TensorMap encodeHostTensorMap(const TensorMapArgument &map);

} // namespace mlsys::rt
