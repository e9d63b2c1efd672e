//===- DequantizeBlocks.h - Blocks with one scale ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// GGUF's types whose blocks have one scale, or one scale for each few elements
// and nothing else. Every product is exact in f32 (a scale has 11 bits at most,
// a code 8), so neither the order of factors nor a fused multiply-add changes a
// result. In all loops `count` is a multiple of the block.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DequantizeElements.h"

namespace mlsys::rt::dequantize {

/// Block of 32: f16 scale, 32 signed bytes.
static MLSYS_INLINE void decodeQ8_0(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 34, destination += 32) {
    float scale = loadF16(source);
    const int8_t *values = reinterpret_cast<const int8_t *>(source + 2);
    for (int i = 0; i < 32; ++i)
      destination[i] = scale * static_cast<float>(values[i]);
  }
}

/// Block of 256: f32 scale, 256 signed bytes, 16 sums of bytes that llama.cpp's
/// products use. The only type whose product rounds.
static MLSYS_INLINE void decodeQ8_K(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 292, destination += 256) {
    float scale = load<float>(source);
    const int8_t *values = reinterpret_cast<const int8_t *>(source + 4);
    for (int i = 0; i < 256; ++i)
      destination[i] = scale * static_cast<float>(values[i]);
  }
}

/// Block of 32: f16 scale, 16 bytes; the low halves are elements 0 to 15, the
/// high halves 16 to 31, 8 standing for zero.
static MLSYS_INLINE void decodeQ4_0(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 18, destination += 32) {
    float scale = loadF16(source);
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 2);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(static_cast<int>(values[i] & 15) - 8);
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(static_cast<int>(values[i] >> 4) - 8);
  }
}

/// Block of 32: f16 scale, f16 minimum, 16 bytes laid out as in Q4_0.
static MLSYS_INLINE void decodeQ4_1(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 20, destination += 32) {
    float scale = loadF16(source);
    float minimum = loadF16(source + 2);
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 4);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(static_cast<int>(values[i] & 15)) + minimum;
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(static_cast<int>(values[i] >> 4)) + minimum;
  }
}

/// The 5-bit codes of 32 elements: four bits laid out as in Q4_0, and bit i of
/// `high` above those of element i.
static MLSYS_INLINE void fiveBits(const uint8_t *values, uint32_t high, int *__restrict codes) {
  for (int i = 0; i < 16; ++i)
    codes[i] = static_cast<int>((values[i] & 15u) | ((high >> i & 1u) << 4));
  for (int i = 0; i < 16; ++i)
    codes[16 + i] = static_cast<int>((values[i] >> 4) | ((high >> (16 + i) & 1u) << 4));
}

/// Block of 32: f16 scale, 32 high bits, 16 bytes; 16 stands for zero.
static MLSYS_INLINE void decodeQ5_0(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 22, destination += 32) {
    float scale = loadF16(source);
    int codes[32];
    fiveBits(reinterpret_cast<const uint8_t *>(source + 6), load<uint32_t>(source + 2), codes);
    for (int i = 0; i < 32; ++i)
      destination[i] = scale * static_cast<float>(codes[i] - 16);
  }
}

/// Block of 32: f16 scale, f16 minimum, 32 high bits, 16 bytes.
static MLSYS_INLINE void decodeQ5_1(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 24, destination += 32) {
    float scale = loadF16(source);
    float minimum = loadF16(source + 2);
    int codes[32];
    fiveBits(reinterpret_cast<const uint8_t *>(source + 8), load<uint32_t>(source + 4), codes);
    for (int i = 0; i < 32; ++i)
      destination[i] = scale * static_cast<float>(codes[i]) + minimum;
  }
}

/// Block of 128: f16 scale, 128 bits: plus or minus the scale.
static MLSYS_INLINE void decodeQ1_0(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t block = 0; block < count / 128; ++block, source += 18, destination += 128) {
    float scale = loadF16(source);
    for (int i = 0; i < 128; ++i) {
      int bit = byteAt(source, 2 + i / 8) >> (i % 8) & 1;
      destination[i] = scale * static_cast<float>(2 * bit - 1);
    }
  }
}

/// The codes of IQ4_NL and IQ4_XS.
inline constexpr int8_t unevenCodes[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                           1,    13,   25,  38,  53,  69,  89,  113};

/// Twice the values of e2m1, the 4-bit floats of MXFP4 and NVFP4.
inline constexpr int8_t e2m1Codes[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Block of 32: f16 scale, 16 bytes laid out as in Q4_0, their codes from a table.
static MLSYS_INLINE void decodeIQ4_NL(const std::byte *source, float *__restrict destination,
                                      int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 18, destination += 32) {
    float scale = loadF16(source);
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 2);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(unevenCodes[values[i] & 15]);
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(unevenCodes[values[i] >> 4]);
  }
}

/// Block of 32: an exponent (2^(e - 128), half of e8m0's for the doubled codes),
/// 16 bytes laid out as in Q4_0.
static MLSYS_INLINE void decodeMXFP4(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 17, destination += 32) {
    uint32_t exponent = byteAt(source, 0);
    uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
    float scale = std::bit_cast<float>(bits);
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 1);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(e2m1Codes[values[i] & 15]);
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(e2m1Codes[values[i] >> 4]);
  }
}

/// Half of an e4m3 without sign; its NaN is read as zero.
static MLSYS_INLINE float decodeE4m3Half(uint8_t code) {
  uint32_t exponent = code >> 3 & 15u, mantissa = code & 7u;
  float small = static_cast<float>(mantissa) * 0x1p-10f;
  float normal = std::bit_cast<float>((exponent + 119u) << 23 | mantissa << 20);
  float value = exponent == 0 ? small : normal;
  return code == 0x7f ? 0.0f : value;
}

/// Block of 64: four e4m3 scales, for each 8 bytes: the low halves are its
/// elements 0 to 7, the high halves 8 to 15.
static MLSYS_INLINE void decodeNVFP4(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 64; ++block, source += 36, destination += 64)
    for (int part = 0; part < 4; ++part) {
      float scale = decodeE4m3Half(byteAt(source, part));
      const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 4 + 8 * part);
      for (int i = 0; i < 8; ++i)
        destination[16 * part + i] = scale * static_cast<float>(e2m1Codes[values[i] & 15]);
      for (int i = 0; i < 8; ++i)
        destination[16 * part + 8 + i] = scale * static_cast<float>(e2m1Codes[values[i] >> 4]);
    }
}

/// `width` bytes of ternary digits, `digits` in each: digit n of byte i is
/// element n * width + i. A byte is a fraction of 256; multiplied by 3^n without
/// its whole part, it has digit n next.
template <int width, int digits>
static MLSYS_INLINE void ternaryDigits(const std::byte *source, float scale,
                                       float *__restrict destination) {
  uint32_t power = 1;
  for (int n = 0; n < digits; ++n, power *= 3)
    for (int i = 0; i < width; ++i) {
      uint32_t fraction = byteAt(source, i) * power & 255u;
      destination[n * width + i] =
          scale * static_cast<float>(static_cast<int>(fraction * 3 >> 8) - 1);
    }
}

/// Block of 256: 48 bytes of five ternary digits, 4 bytes of four, f16 scale.
static MLSYS_INLINE void decodeTQ1_0(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 54, destination += 256) {
    float scale = loadF16(source + 52);
    ternaryDigits<32, 5>(source, scale, destination);
    ternaryDigits<16, 5>(source + 32, scale, destination + 160);
    ternaryDigits<4, 4>(source + 48, scale, destination + 240);
  }
}

/// Block of 256: two halves of 32 bytes, each byte with four codes of two bits,
/// 1 standing for zero; f16 scale.
static MLSYS_INLINE void decodeTQ2_0(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t block = 0; block < count / 256; ++block, source += 66, destination += 256) {
    float scale = loadF16(source + 64);
    for (int half = 0; half < 2; ++half)
      for (int n = 0; n < 4; ++n)
        for (int i = 0; i < 32; ++i) {
          int code = byteAt(source, 32 * half + i) >> (2 * n) & 3;
          destination[128 * half + 32 * n + i] = scale * static_cast<float>(code - 1);
        }
  }
}

} // namespace mlsys::rt::dequantize
