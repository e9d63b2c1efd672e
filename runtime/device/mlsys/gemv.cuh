//===- gemv.cuh - Matrix product with few rows ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T for M up to 16: reading W is all the time it takes.
//
//   typedef GemvConfig<4, 32, 8, 1024> Config;           // rows BN warps chunk
//   gemv<Config>(Rows<bf16>{a0, K}, weights(a1, K), M, N, K, block_x() * Config::BN, epilogue);
//
// * M is at most Config::Rows; the caller sees to larger M by blocks of rows, which
//   it passes as an A that starts there and an epilogue that adds the row.
// * A, weights and epilogue are those of matmul.cuh, with row0 = 0. As A is kept in f32,
//   a functor's values are not rounded.
// * A warp computes BN / warps columns; each lane reads 16 bytes of W at a time.
//   A is staged in shared memory, `chunk` elements of each row at a time (a multiple
//   of 256). The order of the sums depends on K alone: not on M, Rows or chunk.
// * Fast when K and W's stride are multiples of 16 bytes and W is aligned to 16.
// * Threads: warps * 32. Dynamic shared memory: Config::sharedBytes<P>() =
//     Rows * chunk * 4 + P * Rows * (BN + 4) * 4
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/matmul.cuh"
#include "mlsys/reduce.cuh"

template <int Rows_, int BN_, int Warps_, int Chunk_> struct GemvConfig {
  static constexpr int Rows = Rows_, BN = BN_, Warps = Warps_, Chunk = Chunk_;
  static constexpr int threads = Warps * 32;
  static_assert(BN % Warps == 0 && Chunk % 256 == 0);
  template <int P> static constexpr int sharedBytes() { return Rows * Chunk * 4 + P * Rows * (BN + 4) * 4; }
};

/// Brings columns [k0, k0 + count) of A's rows to shared memory as f32, zero up to
/// `chunk` columns and `rows` rows.
template <class T, int rows, int chunk, class A>
inline void gemv_stage(const A &a, int m, int k0, int k, float *staged) {
  for (int i = thread_x() * 4; i < rows * chunk; i += block_dim_x() * 4) {
    int row = i / chunk, at = k0 + i % chunk;
    vec<float, 4> values;
    MLSYS_UNROLL
    for (int j = 0; j < 4; ++j) {
      float value = 0.0f;
      if (row < m && at + j < k) {
        if constexpr (is_rows<A>)
          value = convert<float>(a.row(row)[at + j]);
        else
          value = (float)a(row, at + j);
      }
      values[j] = value;
    }
    store<4>(staged + i, values);
  }
}

/// See the head of the file.
template <class Config, class T, int P, class A, class Epilogue>
inline void gemv(const A &a, const Weights<T, P> &w, i64 m64, i64 n64, i64 k64, int col0, Epilogue &&epilogue) {
  constexpr int M = Config::Rows, BN = Config::BN, Columns = BN / Config::Warps, Chunk = Config::Chunk;
  constexpr int V = 16 / sizeof(T); // elements in one load
  const int m = (int)m64, n = (int)n64, k = (int)k64;
  const int lane = thread_x() % 32, warp = thread_x() / 32, first = warp * Columns;
  float *staged = shared_memory<float>(), *tile = staged + M * Chunk;
  bool fast = k % V == 0 && w.stride % V == 0;
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    fast = fast && aligned16(w.data[p]);

  float sums[P][Columns][M];
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int c = 0; c < Columns; ++c)
      MLSYS_UNROLL
      for (int r = 0; r < M; ++r)
        sums[p][c][r] = 0.0f;

  for (int k0 = 0; k0 < k; k0 += Chunk) {
    if (k0 > 0)
      bar_sync(); // everyone has read the last chunk
    gemv_stage<T, M, Chunk>(a, m, k0, k, staged);
    bar_sync();
    int end = min_int(k0 + Chunk, k);
    for (int at = k0 + lane * V; at < end; at += 32 * V) {
      vec<T, V> right[P][Columns];
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int c = 0; c < Columns; ++c) {
          // Columns beyond N read the last one; the epilogue never sees them.
          const T *row = w.data[p] + (i64)min_int(col0 + first + c, n - 1) * w.stride + at;
          if (fast) {
            right[p][c] = load<V>(row);
          } else {
            MLSYS_UNROLL
            for (int e = 0; e < V; ++e)
              right[p][c][e] = at + e < k ? row[e] : convert<T>(0.0f);
          }
        }
      MLSYS_UNROLL
      for (int r = 0; r < M; ++r) {
        vec<float, V> left = load<V>(staged + r * Chunk + at - k0);
        MLSYS_UNROLL
        for (int p = 0; p < P; ++p)
          MLSYS_UNROLL
          for (int c = 0; c < Columns; ++c)
            MLSYS_UNROLL
            for (int e = 0; e < V; ++e)
              sums[p][c][r] = fma(left[e], convert<float>(right[p][c][e]), sums[p][c][r]);
      }
    }
  }
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int c = 0; c < Columns; ++c)
      MLSYS_UNROLL
      for (int r = 0; r < M; ++r) {
        float sum = warp_sum(sums[p][c][r]);
        if (lane == 0)
          tile[(p * M + r) * (BN + 4) + first + c] = sum;
      }
  bar_sync();
  epilogue(Tile<P, M, BN>{tile}, 0, col0, min_int(M, m), min_int(BN, n - col0));
  bar_sync();
}
