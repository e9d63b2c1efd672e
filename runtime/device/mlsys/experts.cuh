//===- experts.cuh - Rows that chose an expert ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A product with experts multiplies rows of A that lie anywhere. A block works for one expert:
//
//   int *list = shared_memory<int>(Config::sharedBytes<T, P>());
//   i64 total = collect_rows(a2, rows, expert, 0, list, Config::BM);
//   for (i64 first = 0; first < total; first += Config::BM) {
//     if (first > 0)
//       collect_rows(a2, rows, expert, first, list, Config::BM);
//     matmul<Config>(GatheredRows<bf16>{a0, K, list, rowsPerLeft}, weights(a1 + expert * N * K, K),
//                    min(total - first, BM), N, K, 0, col0, epilogue); // row m is list[m] of the result
//   }
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/matmul.cuh"

/// The rows of A for the listed rows of a result, of which `perLeft` consecutive ones share one.
template <class T> struct GatheredRows {
  const T *data;
  i64 stride;
  const int *list;
  int perLeft;
  const T *row(int m) const { return data + (i64)(list[m] / perLeft) * stride; }
};
template <class T> inline constexpr bool is_rows<GatheredRows<T>> = true;

/// Counts the rows r in [0, rows) with experts[r] == expert, and lists those with the numbers
/// [skip, skip + capacity) among them, in order. All threads of the block call and get the
/// count; the list is complete when they return.
template <class T>
inline i64 collect_rows(const T *experts, i64 rows, i64 expert, i64 skip, int *list, int capacity) {
  const int thread = thread_x(), lane = thread % 32, warp = thread / 32, warps = block_dim_x() / 32;
  // Each thread looks at a part of the rows.
  const i64 part = (rows + block_dim_x() - 1) / block_dim_x();
  const i64 begin = thread * part < rows ? thread * part : rows, end = begin + part < rows ? begin + part : rows;
  int found = 0;
  for (i64 row = begin; row < end; ++row)
    found += (i64)experts[row] == expert;
  int through = found; // of this and the lower lanes
  MLSYS_UNROLL
  for (int distance = 1; distance < 32; distance *= 2) {
    int other = shfl(through, lane < distance ? lane : lane - distance);
    through += lane < distance ? 0 : other;
  }
  int *ofWarps = (int *)reduce_scratch();
  bar_sync(); // the scratch and the list are free
  if (lane == 31)
    ofWarps[warp] = through;
  bar_sync();
  i64 number = through - found - skip, total = 0;
  for (int i = 0; i < warps; ++i) {
    number += i < warp ? ofWarps[i] : 0;
    total += ofWarps[i];
  }
  for (i64 row = begin; row < end; ++row)
    if ((i64)experts[row] == expert) {
      if (number >= 0 && number < capacity)
        list[number] = (int)row;
      ++number;
    }
  bar_sync();
  return total;
}
