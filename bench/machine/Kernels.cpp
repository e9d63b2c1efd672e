//===- Kernels.cpp - Loops that show what a machine can do ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Each function is compiled for the instructions it uses, and is listed only where cpuSupports
// says that the processor has them.
//
//===----------------------------------------------------------------------===//
#include "bench/machine/Kernels.h"

#include "runtime/CpuDevice.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace mlsys;
using namespace mlsys::bench;

static constexpr long rounds = 4000000;

/// What any processor can do.
static float readAny(const Task &task) {
  size_t sum = 0;
  for (size_t i = 0; i < task.bytes; i += sizeof(size_t)) {
    size_t word;
    std::memcpy(&word, task.source + i, sizeof(word));
    sum += word;
  }
  return float(sum);
}

static float copyAny(const Task &task) {
  std::memcpy(task.destination, task.source, task.bytes);
  return float(task.destination[task.bytes - 1]);
}

#if defined(__x86_64__)

#define MLSYS_AVX2 __attribute__((target("avx2,fma")))
#define MLSYS_AVX512 __attribute__((target("avx512f")))
#define MLSYS_BF16 __attribute__((target("avx512f,avx512bf16")))
#define MLSYS_VNNI __attribute__((target("avx512f,avx512vnni")))
#define MLSYS_AVX512BW __attribute__((target("avx512f,avx512bw")))

MLSYS_AVX2 static float lanes(__m256 value) {
  float parts[8], sum = 0;
  _mm256_storeu_ps(parts, value);
  for (float part : parts)
    sum += part;
  return sum;
}

MLSYS_AVX2 static float read256(const Task &task) {
  __m256 sums[8] = {};
  for (size_t i = 0; i < task.bytes; i += 256)
    for (int j = 0; j < 8; ++j)
      sums[j] = _mm256_add_ps(
          sums[j], _mm256_load_ps(reinterpret_cast<const float *>(task.source + i) + 8 * j));
  for (int j = 1; j < 8; ++j)
    sums[0] = _mm256_add_ps(sums[0], sums[j]);
  return lanes(sums[0]);
}

MLSYS_AVX2 static float copy256(const Task &task) {
  for (size_t i = 0; i < task.bytes; i += 32)
    _mm256_store_ps(reinterpret_cast<float *>(task.destination + i),
                    _mm256_load_ps(reinterpret_cast<const float *>(task.source + i)));
  return float(task.destination[0]);
}

MLSYS_AVX2 static float stream256(const Task &task) {
  for (size_t i = 0; i < task.bytes; i += 32)
    _mm256_stream_ps(reinterpret_cast<float *>(task.destination + i),
                     _mm256_load_ps(reinterpret_cast<const float *>(task.source + i)));
  _mm_sfence();
  return float(task.destination[0]);
}

MLSYS_AVX2 static float write256(const Task &task) {
  __m256 value = _mm256_set1_ps(1);
  for (size_t i = 0; i < task.bytes; i += 32)
    _mm256_stream_ps(reinterpret_cast<float *>(task.destination + i), value);
  _mm_sfence();
  return float(task.destination[0]);
}

/// Twelve sums hide the latency of the multiply-adds, and fit into the registers.
MLSYS_AVX2 static float fma256(const Task &) {
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1e-9f);
  __m256 s0 = a, s1 = b, s2 = a, s3 = b, s4 = a, s5 = b, s6 = a, s7 = b, s8 = a, s9 = b, s10 = a,
         s11 = b;
  for (long i = 0; i < rounds; ++i) {
    s0 = _mm256_fmadd_ps(s0, a, b), s1 = _mm256_fmadd_ps(s1, a, b);
    s2 = _mm256_fmadd_ps(s2, a, b), s3 = _mm256_fmadd_ps(s3, a, b);
    s4 = _mm256_fmadd_ps(s4, a, b), s5 = _mm256_fmadd_ps(s5, a, b);
    s6 = _mm256_fmadd_ps(s6, a, b), s7 = _mm256_fmadd_ps(s7, a, b);
    s8 = _mm256_fmadd_ps(s8, a, b), s9 = _mm256_fmadd_ps(s9, a, b);
    s10 = _mm256_fmadd_ps(s10, a, b), s11 = _mm256_fmadd_ps(s11, a, b);
  }
  return lanes(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
}

MLSYS_AVX512 static float lanes512(__m512 value) {
  float parts[16], sum = 0;
  _mm512_storeu_ps(parts, value);
  for (float part : parts)
    sum += part;
  return sum;
}

MLSYS_AVX512 static float read512(const Task &task) {
  __m512 sums[4] = {};
  for (size_t i = 0; i < task.bytes; i += 256)
    for (int j = 0; j < 4; ++j)
      sums[j] = _mm512_add_ps(
          sums[j], _mm512_load_ps(reinterpret_cast<const float *>(task.source + i) + 16 * j));
  return lanes512(sums[0] + sums[1] + sums[2] + sums[3]);
}

MLSYS_AVX512 static float copy512(const Task &task) {
  for (size_t i = 0; i < task.bytes; i += 64)
    _mm512_store_ps(task.destination + i, _mm512_load_ps(task.source + i));
  return float(task.destination[0]);
}

MLSYS_AVX512 static float stream512(const Task &task) {
  for (size_t i = 0; i < task.bytes; i += 64)
    _mm512_stream_ps(reinterpret_cast<float *>(task.destination + i),
                     _mm512_load_ps(task.source + i));
  _mm_sfence();
  return float(task.destination[0]);
}

MLSYS_AVX512 static float write512(const Task &task) {
  __m512 value = _mm512_set1_ps(1);
  for (size_t i = 0; i < task.bytes; i += 64)
    _mm512_stream_ps(reinterpret_cast<float *>(task.destination + i), value);
  _mm_sfence();
  return float(task.destination[0]);
}

MLSYS_AVX512 static float fma512(const Task &) {
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1e-9f);
  __m512 s0 = a, s1 = b, s2 = a, s3 = b, s4 = a, s5 = b, s6 = a, s7 = b, s8 = a, s9 = b, s10 = a,
         s11 = b;
  for (long i = 0; i < rounds; ++i) {
    s0 = _mm512_fmadd_ps(s0, a, b), s1 = _mm512_fmadd_ps(s1, a, b);
    s2 = _mm512_fmadd_ps(s2, a, b), s3 = _mm512_fmadd_ps(s3, a, b);
    s4 = _mm512_fmadd_ps(s4, a, b), s5 = _mm512_fmadd_ps(s5, a, b);
    s6 = _mm512_fmadd_ps(s6, a, b), s7 = _mm512_fmadd_ps(s7, a, b);
    s8 = _mm512_fmadd_ps(s8, a, b), s9 = _mm512_fmadd_ps(s9, a, b);
    s10 = _mm512_fmadd_ps(s10, a, b), s11 = _mm512_fmadd_ps(s11, a, b);
  }
  return lanes512(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
}

MLSYS_BF16 static float dot512(const Task &) {
  // Pairs of bf16 ones.
  __m512 ones = _mm512_castsi512_ps(_mm512_set1_epi32(0x3f803f80));
  __m512bh a, b;
  std::memcpy(&a, &ones, sizeof(a));
  std::memcpy(&b, &ones, sizeof(b));
  __m512 s0 = ones, s1 = ones, s2 = ones, s3 = ones, s4 = ones, s5 = ones, s6 = ones, s7 = ones,
         s8 = ones, s9 = ones, s10 = ones, s11 = ones;
  for (long i = 0; i < rounds; ++i) {
    s0 = _mm512_dpbf16_ps(s0, a, b), s1 = _mm512_dpbf16_ps(s1, a, b);
    s2 = _mm512_dpbf16_ps(s2, a, b), s3 = _mm512_dpbf16_ps(s3, a, b);
    s4 = _mm512_dpbf16_ps(s4, a, b), s5 = _mm512_dpbf16_ps(s5, a, b);
    s6 = _mm512_dpbf16_ps(s6, a, b), s7 = _mm512_dpbf16_ps(s7, a, b);
    s8 = _mm512_dpbf16_ps(s8, a, b), s9 = _mm512_dpbf16_ps(s9, a, b);
    s10 = _mm512_dpbf16_ps(s10, a, b), s11 = _mm512_dpbf16_ps(s11, a, b);
  }
  return lanes512(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
}

/// Sums of twelve, as above.
#define MLSYS_INTEGER_PRODUCTS(vector, zero, add)                                                                      \
  vector a = zero, b = zero, s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a, s10 = a,  \
         s11 = a;                                                                                                      \
  for (long i = 0; i < rounds; ++i) {                                                                                  \
    /* Not known to the compiler, nor the same each time: nothing moves out of the loop. */                            \
    __asm__ volatile("" : "+v"(a), "+v"(b));                                                                           \
    s0 = add(s0, a, b), s1 = add(s1, a, b), s2 = add(s2, a, b), s3 = add(s3, a, b);                                    \
    s4 = add(s4, a, b), s5 = add(s5, a, b), s6 = add(s6, a, b), s7 = add(s7, a, b);                                    \
    s8 = add(s8, a, b), s9 = add(s9, a, b), s10 = add(s10, a, b), s11 = add(s11, a, b);                                \
    __asm__ volatile("" : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5));                                 \
    __asm__ volatile("" : "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10), "+v"(s11));                               \
  }

MLSYS_VNNI static float bytes512(const Task &) {
  MLSYS_INTEGER_PRODUCTS(__m512i, _mm512_set1_epi32(0x01010101), _mm512_dpbusd_epi32)
  return lanes512(_mm512_cvtepi32_ps(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11));
}

/// Widened to 16 bits.
MLSYS_AVX512BW static inline __m512i addPairs512(__m512i sum, __m512i a, __m512i b) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
MLSYS_AVX512BW static float pairs512(const Task &) {
  MLSYS_INTEGER_PRODUCTS(__m512i, _mm512_set1_epi32(0x00010001), addPairs512)
  return lanes512(_mm512_cvtepi32_ps(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11));
}
MLSYS_AVX2 static inline __m256i addPairs256(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
MLSYS_AVX2 static float pairs256(const Task &) {
  MLSYS_INTEGER_PRODUCTS(__m256i, _mm256_set1_epi32(0x00010001), addPairs256)
  return lanes(_mm256_cvtepi32_ps(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11));
}

/// Four tiles of sums, two of each side, as a product of 32x32 has them. In assembly: compilers
/// keep no order between tile instructions and stores to the memory that they read.
template <bool bytes> static float amxProducts(const Task &task) {
  struct alignas(64) {
    unsigned char palette = 1, start = 0, reserved[14] = {};
    unsigned short columnBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  alignas(64) float result[256] = {};
  std::memset(task.source, 0, 4096);
  long stride = 64;
  __asm__ volatile("ldtilecfg %0" ::"m"(config) : "memory");
  __asm__ volatile("tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
                   "tileloadd (%0,%1,1), %%tmm4\n tileloadd (%0,%1,1), %%tmm5\n"
                   "tileloadd (%0,%1,1), %%tmm6\n tileloadd (%0,%1,1), %%tmm7\n" ::"r"(task.source),
                   "r"(stride)
                   : "memory");
  for (long i = 0; i < rounds / 8; ++i)
    if constexpr (bytes)
      __asm__ volatile("tdpbssd %%tmm6, %%tmm4, %%tmm0\n tdpbssd %%tmm7, %%tmm4, %%tmm1\n"
                       "tdpbssd %%tmm6, %%tmm5, %%tmm2\n tdpbssd %%tmm7, %%tmm5, %%tmm3\n" ::
                           : "memory");
    else
      __asm__ volatile("tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
                       "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n" ::
                           : "memory");
  __asm__ volatile("tilestored %%tmm0, (%0,%1,1)\n tilerelease\n" ::"r"(result), "r"(stride)
                   : "memory");
  return result[0];
}

#endif

std::vector<Loop> mlsys::bench::availableLoops() {
  std::vector<Loop> loops;
#if defined(__x86_64__)
  double sums = 12 * double(rounds);
  if (rt::cpuSupports("x86-64-v4"))
    loops = {{"read", read512, 1, 0},
             {"copy", copy512, 2, 0},
             {"copy_non_temporal", stream512, 2, 0},
             {"write_non_temporal", write512, 1, 0},
             {"f32_fma", fma512, 0, sums * 32},
             {"i8_pairs", pairs512, 0, sums * 64}};
  else if (rt::cpuSupports("x86-64-v3"))
    loops = {{"read", read256, 1, 0},
             {"copy", copy256, 2, 0},
             {"copy_non_temporal", stream256, 2, 0},
             {"write_non_temporal", write256, 1, 0},
             {"f32_fma", fma256, 0, sums * 16},
             {"i8_pairs", pairs256, 0, sums * 32}};
  if (rt::cpuSupports("avx512bf16")) {
    loops.push_back({"bf16_dot", dot512, 0, sums * 64});
    loops.push_back({"i8_dot", bytes512, 0, sums * 128});
  }
  if (rt::cpuSupports("amx")) {
    double tiles = double(rounds / 8) * 4 * 2 * 16 * 16;
    loops.push_back({"amx_bf16", amxProducts<false>, 0, tiles * 32});
    loops.push_back({"amx_i8", amxProducts<true>, 0, tiles * 64});
  }
#endif
  if (loops.empty())
    loops = {{"read", readAny, 1, 0}, {"copy", copyAny, 2, 0}};
  return loops;
}
