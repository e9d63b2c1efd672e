//===- DequantizeElements.h - Single elements and loads ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

/// The loops of Dequantize.cpp are compiled for several instruction sets; what
/// they call must be inlined into each.
#define MLSYS_INLINE inline __attribute__((always_inline))

namespace mlsys::rt::dequantize {

/// The number at `source`, which may lie anywhere.
template <typename T> MLSYS_INLINE T load(const std::byte *source) {
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

/// The bits of an f16 as f32, without branches.
static MLSYS_INLINE float decodeF16(uint16_t half) {
  uint32_t magnitude = half & 0x7fffu;
  // Subnormals: 0.5 + m * 2^-24 has m in its lowest bits.
  float small = std::bit_cast<float>(magnitude | 0x3f000000u) - 0.5f;
  uint32_t rebiased = (magnitude << 13) + (112u << 23);
  uint32_t special = (magnitude << 13) | 0x7f800000u;
  uint32_t bits = magnitude >= 0x7c00u ? special : rebiased;
  bits = magnitude < 0x0400u ? std::bit_cast<uint32_t>(small) : bits;
  return std::bit_cast<float>(bits | (static_cast<uint32_t>(half & 0x8000u) << 16));
}

/// The f16 at `source`.
static MLSYS_INLINE float loadF16(const std::byte *source) {
  return decodeF16(load<uint16_t>(source));
}

/// Byte `index` from `source`.
static MLSYS_INLINE uint8_t byteAt(const std::byte *source, int index) {
  return static_cast<uint8_t>(source[index]);
}

} // namespace mlsys::rt::dequantize
