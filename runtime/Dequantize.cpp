//===- Dequantize.cpp - Conversions between element types -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Every loop is written once, without branches, and compiled for three
// instruction sets; the widest that the processor has is called.
//
//===----------------------------------------------------------------------===//
#include "runtime/Dequantize.h"

#include "runtime/DType.h"
#include "runtime/DequantizeBlocks.h"
#include "runtime/DequantizeElements.h"
#include "runtime/DequantizeIq.h"
#include "runtime/DequantizeK.h"
#include "runtime/Error.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#define MLSYS_DISPATCH 1
#endif

namespace mlsys::rt {

using program::DType;
using dequantize::decodeF16;
using dequantize::load;

//===----------------------------------------------------------------------===//
// One element
//===----------------------------------------------------------------------===//

static MLSYS_INLINE float decodeBf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

static MLSYS_INLINE uint16_t encodeF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t magnitude = bits & 0x7fffffffu;
  // Subnormal results: adding 0.5 rounds at 2^-24.
  uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  uint32_t special = magnitude > 0x7f800000u ? nan : 0x7c00u;
  uint32_t half = magnitude >= 0x47800000u ? special : normal;
  half = magnitude < 0x38800000u ? small : half;
  return static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
}

static MLSYS_INLINE uint16_t encodeBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

float f16ToF32(uint16_t bits) { return decodeF16(bits); }
float bf16ToF32(uint16_t bits) { return decodeBf16(bits); }
uint16_t f32ToF16(float value) { return encodeF16(value); }
uint16_t f32ToBf16(float value) { return encodeBf16(value); }

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

static MLSYS_INLINE void decodeF16s(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = decodeF16(load<uint16_t>(source + 2 * i));
}

static MLSYS_INLINE void decodeBf16s(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = decodeBf16(load<uint16_t>(source + 2 * i));
}

static MLSYS_INLINE void decodeF64s(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = static_cast<float>(load<double>(source + 8 * i));
}

static MLSYS_INLINE void encodeF16s(const float *__restrict source, std::byte *destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = encodeF16(source[i]);
    std::memcpy(destination + 2 * i, &bits, 2);
  }
}

static MLSYS_INLINE void encodeBf16s(const float *__restrict source, std::byte *destination,
                                     int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = encodeBf16(source[i]);
    std::memcpy(destination + 2 * i, &bits, 2);
  }
}

static MLSYS_INLINE void encodeF64s(const float *__restrict source, std::byte *destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    double value = source[i];
    std::memcpy(destination + 8 * i, &value, 8);
  }
}

using Vector8 = uint32_t __attribute__((vector_size(32)));

/// Transposes 8 x 8 words: three rounds of interleaving.
static MLSYS_INLINE void transposeTile(const std::byte *source, int64_t stride,
                                       std::byte *destination, int64_t destinationStride) {
  Vector8 a[8], b[8];
  for (int i = 0; i < 8; ++i)
    std::memcpy(&a[i], source + i * stride, 32);
  for (int i = 0; i < 4; ++i) {
    b[2 * i] = __builtin_shufflevector(a[i], a[i + 4], 0, 8, 1, 9, 4, 12, 5, 13);
    b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 4], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  // b[2i]: columns 0 1 | 4 5 of rows i, i+4; b[2i+1]: columns 2 3 | 6 7.
  for (int half = 0; half < 2; ++half) {
    Vector8 c0 = __builtin_shufflevector(b[half], b[4 + half], 0, 8, 1, 9, 4, 12, 5, 13);
    Vector8 c1 = __builtin_shufflevector(b[half], b[4 + half], 2, 10, 3, 11, 6, 14, 7, 15);
    Vector8 d0 = __builtin_shufflevector(b[2 + half], b[6 + half], 0, 8, 1, 9, 4, 12, 5, 13);
    Vector8 d1 = __builtin_shufflevector(b[2 + half], b[6 + half], 2, 10, 3, 11, 6, 14, 7, 15);
    // c0: rows 0 2 4 6 of column 2*half | of column 2*half + 4; d0: rows 1 3 5 7.
    a[2 * half] = __builtin_shufflevector(c0, d0, 0, 8, 1, 9, 2, 10, 3, 11);
    a[2 * half + 4] = __builtin_shufflevector(c0, d0, 4, 12, 5, 13, 6, 14, 7, 15);
    a[2 * half + 1] = __builtin_shufflevector(c1, d1, 0, 8, 1, 9, 2, 10, 3, 11);
    a[2 * half + 5] = __builtin_shufflevector(c1, d1, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; ++i)
    std::memcpy(destination + i * destinationStride, &a[i], 32);
}

template <int64_t unit>
static MLSYS_INLINE void transposePart(const std::byte *source, int64_t stride, int64_t rowBegin,
                                       int64_t rows, int64_t columnBegin, int64_t columns,
                                       std::byte *destination) {
  for (int64_t c = columnBegin; c < columns; ++c)
    for (int64_t r = rowBegin; r < rows; ++r)
      std::memcpy(destination + (c * rows + r) * unit, source + r * stride + c * unit, unit);
}

static MLSYS_INLINE void transposeWords(const std::byte *source, int64_t stride, int64_t rows,
                                        int64_t columns, std::byte *destination) {
  int64_t tiledRows = rows / 8 * 8, tiledColumns = columns / 8 * 8;
  for (int64_t c = 0; c < tiledColumns; c += 8)
    for (int64_t r = 0; r < tiledRows; r += 8)
      transposeTile(source + r * stride + c * 4, stride, destination + (c * rows + r) * 4,
                    rows * 4);
  transposePart<4>(source, stride, tiledRows, rows, 0, tiledColumns, destination);
  transposePart<4>(source, stride, 0, rows, tiledColumns, columns, destination);
}

//===----------------------------------------------------------------------===//
// One copy for each instruction set
//===----------------------------------------------------------------------===//

namespace {
using Decode = void (*)(const std::byte *, float *, int64_t);
using Encode = void (*)(const float *, std::byte *, int64_t);

struct Loops {
  /// The loop of a type, or null.
  Decode (*decoder)(DType);
  Encode toF16, toBf16, toF64;
  void (*transposeWords)(const std::byte *, int64_t, int64_t, int64_t, std::byte *);
};
} // namespace

/// Every type with a loop to f32, and the loop.
#define MLSYS_DECODERS(X, SUFFIX, TARGET)                                                          \
  X(SUFFIX, TARGET, F16, decodeF16s)                                                               \
  X(SUFFIX, TARGET, BF16, decodeBf16s)                                                             \
  X(SUFFIX, TARGET, F64, decodeF64s)                                                               \
  X(SUFFIX, TARGET, Q1_0, dequantize::decodeQ1_0)                                                  \
  X(SUFFIX, TARGET, Q4_0, dequantize::decodeQ4_0)                                                  \
  X(SUFFIX, TARGET, Q4_1, dequantize::decodeQ4_1)                                                  \
  X(SUFFIX, TARGET, Q5_0, dequantize::decodeQ5_0)                                                  \
  X(SUFFIX, TARGET, Q5_1, dequantize::decodeQ5_1)                                                  \
  X(SUFFIX, TARGET, Q8_0, dequantize::decodeQ8_0)                                                  \
  X(SUFFIX, TARGET, Q8_K, dequantize::decodeQ8_K)                                                  \
  X(SUFFIX, TARGET, Q2_K, dequantize::decodeQ2_K)                                                  \
  X(SUFFIX, TARGET, Q3_K, dequantize::decodeQ3_K)                                                  \
  X(SUFFIX, TARGET, Q4_K, dequantize::decodeQ4_K)                                                  \
  X(SUFFIX, TARGET, Q5_K, dequantize::decodeQ5_K)                                                  \
  X(SUFFIX, TARGET, Q6_K, dequantize::decodeQ6_K)                                                  \
  X(SUFFIX, TARGET, TQ1_0, dequantize::decodeTQ1_0)                                                \
  X(SUFFIX, TARGET, TQ2_0, dequantize::decodeTQ2_0)                                                \
  X(SUFFIX, TARGET, IQ1_S, dequantize::decodeIQ1_S)                                                \
  X(SUFFIX, TARGET, IQ1_M, dequantize::decodeIQ1_M)                                                \
  X(SUFFIX, TARGET, IQ2_XXS, dequantize::decodeIQ2_XXS)                                            \
  X(SUFFIX, TARGET, IQ2_XS, dequantize::decodeIQ2_XS)                                              \
  X(SUFFIX, TARGET, IQ2_S, dequantize::decodeIQ2_S)                                                \
  X(SUFFIX, TARGET, IQ3_XXS, dequantize::decodeIQ3_XXS)                                            \
  X(SUFFIX, TARGET, IQ3_S, dequantize::decodeIQ3_S)                                                \
  X(SUFFIX, TARGET, IQ4_NL, dequantize::decodeIQ4_NL)                                              \
  X(SUFFIX, TARGET, IQ4_XS, dequantize::decodeIQ4_XS)                                              \
  X(SUFFIX, TARGET, MXFP4, dequantize::decodeMXFP4)                                                \
  X(SUFFIX, TARGET, NVFP4, dequantize::decodeNVFP4)

#define MLSYS_DECODE(SUFFIX, TARGET, TYPE, BODY)                                                   \
  TARGET static void decode##TYPE##SUFFIX(const std::byte *source, float *destination,             \
                                          int64_t count) {                                         \
    BODY(source, destination, count);                                                              \
  }
#define MLSYS_DECODE_CASE(SUFFIX, TARGET, TYPE, BODY)                                              \
  case DType::TYPE:                                                                                \
    return decode##TYPE##SUFFIX;
#define MLSYS_ENCODE(TARGET, NAME, BODY)                                                           \
  TARGET static void NAME(const float *source, std::byte *destination, int64_t count) {            \
    BODY(source, destination, count);                                                              \
  }
#define MLSYS_LOOPS(SUFFIX, TARGET)                                                                \
  MLSYS_DECODERS(MLSYS_DECODE, SUFFIX, TARGET)                                                     \
  static Decode decoder##SUFFIX(DType type) {                                                      \
    switch (type) {                                                                                \
      MLSYS_DECODERS(MLSYS_DECODE_CASE, SUFFIX, TARGET)                                            \
    default:                                                                                       \
      return nullptr;                                                                              \
    }                                                                                              \
  }                                                                                                \
  MLSYS_ENCODE(TARGET, toF16##SUFFIX, encodeF16s)                                                  \
  MLSYS_ENCODE(TARGET, toBf16##SUFFIX, encodeBf16s)                                                \
  MLSYS_ENCODE(TARGET, toF64##SUFFIX, encodeF64s)                                                  \
  TARGET static void transposeWords##SUFFIX(const std::byte *source, int64_t stride, int64_t rows, \
                                            int64_t columns, std::byte *destination) {             \
    transposeWords(source, stride, rows, columns, destination);                                    \
  }                                                                                                \
  static constexpr Loops loops##SUFFIX = {decoder##SUFFIX, toF16##SUFFIX, toBf16##SUFFIX,          \
                                          toF64##SUFFIX, transposeWords##SUFFIX};

MLSYS_LOOPS(Baseline, )
#ifdef MLSYS_DISPATCH
MLSYS_LOOPS(Avx2, __attribute__((target("avx2,fma,f16c"))))
MLSYS_LOOPS(Avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c"))))
#endif

static const Loops &loops() {
#ifdef MLSYS_DISPATCH
  static const Loops &chosen = []() -> const Loops & {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      return loopsAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      return loopsAvx2;
    return loopsBaseline;
  }();
  return chosen;
#else
  return loopsBaseline;
#endif
}

void convertToF32(DType type, const std::byte *source, float *destination, int64_t count) {
  if (type == DType::F32) {
    if (count > 0)
      std::memcpy(destination, source, static_cast<size_t>(count) * 4);
    return;
  }
  Decode decode = loops().decoder(type);
  if (!decode)
    throw Error("cannot convert {} to f32", dtypeName(type));
  decode(source, destination, count);
}

void convertFromF32(DType type, const float *source, std::byte *destination, int64_t count) {
  switch (type) {
  case DType::F32:
    if (count > 0)
      std::memcpy(destination, source, static_cast<size_t>(count) * 4);
    return;
  case DType::F16:
    return loops().toF16(source, destination, count);
  case DType::BF16:
    return loops().toBf16(source, destination, count);
  case DType::F64:
    return loops().toF64(source, destination, count);
  default:
    throw Error("cannot convert f32 to {}", dtypeName(type));
  }
}

void transposeUnits(const std::byte *source, int64_t stride, int64_t rows, int64_t columns,
                    int64_t unit, std::byte *destination) {
  switch (unit) {
  case 1:
    return transposePart<1>(source, stride, 0, rows, 0, columns, destination);
  case 2:
    return transposePart<2>(source, stride, 0, rows, 0, columns, destination);
  case 4:
    return loops().transposeWords(source, stride, rows, columns, destination);
  case 8:
    return transposePart<8>(source, stride, 0, rows, 0, columns, destination);
  default:
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(destination + (c * rows + r) * unit, source + r * stride + c * unit,
                    static_cast<size_t>(unit));
  }
}

} // namespace mlsys::rt
