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

#include "runtime/Error.h"
#include "runtime/Program.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#define MLSYS_DISPATCH 1
#endif
#define MLSYS_INLINE inline __attribute__((always_inline))

namespace mlsys::rt {

using program::DType;

//===----------------------------------------------------------------------===//
// One element
//===----------------------------------------------------------------------===//

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

template <typename T> static MLSYS_INLINE T loadUnaligned(const std::byte *source) {
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

static MLSYS_INLINE void decodeF16s(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = decodeF16(loadUnaligned<uint16_t>(source + 2 * i));
}

static MLSYS_INLINE void decodeBf16s(const std::byte *source, float *__restrict destination,
                                     int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = decodeBf16(loadUnaligned<uint16_t>(source + 2 * i));
}

static MLSYS_INLINE void decodeF64s(const std::byte *source, float *__restrict destination,
                                    int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    destination[i] = static_cast<float>(loadUnaligned<double>(source + 8 * i));
}

/// Block of 32: f16 scale, 32 signed bytes.
static MLSYS_INLINE void decodeQ8Zeros(const std::byte *source, float *__restrict destination,
                                       int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 34, destination += 32) {
    float scale = decodeF16(loadUnaligned<uint16_t>(source));
    const int8_t *values = reinterpret_cast<const int8_t *>(source + 2);
    for (int i = 0; i < 32; ++i)
      destination[i] = scale * static_cast<float>(values[i]);
  }
}

/// Block of 32: f16 scale, 16 bytes; the low halves are elements 0 to 15, the
/// high halves 16 to 31, 8 standing for zero.
static MLSYS_INLINE void decodeQ4Zeros(const std::byte *source, float *__restrict destination,
                                       int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 18, destination += 32) {
    float scale = decodeF16(loadUnaligned<uint16_t>(source));
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 2);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(static_cast<int>(values[i] & 15) - 8);
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(static_cast<int>(values[i] >> 4) - 8);
  }
}

/// Block of 32: f16 scale, f16 minimum, 16 bytes laid out as in Q4_0. The product
/// of an f16 and four bits is exact, so a fused multiply-add changes nothing.
static MLSYS_INLINE void decodeQ4Ones(const std::byte *source, float *__restrict destination,
                                      int64_t count) {
  for (int64_t block = 0; block < count / 32; ++block, source += 20, destination += 32) {
    float scale = decodeF16(loadUnaligned<uint16_t>(source));
    float minimum = decodeF16(loadUnaligned<uint16_t>(source + 2));
    const uint8_t *values = reinterpret_cast<const uint8_t *>(source + 4);
    for (int i = 0; i < 16; ++i)
      destination[i] = scale * static_cast<float>(static_cast<int>(values[i] & 15)) + minimum;
    for (int i = 0; i < 16; ++i)
      destination[16 + i] = scale * static_cast<float>(static_cast<int>(values[i] >> 4)) + minimum;
  }
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
struct Loops {
  using Decode = void (*)(const std::byte *, float *, int64_t);
  using Encode = void (*)(const float *, std::byte *, int64_t);
  Decode f16, bf16, f64, q8Zero, q4Zero, q4One;
  Encode toF16, toBf16, toF64;
  void (*transposeWords)(const std::byte *, int64_t, int64_t, int64_t, std::byte *);
};
} // namespace

#define MLSYS_DECODE(TARGET, NAME, BODY)                                                           \
  TARGET static void NAME(const std::byte *source, float *destination, int64_t count) {            \
    BODY(source, destination, count);                                                              \
  }
#define MLSYS_ENCODE(TARGET, NAME, BODY)                                                           \
  TARGET static void NAME(const float *source, std::byte *destination, int64_t count) {            \
    BODY(source, destination, count);                                                              \
  }
#define MLSYS_LOOPS(SUFFIX, TARGET)                                                                \
  MLSYS_DECODE(TARGET, f16##SUFFIX, decodeF16s)                                                    \
  MLSYS_DECODE(TARGET, bf16##SUFFIX, decodeBf16s)                                                  \
  MLSYS_DECODE(TARGET, f64##SUFFIX, decodeF64s)                                                    \
  MLSYS_DECODE(TARGET, q8Zero##SUFFIX, decodeQ8Zeros)                                              \
  MLSYS_DECODE(TARGET, q4Zero##SUFFIX, decodeQ4Zeros)                                              \
  MLSYS_DECODE(TARGET, q4One##SUFFIX, decodeQ4Ones)                                                \
  MLSYS_ENCODE(TARGET, toF16##SUFFIX, encodeF16s)                                                  \
  MLSYS_ENCODE(TARGET, toBf16##SUFFIX, encodeBf16s)                                                \
  MLSYS_ENCODE(TARGET, toF64##SUFFIX, encodeF64s)                                                  \
  TARGET static void transposeWords##SUFFIX(const std::byte *source, int64_t stride, int64_t rows, \
                                            int64_t columns, std::byte *destination) {             \
    transposeWords(source, stride, rows, columns, destination);                                    \
  }                                                                                                \
  static constexpr Loops loops##SUFFIX = {                                                         \
      f16##SUFFIX,    bf16##SUFFIX,  f64##SUFFIX,    q8Zero##SUFFIX, q4Zero##SUFFIX,               \
      q4One##SUFFIX,  toF16##SUFFIX, toBf16##SUFFIX, toF64##SUFFIX,  transposeWords##SUFFIX};

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
  switch (type) {
  case DType::F32:
    if (count > 0)
      std::memcpy(destination, source, static_cast<size_t>(count) * 4);
    return;
  case DType::F16:
    return loops().f16(source, destination, count);
  case DType::BF16:
    return loops().bf16(source, destination, count);
  case DType::F64:
    return loops().f64(source, destination, count);
  case DType::Q8_0:
    return loops().q8Zero(source, destination, count);
  case DType::Q4_0:
    return loops().q4Zero(source, destination, count);
  case DType::Q4_1:
    return loops().q4One(source, destination, count);
  default:
    throw Error("cannot convert {} to f32", dtypeName(type));
  }
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
