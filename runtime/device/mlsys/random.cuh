//===- random.cuh - Random weights ------------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The numbers of a WeightSource of random numbers (runtime/Program.fbs), bit for bit those that
// runtime/WeightRows.cpp makes on the host.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/types.cuh"

namespace random_detail {

inline f32 number(u64 seed, u64 index, f32 mean, f32 spread) {
  u64 x = seed + (index + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  x ^= x >> 31;
  f32 unit = (f32)((i32)(x >> 40) - (1 << 23)) * (1.0f / (1 << 23));
  // Rounded twice, as on the host.
  return mean + multiply_rounded(spread, unit);
}

template <class T> inline void fill(T *out, i64 count, u64 seed, f32 mean, f32 spread) {
  constexpr int width = 16 / (int)sizeof(T);
  i64 step = (i64)grid_dim_x() * block_dim_x() * width;
  for (i64 i = ((i64)block_x() * block_dim_x() + thread_x()) * width; i < count; i += step) {
    vec<T, width> values;
    MLSYS_UNROLL
    for (int j = 0; j < width; ++j)
      values[j] = convert<T>(number(seed, (u64)(i + j), mean, spread));
    if (i + width <= count) {
      store<width>(out + i, values);
      continue;
    }
    MLSYS_UNROLL
    for (int j = 0; j < width; ++j)
      if (i + j < count)
        out[i + j] = values[j];
  }
}

} // namespace random_detail

/// Fills `out` with `count` random numbers of a type: 0 f32, 1 bf16, 2 f16. `mean` and `spread` are
/// the bits of f32 numbers.
inline void random_fill(void *out, i64 type, i64 count, i64 seed, i64 mean, i64 spread) {
  f32 center = float_from_bits((u32)mean), reach = float_from_bits((u32)spread);
  if (type == 0)
    random_detail::fill((f32 *)out, count, (u64)seed, center, reach);
  else if (type == 1)
    random_detail::fill((bf16 *)out, count, (u64)seed, center, reach);
  else
    random_detail::fill((f16 *)out, count, (u64)seed, center, reach);
}
