//===- types.cuh - Types and contract of emitted CUDA text ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The contract of emitted kernels
// ===============================
// * A kernel is `extern "C" __global__ void __launch_bounds__(N, 1) name(...)`. Its
//   parameters are one pointer a buffer, then one `long long` a symbol, then its
//   tensor maps (`const __grid_constant__ tensor_map t0`). The text
//   includes files of this folder only ("mlsys/types.cuh" and, as needed, math,
//   reduce, matmul, gemv, attention; on Hopper hopper, matmul_wgmma and attention_wgmma). It has no inline assembly, no `__shared__`,
//   no `threadIdx` and no standard header; helper functions and functors of the
//   text are free to have any name that this folder does not use.
// * The text is compiled for the GPU by NVRTC (C++20, -default-device) and for the
//   CPU by a C++ compiler with MLSYS_HOST defined. Both must accept it.
// * Buffers that an earlier kernel writes are never `const __restrict__`.
// * Types: f32, f16, bf16, i8, u8, i16, i32, i64, b1. f16 and bf16 have no
//   arithmetic: `convert<f32>(x)` first, `convert<bf16>(x)` last.
// * `vec<T, N>` is N elements in registers; `vec_t<T, N>` is vec<T, N>, or T when N
//   is 1, so one expression text serves every width:
//     auto x = convert<f32>(load<4>(a0 + i));
//     store<4>(a1 + i, convert<bf16>(select(x > 0.0f, x, broadcast<4>(0.0f))));
//   Operators + - * / % & | ^ << >> ! ~ and comparisons work on two vecs or on a
//   vec and a scalar; comparisons give vec<b1, N>. `load` and `store` need the
//   address aligned to the bytes moved, 16 at most (8 for 8 bytes and so on);
//   load_any and store_any need the alignment of one element.
// * Ids: block_x() block_y() block_z() thread_x() block_dim_x() grid_dim_x().
//   Blocks are one-dimensional and a multiple of 32 threads.
// * Memory: shared_memory<T>(byteOffset) is the dynamic shared memory of the
//   launch. bar_sync(), warp_sync(), pdl_wait(), pdl_launch() as their PTX
//   namesakes. A kernel whose text contains `pdl_wait` may be launched before the
//   one ahead of it has ended: it calls pdl_wait() in every thread before its first
//   access to anything an earlier kernel writes or reads.
// * math.cuh: divide modulo index_div index_mod exp exp2 expm1 log log2 log1p sqrt rsqrt tanh sin cos erf pow ipow (integers) abs
//   floor ceil trunc round roundeven fma maximumf minimumf (a NaN operand gives
//   NaN) maxnumf minnumf (a NaN operand is ignored), isnan isinf, for scalars and
//   vecs.
// * reduce.cuh: warp_sum, block_sum, block_reduce<Op> and so on.
// * matmul.cuh, gemv.cuh, attention.cuh: the heroes; see there.
// * hopper.cuh: mbarriers, tensor maps, bulk copies, wgmma (sm_90a); matmul_wgmma.cuh and
//   attention_wgmma.cuh: heroes built on them.
//
//===----------------------------------------------------------------------===//
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef bool b1;

/// bfloat16: the upper half of an f32.
struct bf16 {
  u16 bits;
  bf16() = default;
  explicit bf16(float value);
  explicit operator float() const;
};

/// IEEE half precision.
struct f16 {
  u16 bits;
  f16() = default;
  explicit f16(float value);
  explicit operator float() const;
};

/// 4, 8 and 16 bytes that move in one instruction.
struct alignas(4) bytes4 {
  u32 x;
};
struct alignas(8) bytes8 {
  u32 x, y;
};
struct alignas(16) bytes16 {
  u32 x, y, z, w;
};

#ifdef MLSYS_HOST
#include "mlsys/host.h"
#define MLSYS_UNROLL
#define MLSYS_ROLL
#define MLSYS_UNROLL_BY(n)
#else
#include "mlsys/ptx.cuh"
#define MLSYS_PRAGMA(text) _Pragma(#text)
#define MLSYS_UNROLL _Pragma("unroll")
#define MLSYS_ROLL _Pragma("unroll 1")
#define MLSYS_UNROLL_BY(n) MLSYS_PRAGMA(unroll n)
#endif

inline bf16::bf16(float value) : bits(bf16_from_float(value)) {}
inline bf16::operator float() const { return float_from_bits((u32)bits << 16); }
inline f16::f16(float value) : bits(f16_from_float(value)) {}
inline f16::operator float() const { return f16_to_float(bits); }

template <class A, class B> inline constexpr bool same_type = false;
template <class A> inline constexpr bool same_type<A, A> = true;
/// bf16 or f16.
template <class T> inline constexpr bool is_half = same_type<T, bf16> || same_type<T, f16>;

template <class T> struct identity {
  typedef T type;
};
/// T, but not deduced from the argument.
template <class T> using identity_t = typename identity<T>::type;

/// N elements in registers.
template <class T, int N> struct vec {
  T data[N];
  T &operator[](int i) { return data[i]; }
  const T &operator[](int i) const { return data[i]; }
};

template <class T, int N> struct vec_select {
  typedef vec<T, N> type;
};
template <class T> struct vec_select<T, 1> {
  typedef T type;
};
/// vec<T, N>, or T itself when N is 1.
template <class T, int N> using vec_t = typename vec_select<T, N>::type;

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

/// x as a To: rounded to nearest even, truncated towards zero for integers.
template <class To, class From> inline To convert(From x) {
  if constexpr (same_type<To, From>)
    return x;
  else if constexpr (is_half<From>)
    return convert<To>((float)x);
  else if constexpr (is_half<To>)
    return To((float)x);
  else
    return (To)x;
}
template <class To, class From, int N> inline vec<To, N> convert(const vec<From, N> &x) {
  vec<To, N> result;
  MLSYS_UNROLL
  for (int i = 0; i < N; ++i)
    result[i] = convert<To>(x[i]);
  return result;
}

/// N copies of x.
template <int N, class T> inline vec_t<T, N> broadcast(T x) {
  if constexpr (N == 1) {
    return x;
  } else {
    vec<T, N> result;
    MLSYS_UNROLL
    for (int i = 0; i < N; ++i)
      result[i] = x;
    return result;
  }
}

/// start, start + 1, ...
template <int N, class T> inline vec_t<T, N> iota(T start) {
  if constexpr (N == 1) {
    return start;
  } else {
    vec<T, N> result;
    MLSYS_UNROLL
    for (int i = 0; i < N; ++i)
      result[i] = (T)(start + (T)i);
    return result;
  }
}

/// c ? a : b for each element.
template <class T> inline T select(bool c, T a, identity_t<T> b) { return c ? a : b; }
template <class T, int N> inline vec<T, N> select(const vec<bool, N> &c, const vec<T, N> &a, const vec<T, N> &b) {
  vec<T, N> result;
  MLSYS_UNROLL
  for (int i = 0; i < N; ++i)
    result[i] = c[i] ? a[i] : b[i];
  return result;
}
template <class T, int N> inline vec<T, N> select(const vec<bool, N> &c, const vec<T, N> &a, identity_t<T> b) {
  return select(c, a, broadcast<N>((T)b));
}
template <class T, int N> inline vec<T, N> select(const vec<bool, N> &c, identity_t<T> a, const vec<T, N> &b) {
  return select(c, broadcast<N>((T)a), b);
}
template <class T, int N> inline vec<T, N> select(bool c, const vec<T, N> &a, const vec<T, N> &b) { return c ? a : b; }

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

#define MLSYS_VEC_OPERATOR(op, R)                                                                                      \
  template <class T, int N> inline vec<R, N> operator op(const vec<T, N> &a, const vec<T, N> &b) {                     \
    vec<R, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = (R)(a[i] op b[i]);                                                                                   \
    return result;                                                                                                     \
  }                                                                                                                    \
  template <class T, int N> inline vec<R, N> operator op(const vec<T, N> &a, identity_t<T> b) {                        \
    vec<R, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = (R)(a[i] op b);                                                                                      \
    return result;                                                                                                     \
  }                                                                                                                    \
  template <class T, int N> inline vec<R, N> operator op(identity_t<T> a, const vec<T, N> &b) {                        \
    vec<R, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = (R)(a op b[i]);                                                                                      \
    return result;                                                                                                     \
  }
MLSYS_VEC_OPERATOR(+, T)
MLSYS_VEC_OPERATOR(-, T)
MLSYS_VEC_OPERATOR(*, T)
MLSYS_VEC_OPERATOR(/, T)
MLSYS_VEC_OPERATOR(%, T)
MLSYS_VEC_OPERATOR(&, T)
MLSYS_VEC_OPERATOR(|, T)
MLSYS_VEC_OPERATOR(^, T)
MLSYS_VEC_OPERATOR(<<, T)
MLSYS_VEC_OPERATOR(>>, T)
MLSYS_VEC_OPERATOR(<, bool)
MLSYS_VEC_OPERATOR(<=, bool)
MLSYS_VEC_OPERATOR(>, bool)
MLSYS_VEC_OPERATOR(>=, bool)
MLSYS_VEC_OPERATOR(==, bool)
MLSYS_VEC_OPERATOR(!=, bool)
#undef MLSYS_VEC_OPERATOR

#define MLSYS_VEC_UNARY(op)                                                                                            \
  template <class T, int N> inline vec<T, N> operator op(const vec<T, N> &a) {                                         \
    vec<T, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = (T)(op a[i]);                                                                                        \
    return result;                                                                                                     \
  }
MLSYS_VEC_UNARY(-)
MLSYS_VEC_UNARY(!)
MLSYS_VEC_UNARY(~)
#undef MLSYS_VEC_UNARY

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// The type that moves `bytes` at a time, or void when there is none.
template <int bytes> struct mover {
  typedef void type;
};
template <> struct mover<4> {
  typedef bytes4 type;
};
template <> struct mover<8> {
  typedef bytes8 type;
};
template <int bytes>
  requires(bytes % 16 == 0)
struct mover<bytes> {
  typedef bytes16 type;
};

/// N elements from p, which needs the alignment of one element.
template <int N, class T> inline vec_t<T, N> load_any(const T *p) {
  if constexpr (N == 1) {
    return *p;
  } else {
    vec<T, N> result;
    MLSYS_UNROLL
    for (int i = 0; i < N; ++i)
      result[i] = p[i];
    return result;
  }
}
template <int N, class T> inline void store_any(T *p, const vec_t<identity_t<T>, N> &value) {
  if constexpr (N == 1) {
    *p = value;
  } else {
    MLSYS_UNROLL
    for (int i = 0; i < N; ++i)
      p[i] = value[i];
  }
}

/// N elements from p, in pieces of 16 bytes at most.
template <int N, class T> inline vec_t<T, N> load(const T *p) {
  typedef typename mover<N * (int)sizeof(T)>::type M;
  if constexpr (N == 1 || same_type<M, void>) {
    return load_any<N>(p);
  } else {
    check_alignment(p, sizeof(M), "load");
    vec<T, N> result;
    MLSYS_UNROLL
    for (int i = 0; i < (int)(N * sizeof(T) / sizeof(M)); ++i) {
      M piece = ((const M *)p)[i];
      copy_bytes((char *)result.data + i * sizeof(M), &piece, sizeof(M));
    }
    return result;
  }
}
template <int N, class T> inline void store(T *p, const vec_t<identity_t<T>, N> &value) {
  typedef typename mover<N * (int)sizeof(T)>::type M;
  if constexpr (N == 1 || same_type<M, void>) {
    store_any<N>(p, value);
  } else {
    check_alignment(p, sizeof(M), "store");
    MLSYS_UNROLL
    for (int i = 0; i < (int)(N * sizeof(T) / sizeof(M)); ++i) {
      M piece;
      copy_bytes(&piece, (const char *)value.data + i * sizeof(M), sizeof(M));
      ((M *)p)[i] = piece;
    }
  }
}
template <class T> inline T load_scalar(const T *p) { return *p; }
template <class T> inline void store_scalar(T *p, identity_t<T> value) { *p = value; }

/// Two values rounded to T and packed, `lo` in the lower half.
template <class T> inline u32 pack2(float lo, float hi) {
  return (u32)T(lo).bits | ((u32)T(hi).bits << 16);
}

/// True when p can be moved 16 bytes at a time.
inline bool aligned16(const void *p) { return ((u64)p & 15) == 0; }

inline int min_int(int a, int b) { return a < b ? a : b; }
inline int max_int(int a, int b) { return a > b ? a : b; }
