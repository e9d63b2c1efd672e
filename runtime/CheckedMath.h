//===- CheckedMath.h - Arithmetic on untrusted sizes ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace mlsys::rt {

/// a + b, or nothing when it does not fit.
inline std::optional<uint64_t> tryAdd(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    return std::nullopt;
  return sum;
}

/// a * b, or nothing when it does not fit.
inline std::optional<uint64_t> tryMul(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    return std::nullopt;
  return product;
}

/// The next multiple of `alignment`, a power of two, or nothing when it does
/// not fit.
inline std::optional<uint64_t> tryAlign(uint64_t value, uint64_t alignment) {
  std::optional<uint64_t> sum = tryAdd(value, alignment - 1);
  if (!sum)
    return std::nullopt;
  return *sum & ~(alignment - 1);
}

/// The number of elements of `shape`; nothing when an extent is negative or the
/// product exceeds int64_t.
inline std::optional<uint64_t> tryElementCount(std::span<const int64_t> shape) {
  uint64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0)
      return std::nullopt;
    std::optional<uint64_t> next = tryMul(count, static_cast<uint64_t>(extent));
    if (!next || *next > static_cast<uint64_t>(INT64_MAX))
      return std::nullopt;
    count = *next;
  }
  return count;
}

/// True when [offset, offset + bytes) lies in [0, size).
inline bool rangeInside(uint64_t offset, uint64_t bytes, uint64_t size) {
  return offset <= size && bytes <= size - offset;
}

} // namespace mlsys::rt
