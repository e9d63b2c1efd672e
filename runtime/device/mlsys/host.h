//===- host.h - The device library's host bodies ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// With MLSYS_HOST defined, the body of every wrapper for the host executor: a
// block's CUDA threads are fibers of one OS thread, and what needs other threads
// goes through the Context. Without it, only the Context, which is what the
// executor in the runtime and the compiled kernels share. No standard headers:
// they would cost more compile time than the kernels.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "host_async.h"

namespace mlsys::host {

struct Dim3 {
  int x = 1, y = 1, z = 1;
};

/// What a running CUDA thread sees of the executor. One per OS thread; the
/// executor updates `thread` at every switch.
struct Context {
  Dim3 thread, block, blockDim, gridDim;
  /// Dynamic shared memory; it ends at a guard page.
  unsigned char *shared;
  /// 512 bytes of shared memory for reductions.
  unsigned char *scratch;
  /// bar.sync: returns when every thread of the block that still runs has called it.
  void (*barrier)(Context *);
  /// Waits for all lanes of the warp; the last to come runs `combine` on the lanes'
  /// arguments. Lanes that come with another operation are an error.
  void (*warp)(Context *, const char *operation, void *argument, void (*combine)(void **arguments, int lanes));
  /// cp.async and its groups. `destination` is an offset into `shared`.
  void (*copyAsync)(Context *, unsigned destination, const void *source, int bytes);
  void (*commit)(Context *);
  void (*wait)(Context *, int pending);
  /// For host_hopper.h.
  const AsyncCalls *asyncCalls;
  /// Ends the launch with an error that names the kernel and the thread.
  void (*fail)(Context *, const char *message);
};

} // namespace mlsys::host

#ifdef MLSYS_HOST

#define MLSYS_INLINE inline
#define __global__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__

namespace mlsys::host {

/// The block that runs on this thread. One variable for all translation units of a library, whose
/// equal template functions the linker merges.
__attribute__((visibility("hidden"))) inline thread_local Context *current;

/// Calls a kernel with the values that `arguments` point to, as cuLaunchKernel does.
template <class... A> inline void invoke(void (*kernel)(A...), void *const *arguments) {
  int i = 0;
  // Braces: evaluated from left to right.
  struct Call {
    Call(void (*kernel)(A...), A... values) { kernel(values...); }
  } call{kernel, *(A *)arguments[i++]...};
  (void)call;
}
template <class... A> constexpr int parameterCount(void (*)(A...)) { return sizeof...(A); }

} // namespace mlsys::host

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

inline float float_from_bits(u32 bits) { return __builtin_bit_cast(float, bits); }
inline u32 bits_from_float(float value) { return __builtin_bit_cast(u32, value); }
inline u16 bf16_from_float(float value) {
  u32 bits = bits_from_float(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return 0x7fff;
  return (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline u16 f16_from_float(float value) { return __builtin_bit_cast(u16, (_Float16)value); }
inline float f16_to_float(u16 bits) { return (float)__builtin_bit_cast(_Float16, bits); }

/// As inexact as the GPU's.
inline float divide_approx(float a, float b) { return float_from_bits(bits_from_float(a / b) & ~1u); }
inline float reciprocal_approx(float value) { return float_from_bits(bits_from_float(1.0f / value) & ~1u); }
inline float exp2_approx(float value) {
  float result = __builtin_exp2f(value);
  return result < 0x1p-126f ? 0.0f : float_from_bits(bits_from_float(result) & ~1u);
}
inline float sqrt_approx(float value) { return float_from_bits(bits_from_float(__builtin_sqrtf(value)) & ~1u); }

/// The compiler sees no product here that it could fuse with a sum.
inline float multiply_rounded(float a, float b) {
  float product = a * b;
  asm("" : "+x"(product));
  return product;
}

inline void copy_bytes(void *destination, const void *source, u32 bytes) {
  __builtin_memcpy(destination, source, bytes);
}
inline void check_alignment(const void *p, u32 bytes, const char *what) {
  if ((u64)p % bytes) [[unlikely]]
    mlsys::host::current->fail(mlsys::host::current, what[0] == 'l' ? "misaligned load" : "misaligned store");
}

//===----------------------------------------------------------------------===//
// Ids
//===----------------------------------------------------------------------===//

inline int block_x() { return mlsys::host::current->block.x; }
inline int block_y() { return mlsys::host::current->block.y; }
inline int block_z() { return mlsys::host::current->block.z; }
inline int thread_x() { return mlsys::host::current->thread.x; }
inline int block_dim_x() { return mlsys::host::current->blockDim.x; }
inline int grid_dim_x() { return mlsys::host::current->gridDim.x; }
inline int grid_dim_y() { return mlsys::host::current->gridDim.y; }
inline int grid_dim_z() { return mlsys::host::current->gridDim.z; }

//===----------------------------------------------------------------------===//
// Shared memory and order
//===----------------------------------------------------------------------===//

template <class T> inline T *shared_memory(u32 offset = 0) { return (T *)(mlsys::host::current->shared + offset); }
inline u32 shared_address(const void *p) { return (u32)((const u8 *)p - mlsys::host::current->shared); }
inline void *reduce_scratch() { return mlsys::host::current->scratch; }

inline void bar_sync() { mlsys::host::current->barrier(mlsys::host::current); }
inline void warp_sync() {
  mlsys::host::current->warp(mlsys::host::current, "warp_sync", nullptr, [](void **, int) {});
}
inline void pdl_wait() {}
inline void pdl_launch() {}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

template <class T> inline T shfl_xor(T value, int mask) {
  struct Lane {
    T value, result;
    int mask;
  } lane{value, value, mask};
  mlsys::host::current->warp(mlsys::host::current, "shfl_xor", &lane, [](void **lanes, int count) {
    for (int i = 0; i < count; ++i) {
      Lane *self = (Lane *)lanes[i];
      int other = i ^ self->mask;
      if (other < count)
        self->result = ((Lane *)lanes[other])->value;
    }
  });
  return lane.result;
}
template <class T> inline T shfl(T value, int source) {
  struct Lane {
    T value, result;
    int source;
  } lane{value, value, source};
  mlsys::host::current->warp(mlsys::host::current, "shfl", &lane, [](void **lanes, int count) {
    for (int i = 0; i < count; ++i) {
      Lane *self = (Lane *)lanes[i];
      int other = self->source & 31;
      if (other < count)
        self->result = ((Lane *)lanes[other])->value;
    }
  });
  return lane.result;
}
/// Gives what five steps of shfl_xor give, in one meeting of the lanes.
template <class Op, class T> inline T warp_fold(T value) {
  struct Lane {
    T value;
  } lane{value};
  mlsys::host::current->warp(mlsys::host::current, "warp reduction", &lane, [](void **lanes, int count) {
    T values[32], next[32];
    for (int i = 0; i < count; ++i)
      values[i] = ((Lane *)lanes[i])->value;
    for (int mask = 16; mask > 0; mask >>= 1) {
      for (int i = 0; i < count; ++i)
        next[i] = Op::apply(values[i], values[(i ^ mask) < count ? (i ^ mask) : i]);
      for (int i = 0; i < count; ++i)
        values[i] = next[i];
    }
    for (int i = 0; i < count; ++i)
      ((Lane *)lanes[i])->value = values[i];
  });
  return lane.value;
}

//===----------------------------------------------------------------------===//
// Memory that is read once
//===----------------------------------------------------------------------===//

inline bytes16 load_stream(const void *p) {
  check_alignment(p, 16, "load");
  bytes16 result;
  __builtin_memcpy(&result, p, 16);
  return result;
}
/// Reads the ends, so that memory that is not the kernel's shows.
inline void prefetch_l2(const void *p, int bytes) {
  check_alignment(p, 16, "load");
  if (bytes % 16)
    mlsys::host::current->fail(mlsys::host::current, "prefetch of a size that is no multiple of 16");
  if (bytes > 0) {
    (void)*(const volatile u8 *)p;
    (void)*((const volatile u8 *)p + bytes - 1);
  }
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

inline void cp_async16(u32 destination, const void *source, int bytes = 16) {
  mlsys::host::current->copyAsync(mlsys::host::current, destination, source, bytes);
}
inline void cp_commit() { mlsys::host::current->commit(mlsys::host::current); }
template <int pending> inline void cp_wait() { mlsys::host::current->wait(mlsys::host::current, pending); }

//===----------------------------------------------------------------------===//
// Matrix fragments
//===----------------------------------------------------------------------===//

namespace mlsys::host {

template <bool transposed> inline void loadMatrices(u32 *fragment, u32 address) {
  struct Lane {
    u32 *fragment;
    u32 address;
  } lane{fragment, address};
  if (address & 15)
    current->fail(current, "misaligned ldmatrix");
  current->warp(current, transposed ? "ldsm4_trans" : "ldsm4", &lane, [](void **lanes, int) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      u16 values[8][8];
      for (int row = 0; row < 8; ++row)
        __builtin_memcpy(values[row], current->shared + ((Lane *)lanes[matrix * 8 + row])->address, 16);
      for (int i = 0; i < 32; ++i) {
        int row = i / 4, column = i % 4 * 2;
        u32 lo = transposed ? values[column][row] : values[row][column];
        u32 hi = transposed ? values[column + 1][row] : values[row][column + 1];
        ((Lane *)lanes[i])->fragment[matrix] = lo | (hi << 16);
      }
    }
  });
}

template <class T> inline void multiplyMatrices(const char *operation, float *c, const u32 *a, const u32 *b) {
  struct Lane {
    float *c;
    const u32 *a, *b;
  } lane{c, a, b};
  current->warp(current, operation, &lane, [](void **lanes, int) {
    auto unpack = [](u32 word, float &lo, float &hi) {
      T element;
      element.bits = (u16)word;
      lo = (float)element;
      element.bits = (u16)(word >> 16);
      hi = (float)element;
    };
    float left[16][16], right[16][8], sum[16][8];
    for (int i = 0; i < 32; ++i) {
      Lane *self = (Lane *)lanes[i];
      int group = i / 4, pair = i % 4 * 2;
      for (int k = 0; k < 4; ++k) {
        float *at = &left[group + (k & 1) * 8][pair + (k >> 1) * 8];
        unpack(self->a[k], at[0], at[1]);
      }
      for (int k = 0; k < 2; ++k)
        unpack(self->b[k], right[pair + k * 8][group], right[pair + k * 8 + 1][group]);
      for (int h = 0; h < 2; ++h) {
        sum[group + h * 8][pair] = self->c[2 * h];
        sum[group + h * 8][pair + 1] = self->c[2 * h + 1];
      }
    }
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < 16; ++k)
        for (int n = 0; n < 8; ++n)
          sum[m][n] += left[m][k] * right[k][n];
    for (int i = 0; i < 32; ++i) {
      Lane *self = (Lane *)lanes[i];
      int group = i / 4, pair = i % 4 * 2;
      for (int h = 0; h < 2; ++h) {
        self->c[2 * h] = sum[group + h * 8][pair];
        self->c[2 * h + 1] = sum[group + h * 8][pair + 1];
      }
    }
  });
}

/// Left is i8 or u8.
template <class Left> inline void multiplyBytes(const char *operation, i32 *c, const u32 *a, const u32 *b) {
  struct Lane {
    i32 *c;
    const u32 *a, *b;
  } lane{c, a, b};
  current->warp(current, operation, &lane, [](void **lanes, int) {
    i32 left[16][32], right[32][8];
    for (int i = 0; i < 32; ++i) {
      Lane *self = (Lane *)lanes[i];
      int group = i / 4, first = i % 4 * 4;
      for (int byte = 0; byte < 4; ++byte) {
        for (int k = 0; k < 4; ++k)
          left[group + (k & 1) * 8][first + byte + (k >> 1) * 16] = (Left)(self->a[k] >> (8 * byte));
        for (int k = 0; k < 2; ++k)
          right[first + byte + k * 16][group] = (i8)(self->b[k] >> (8 * byte));
      }
    }
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < 4; ++e) {
        u32 sum = (u32)((Lane *)lanes[i])->c[e];
        for (int k = 0; k < 32; ++k)
          sum += (u32)(left[i / 4 + e / 2 * 8][k] * right[k][i % 4 * 2 + e % 2]);
        ((Lane *)lanes[i])->c[e] = (i32)sum;
      }
  });
}

} // namespace mlsys::host

inline void ldsm4(u32 *fragment, u32 address) { mlsys::host::loadMatrices<false>(fragment, address); }
inline void ldsm4_trans(u32 *fragment, u32 address) { mlsys::host::loadMatrices<true>(fragment, address); }
inline u32 transpose_matrix(u32 fragment) {
  struct Lane {
    u32 fragment, result;
  } lane{fragment, 0};
  mlsys::host::current->warp(mlsys::host::current, "transpose_matrix", &lane, [](void **lanes, int) {
    for (int i = 0; i < 32; ++i) {
      auto element = [&](int row, int column) {
        return (((Lane *)lanes[row * 4 + column / 2])->fragment >> (column % 2 * 16)) & 0xffff;
      };
      int row = i / 4, column = i % 4 * 2;
      ((Lane *)lanes[i])->result = element(column, row) | (element(column + 1, row) << 16);
    }
  });
  return lane.result;
}
inline void mma_bf16(float *c, const u32 *a, const u32 *b) {
  mlsys::host::multiplyMatrices<bf16>("mma_bf16", c, a, b);
}
inline void mma_f16(float *c, const u32 *a, const u32 *b) { mlsys::host::multiplyMatrices<f16>("mma_f16", c, a, b); }
inline void mma_s8(i32 *c, const u32 *a, const u32 *b) { mlsys::host::multiplyBytes<i8>("mma_s8", c, a, b); }
inline void mma_u8(i32 *c, const u32 *a, const u32 *b) { mlsys::host::multiplyBytes<u8>("mma_u8", c, a, b); }

//===----------------------------------------------------------------------===//
// The scalar math that NVRTC declares by itself
//===----------------------------------------------------------------------===//

inline float exp(float x) { return __builtin_expf(x); }
inline float exp2(float x) { return __builtin_exp2f(x); }
inline float expm1(float x) { return __builtin_expm1f(x); }
inline float log(float x) { return __builtin_logf(x); }
inline float log2(float x) { return __builtin_log2f(x); }
inline float log1p(float x) { return __builtin_log1pf(x); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float tanh(float x) { return __builtin_tanhf(x); }
inline float erf(float x) { return __builtin_erff(x); }
inline float pow(float x, float y) { return __builtin_powf(x, y); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline i64 abs(i64 x) { return x < 0 ? -x : x; }
inline float floor(float x) { return __builtin_floorf(x); }
inline float ceil(float x) { return __builtin_ceilf(x); }
inline float trunc(float x) { return __builtin_truncf(x); }
inline float round(float x) { return __builtin_roundf(x); }
inline float rint(float x) { return __builtin_rintf(x); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float fmax(float a, float b) { return __builtin_fmaxf(a, b); }
inline float fmin(float a, float b) { return __builtin_fminf(a, b); }
inline float fmod(float a, float b) { return __builtin_fmodf(a, b); }
inline float copysign(float a, float b) { return __builtin_copysignf(a, b); }
inline bool isnan(float x) { return x != x; }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }

#endif // MLSYS_HOST
