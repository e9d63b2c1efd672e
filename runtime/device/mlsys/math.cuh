//===- math.cuh - Elementary functions --------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Full precision (a few ulp), the same names for scalars and vecs. NVRTC has the
// scalar functions built in; host.h has them for the host.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/types.cuh"

/// a / b, correctly rounded but for results and divisors near the ends of the range, which
/// are within 2 ulp.
inline float divide(float a, float b) {
  float quotient = divide_approx(a, b), size = abs(quotient);
  float better = fma(fma(-quotient, b, a), reciprocal_approx(b), quotient);
  return size > 1e-30f && size < 1e30f && abs(b) > 1e-37f ? better : quotient;
}

inline float mlsys_sqrt(float x) {
  float root = sqrt_approx(x);
  float better = fma(fma(-root, root, x), 0.5f * reciprocal_approx(root), root);
  return x > 1e-30f && x < 1e30f ? better : root;
}
#define sqrt mlsys_sqrt

/// a / b of numbers that are not negative: 64-bit division takes a GPU some hundred
/// instructions, and large numbers are rare.
inline i64 index_div(i64 a, i64 b) {
  if (((u64)a | (u64)b) >> 32 == 0)
    return (u32)a / (u32)b;
  return (i64)((u64)a / (u64)b);
}
inline i64 index_mod(i64 a, i64 b) { return a - index_div(a, b) * b; }

/// a / b of integers, truncated, and what is left.
template <class T> inline T divide(T a, T b) {
  if constexpr (sizeof(T) < 8) {
    return (T)(a / b);
  } else {
    i64 quotient = index_div(a < 0 ? -a : a, b < 0 ? -b : b);
    return (a < 0) != (b < 0) ? -quotient : quotient;
  }
}
template <class T> inline T modulo(T a, T b) { return (T)(a - divide(a, b) * b); }

/// The binary digits of 2 / pi after the point.
#ifdef MLSYS_HOST
static const u32 two_over_pi[8] =
#else
static __constant__ u32 two_over_pi[8] =
#endif
    {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};

/// x = quadrant * pi / 2 + result, |result| <= pi / 4 or a little more. The built-in sin
/// and cos keep an array on the stack for large arguments; this does not.
inline float reduce_angle(float x, int &quadrant) {
  float magnitude = abs(x);
  if (magnitude < 8192.0f) {
    // pi / 2 in three parts; the products with a quadrant of 13 bits lose nothing.
    float turns = rint(x * 0.636619772f);
    quadrant = (int)turns;
    float r = fma(turns, -1.57079601e+00f, x);
    r = fma(turns, -3.13916473e-07f, r);
    return fma(turns, -5.39030253e-15f, r);
  }
  u32 bits = bits_from_float(magnitude);
  quadrant = 0;
  if (bits >= 0x7f800000u)
    return x - x; // NaN for infinities and NaN
  // x / 4 = mantissa * 2^(exponent - 32); of 2 / pi only the digits that give the product
  // modulo 1, and 64 bits of it, are multiplied.
  int exponent = (int)(bits >> 23) - 128;
  u32 mantissa = (bits << 8) | 0x80000000u;
  int word = exponent >> 5, shift = exponent & 31;
  u32 a = word ? two_over_pi[word - 1] : 0, b = two_over_pi[word], c = two_over_pi[word + 1],
      d = two_over_pi[word + 2];
  if (shift) {
    a = (a << shift) | (b >> (32 - shift));
    b = (b << shift) | (c >> (32 - shift));
    c = (c << shift) | (d >> (32 - shift));
  }
  u64 product = (u64)mantissa * b + (((u64)mantissa * c) >> 32);
  product += (u64)(mantissa * a) << 32;
  quadrant = (int)(product >> 62);
  i64 fraction = (i64)(product << 2);
  if (fraction < 0)
    ++quadrant;
  float r = (float)((double)fraction * 8.515303950216386e-20); // pi / 2 / 2^64
  if (x < 0.0f) {
    quadrant = -quadrant;
    r = -r;
  }
  return r;
}
/// The sine of quadrant * pi / 2 + r.
inline float sine_of_quadrant(float r, int quadrant) {
  float s = r * r, result;
  if (quadrant & 1) {
    result = fma(fma(fma(fma(2.44677067e-5f, s, -1.38877297e-3f), s, 4.16666567e-2f), s, -0.5f), s, 1.0f);
  } else {
    float p = fma(fma(fma(2.86567956e-6f, s, -1.98559923e-4f), s, 8.33338592e-3f), s, -1.66666672e-1f);
    result = fma(p, s * r, r);
  }
  return quadrant & 2 ? -result : result;
}
inline float mlsys_sin(float x) {
  int quadrant;
  float r = reduce_angle(x, quadrant);
  return sine_of_quadrant(r, quadrant);
}
inline float mlsys_cos(float x) {
  int quadrant;
  float r = reduce_angle(x, quadrant);
  return sine_of_quadrant(r, quadrant + 1);
}
#define sin mlsys_sin
#define cos mlsys_cos

/// Rounds to the nearest integer, halves to even.
inline float roundeven(float x) { return rint(x); }

/// The larger operand; NaN when one is NaN, as torch.maximum.
template <class T> inline T maximumf(T a, T b) {
  if constexpr (same_type<T, float>)
    return a > b || a != a ? a : b;
  else
    return a > b ? a : b;
}
template <class T> inline T minimumf(T a, T b) {
  if constexpr (same_type<T, float>)
    return a < b || a != a ? a : b;
  else
    return a < b ? a : b;
}
/// The larger operand; the other one when one is NaN, as torch.fmax.
template <class T> inline T maxnumf(T a, T b) {
  if constexpr (same_type<T, float>)
    return fmax(a, b);
  else
    return a > b ? a : b;
}
template <class T> inline T minnumf(T a, T b) {
  if constexpr (same_type<T, float>)
    return fmin(a, b);
  else
    return a < b ? a : b;
}

/// a to the power of the integer b; of a negative b the truncated inverse.
template <class T> inline T ipow(T a, identity_t<T> b) {
  if (b < 0)
    return a == 1 ? (T)1 : a == -1 ? (T)(b % 2 ? -1 : 1) : (T)0;
  T result = 1;
  for (; b > 0; b >>= 1) {
    if (b & 1)
      result = (T)(result * a);
    a = (T)(a * a);
  }
  return result;
}

#define MLSYS_VEC_FUNCTION(name, R)                                                                                    \
  template <class T, int N> inline vec<R, N> name(const vec<T, N> &a) {                                                \
    vec<R, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = (R)name(a[i]);                                                                                       \
    return result;                                                                                                     \
  }
MLSYS_VEC_FUNCTION(exp, T)
MLSYS_VEC_FUNCTION(exp2, T)
MLSYS_VEC_FUNCTION(expm1, T)
MLSYS_VEC_FUNCTION(log, T)
MLSYS_VEC_FUNCTION(log2, T)
MLSYS_VEC_FUNCTION(log1p, T)
MLSYS_VEC_FUNCTION(sqrt, T)
MLSYS_VEC_FUNCTION(rsqrt, T)
MLSYS_VEC_FUNCTION(tanh, T)
MLSYS_VEC_FUNCTION(sin, T)
MLSYS_VEC_FUNCTION(cos, T)
MLSYS_VEC_FUNCTION(erf, T)
MLSYS_VEC_FUNCTION(abs, T)
MLSYS_VEC_FUNCTION(floor, T)
MLSYS_VEC_FUNCTION(ceil, T)
MLSYS_VEC_FUNCTION(trunc, T)
MLSYS_VEC_FUNCTION(round, T)
MLSYS_VEC_FUNCTION(rint, T)
MLSYS_VEC_FUNCTION(roundeven, T)
MLSYS_VEC_FUNCTION(isnan, bool)
MLSYS_VEC_FUNCTION(isinf, bool)
MLSYS_VEC_FUNCTION(isfinite, bool)
#undef MLSYS_VEC_FUNCTION

#define MLSYS_VEC_FUNCTION(name)                                                                                       \
  template <class T, int N> inline vec<T, N> name(const vec<T, N> &a, const vec<T, N> &b) {                            \
    vec<T, N> result;                                                                                                  \
    MLSYS_UNROLL                                                                                                       \
    for (int i = 0; i < N; ++i)                                                                                        \
      result[i] = name(a[i], b[i]);                                                                                    \
    return result;                                                                                                     \
  }                                                                                                                    \
  template <class T, int N> inline vec<T, N> name(const vec<T, N> &a, identity_t<T> b) {                               \
    return name(a, broadcast<N>((T)b));                                                                                \
  }                                                                                                                    \
  template <class T, int N> inline vec<T, N> name(identity_t<T> a, const vec<T, N> &b) {                               \
    return name(broadcast<N>((T)a), b);                                                                                \
  }
MLSYS_VEC_FUNCTION(divide)
MLSYS_VEC_FUNCTION(modulo)
MLSYS_VEC_FUNCTION(pow)
MLSYS_VEC_FUNCTION(ipow)
MLSYS_VEC_FUNCTION(fmax)
MLSYS_VEC_FUNCTION(fmin)
MLSYS_VEC_FUNCTION(fmod)
MLSYS_VEC_FUNCTION(copysign)
MLSYS_VEC_FUNCTION(maximumf)
MLSYS_VEC_FUNCTION(minimumf)
MLSYS_VEC_FUNCTION(maxnumf)
MLSYS_VEC_FUNCTION(minnumf)
#undef MLSYS_VEC_FUNCTION

/// a * b + c with one rounding.
template <class T, int N> inline vec<T, N> fma(const vec<T, N> &a, const vec<T, N> &b, const vec<T, N> &c) {
  vec<T, N> result;
  MLSYS_UNROLL
  for (int i = 0; i < N; ++i)
    result[i] = fma(a[i], b[i], c[i]);
  return result;
}
