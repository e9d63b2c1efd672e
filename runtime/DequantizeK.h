//===- DequantizeK.h - Blocks of 256 with scales of scales ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// GGUF's K types: 256 elements in groups of 16 or 32, whose scales (and minima)
// are small integers times the block's f16. A product has at most 11 + 8 + 6
// significant bits where the code is signed, and 24 hold it: Q6_K's code has 5
// besides its sign. So all products are exact, and only a subtraction rounds.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DequantizeElements.h"

namespace mlsys::rt::dequantize {

/// 16 bytes of scale (low half) and minimum (high half), 64 bytes of two-bit
/// codes, f16 scale, f16 minimum. Each 32 bytes hold 128 elements: bits 2n and
/// 2n + 1 those of row n.
static MLSYS_INLINE void decodeQ2_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 84, destination += 256) {
    float scale = loadF16(source + 80), minimum = loadF16(source + 82);
    for (int group = 0; group < 16; ++group) {
      uint8_t packed = byteAt(source, group);
      float factor = scale * static_cast<float>(packed & 15);
      float offset = minimum * static_cast<float>(packed >> 4);
      const std::byte *codes = source + 16 + 32 * (group / 8) + 16 * (group % 2);
      int shift = group / 2 % 4 * 2;
      for (int i = 0; i < 16; ++i)
        destination[16 * group + i] =
            factor * static_cast<float>(byteAt(codes, i) >> shift & 3) - offset;
    }
  }
}

/// 32 bytes of high bits, 64 bytes of two-bit codes laid out as in Q2_K, 16
/// six-bit scales in 12 bytes (32 standing for zero), f16 scale. A high bit that
/// is not set takes 4 from the code.
static MLSYS_INLINE void decodeQ3_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 110, destination += 256) {
    float scale = loadF16(source + 108);
    const std::byte *scales = source + 96;
    for (int group = 0; group < 16; ++group) {
      int low = byteAt(scales, group % 8) >> (group / 8 * 4) & 15;
      int high = byteAt(scales, 8 + group % 4) >> (group / 4 * 2) & 3;
      float factor = scale * static_cast<float>((low | high << 4) - 32);
      const std::byte *codes = source + 32 + 32 * (group / 8) + 16 * (group % 2);
      const std::byte *mask = source + 16 * (group % 2);
      int shift = group / 2 % 4 * 2, bit = group / 2;
      for (int i = 0; i < 16; ++i) {
        int code = (byteAt(codes, i) >> shift & 3) - (~byteAt(mask, i) >> bit & 1) * 4;
        destination[16 * group + i] = factor * static_cast<float>(code);
      }
    }
  }
}

/// The six-bit scale and minimum of group `group` of 8, from 12 bytes: of the
/// first four in the low bits of bytes 0 to 3 and 4 to 7; of the others the low
/// four bits are in bytes 8 to 11, the high two above the first four's.
static MLSYS_INLINE void sixBitPair(const std::byte *packed, int group, int &scale, int &minimum) {
  int at = group % 4;
  int first = byteAt(packed, at), second = byteAt(packed, 4 + at), third = byteAt(packed, 8 + at);
  scale = group < 4 ? first & 63 : (third & 15) | (first >> 6 << 4);
  minimum = group < 4 ? second & 63 : third >> 4 | (second >> 6 << 4);
}

/// f16 scale, f16 minimum, 12 bytes of scales and minima, 128 bytes of four-bit
/// codes: of each 32 bytes the low halves are one group, the high halves the next.
static MLSYS_INLINE void decodeQ4_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 144, destination += 256) {
    float scale = loadF16(source), minimum = loadF16(source + 2);
    for (int group = 0; group < 8; ++group) {
      int groupScale, groupMinimum;
      sixBitPair(source + 4, group, groupScale, groupMinimum);
      float factor = scale * static_cast<float>(groupScale);
      float offset = minimum * static_cast<float>(groupMinimum);
      const std::byte *codes = source + 16 + 32 * (group / 2);
      int shift = group % 2 * 4;
      for (int i = 0; i < 32; ++i)
        destination[32 * group + i] =
            factor * static_cast<float>(byteAt(codes, i) >> shift & 15) - offset;
    }
  }
}

/// As Q4_K, with 32 bytes of high bits before the codes: bit g of byte i is of
/// element i of group g.
static MLSYS_INLINE void decodeQ5_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 176, destination += 256) {
    float scale = loadF16(source), minimum = loadF16(source + 2);
    const std::byte *mask = source + 16;
    for (int group = 0; group < 8; ++group) {
      int groupScale, groupMinimum;
      sixBitPair(source + 4, group, groupScale, groupMinimum);
      float factor = scale * static_cast<float>(groupScale);
      float offset = minimum * static_cast<float>(groupMinimum);
      const std::byte *codes = source + 48 + 32 * (group / 2);
      int shift = group % 2 * 4;
      for (int i = 0; i < 32; ++i) {
        int code = (byteAt(codes, i) >> shift & 15) | (byteAt(mask, i) >> group & 1) << 4;
        destination[32 * group + i] = factor * static_cast<float>(code) - offset;
      }
    }
  }
}

/// 128 bytes of low halves, 64 bytes of high pairs, 16 signed scales, f16 scale.
/// Each half of the block has 64 and 32 of the bytes and four rows of 32; 32
/// stands for zero.
static MLSYS_INLINE void decodeQ6_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 210, destination += 256) {
    float scale = loadF16(source + 208);
    for (int group = 0; group < 16; ++group) {
      float factor = scale * static_cast<float>(load<int8_t>(source + 192 + group));
      int half = group / 8, row = group / 2 % 4, side = 16 * (group % 2);
      const std::byte *low = source + 64 * half + 32 * (row % 2) + side;
      const std::byte *high = source + 128 + 32 * half + side;
      int lowShift = row / 2 * 4, highShift = row * 2;
      for (int i = 0; i < 16; ++i) {
        int code = (byteAt(low, i) >> lowShift & 15) | (byteAt(high, i) >> highShift & 3) << 4;
        destination[16 * group + i] = factor * static_cast<float>(code - 32);
      }
    }
  }
}

} // namespace mlsys::rt::dequantize
