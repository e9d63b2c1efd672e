//===- DequantizeIq.h - Blocks whose codes are rows of a grid ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// GGUF's IQ types: a code stands for 8 (or 4) elements, a row of the type's grid
// (DequantizeGrids.h), with signs beside it. Blocks have 256 elements; all
// products are exact in f32.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DequantizeBlocks.h"
#include "runtime/DequantizeElements.h"
#include "runtime/DequantizeGrids.h"

namespace mlsys::rt::dequantize {

/// `width` elements: a grid's row times `scale`, those with a bit in `signs`
/// negated.
template <int width>
static MLSYS_INLINE void signedRow(const int8_t *row, float scale, uint32_t signs,
                                   float *__restrict destination) {
  for (int i = 0; i < width; ++i) {
    float value = scale * static_cast<float>(row[i]);
    destination[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ (signs >> i & 1u) << 31);
  }
}

/// Seven signs; the eighth makes their number even.
static MLSYS_INLINE uint32_t evenSigns(uint32_t seven) {
  uint32_t parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 1u) << 7;
}

/// f16 scale; for each 32 elements four bytes of codes, four times seven signs
/// and a four-bit scale.
static MLSYS_INLINE void decodeIQ2_XXS(const std::byte *source, float *__restrict destination,
                                       int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 66, destination += 256) {
    float scale = loadF16(source);
    for (int group = 0; group < 8; ++group) {
      const std::byte *codes = source + 2 + 8 * group;
      uint32_t packed = load<uint32_t>(codes + 4);
      float factor = scale * (0.5f + static_cast<float>(packed >> 28)) * 0.25f;
      for (int n = 0; n < 4; ++n)
        signedRow<8>(gridIq2Xxs.row(byteAt(codes, n)), factor,
                     evenSigns(packed >> (7 * n) & 127u), destination + 32 * group + 8 * n);
    }
  }
}

/// f16 scale, 32 codes of nine bits with seven signs above, 16 four-bit scales.
static MLSYS_INLINE void decodeIQ2_XS(const std::byte *source, float *__restrict destination,
                                      int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 74, destination += 256) {
    float scale = loadF16(source);
    for (int n = 0; n < 32; ++n) {
      uint32_t packed = load<uint16_t>(source + 2 + 2 * n);
      int groupScale = byteAt(source, 66 + n / 4) >> (n / 2 % 2 * 4) & 15;
      float factor = scale * (0.5f + static_cast<float>(groupScale)) * 0.25f;
      signedRow<8>(gridIq2Xs.row(packed & 511u), factor, evenSigns(packed >> 9),
                   destination + 8 * n);
    }
  }
}

/// f16 scale, 32 low bytes of codes, 32 bytes of signs, 8 bytes of the codes'
/// high pairs, 16 four-bit scales.
static MLSYS_INLINE void decodeIQ2_S(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 82, destination += 256) {
    float scale = loadF16(source);
    for (int n = 0; n < 32; ++n) {
      uint32_t high = byteAt(source, 66 + n / 4) >> (n % 4 * 2) & 3u;
      int groupScale = byteAt(source, 74 + n / 4) >> (n / 2 % 2 * 4) & 15;
      float factor = scale * (0.5f + static_cast<float>(groupScale)) * 0.25f;
      signedRow<8>(gridIq2S.row(byteAt(source, 2 + n) | high << 8), factor,
                   byteAt(source, 34 + n), destination + 8 * n);
    }
  }
}

/// f16 scale, 64 bytes of codes of four elements, for each 32 elements four
/// times seven signs and a four-bit scale.
static MLSYS_INLINE void decodeIQ3_XXS(const std::byte *source, float *__restrict destination,
                                       int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 98, destination += 256) {
    float scale = loadF16(source);
    for (int group = 0; group < 8; ++group) {
      uint32_t packed = load<uint32_t>(source + 66 + 4 * group);
      float factor = scale * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
      for (int n = 0; n < 8; ++n) {
        uint32_t signs = evenSigns(packed >> (7 * (n / 2)) & 127u) >> (n % 2 * 4);
        signedRow<4>(gridIq3Xxs.row(byteAt(source, 2 + 8 * group + n)), factor, signs,
                     destination + 32 * group + 4 * n);
      }
    }
  }
}

/// f16 scale, 64 low bytes of codes of four elements, 8 bytes of their high
/// bits, 32 bytes of signs, 8 four-bit scales.
static MLSYS_INLINE void decodeIQ3_S(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 110, destination += 256) {
    float scale = loadF16(source);
    for (int n = 0; n < 64; ++n) {
      uint32_t high = byteAt(source, 66 + n / 8) >> (n % 8) & 1u;
      int groupScale = byteAt(source, 106 + n / 16) >> (n / 8 % 2 * 4) & 15;
      float factor = scale * static_cast<float>(1 + 2 * groupScale);
      uint32_t signs = byteAt(source, 74 + n / 2) >> (n % 2 * 4);
      signedRow<4>(gridIq3S.row(byteAt(source, 2 + n) | high << 8), factor, signs,
                   destination + 4 * n);
    }
  }
}

/// 8 elements of IQ1_S and IQ1_M: a row of -1, 0 and 1, moved by an eighth.
static MLSYS_INLINE void shiftedRow(const int8_t *row, float scale, bool down,
                                    float *__restrict destination) {
  float shift = down ? -0.125f : 0.125f;
  for (int i = 0; i < 8; ++i)
    destination[i] = scale * (static_cast<float>(row[i]) + shift);
}

/// f16 scale, 32 low bytes of codes; for each 32 elements 16 bits: four times
/// the three high bits of a code, a three-bit scale, the direction of the shift.
static MLSYS_INLINE void decodeIQ1_S(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 50, destination += 256) {
    float scale = loadF16(source);
    for (int group = 0; group < 8; ++group) {
      uint32_t packed = load<uint16_t>(source + 34 + 2 * group);
      float factor = scale * static_cast<float>(2 * (packed >> 12 & 7u) + 1);
      for (int n = 0; n < 4; ++n) {
        uint32_t code = byteAt(source, 2 + 4 * group + n) | (packed >> (3 * n) & 7u) << 8;
        shiftedRow(gridIq1.row(code), factor, packed & 0x8000u,
                   destination + 32 * group + 8 * n);
      }
    }
  }
}

/// 32 low bytes of codes, 16 bytes of their high bits (three, and the direction
/// of the shift), four 16-bit words of four three-bit scales each; the words'
/// highest four bits together are the f16 scale.
static MLSYS_INLINE void decodeIQ1_M(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 56, destination += 256) {
    uint32_t bits = 0;
    for (int n = 0; n < 4; ++n)
      bits |= static_cast<uint32_t>(load<uint16_t>(source + 48 + 2 * n)) >> 12 << (4 * n);
    float scale = decodeF16(static_cast<uint16_t>(bits));
    for (int n = 0; n < 32; ++n) {
      uint32_t high = byteAt(source, 32 + n / 2) >> (n % 2 * 4);
      uint32_t scales = load<uint16_t>(source + 48 + 2 * (n / 8));
      float factor = scale * static_cast<float>(2 * (scales >> (n / 2 % 4 * 3) & 7u) + 1);
      shiftedRow(gridIq1.row(byteAt(source, n) | (high & 7u) << 8), factor, high & 8u,
                 destination + 8 * n);
    }
  }
}

/// f16 scale, 8 pairs of high bits of the six-bit scales (32 standing for zero),
/// 8 four-bit low halves, 128 bytes: for each 32 elements 16, laid out as in Q4_0.
static MLSYS_INLINE void decodeIQ4_XS(const std::byte *source, float *__restrict destination,
                                      int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 136, destination += 256) {
    float scale = loadF16(source);
    int highs = load<uint16_t>(source + 2);
    for (int group = 0; group < 8; ++group) {
      int low = byteAt(source, 4 + group / 2) >> (group % 2 * 4) & 15;
      float factor = scale * static_cast<float>((low | (highs >> (2 * group) & 3) << 4) - 32);
      const std::byte *codes = source + 8 + 16 * group;
      float *out = destination + 32 * group;
      for (int i = 0; i < 16; ++i)
        out[i] = factor * static_cast<float>(unevenCodes[byteAt(codes, i) & 15]);
      for (int i = 0; i < 16; ++i)
        out[16 + i] = factor * static_cast<float>(unevenCodes[byteAt(codes, i) >> 4]);
    }
  }
}

} // namespace mlsys::rt::dequantize
