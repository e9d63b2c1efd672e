//===- matmul.cuh - Tiled matrix product ------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T, both with K contiguous, accumulated in f32.
//
//   typedef MatmulConfig<128, 64, 32, 3, 2, 2> Config;   // BM BN BK stages warpsM warpsN
//   matmul<Config>(Rows<bf16>{a0, K}, weights(a1, K), M, N, K, block_y() * Config::BM, block_x() * Config::BN,
//                  [&](auto tile, int row0, int col0, int rows, int cols) {
//                    for_tile<2>(rows, cols, [&](int m, int n) {
//                      store<2>(a2 + (i64)(row0 + m) * N + col0 + n, convert<bf16>(tile.template load<2>(m, n)));
//                    });
//                  });
//
// * One block computes rows [row0, row0 + BM) and columns [col0, col0 + BN). `weights`
//   takes 1 to 4 pointers: so many products share A, and the epilogue gets so many
//   tiles, tile.at(p, m, n). The caller may choose pointer, N and columns by the
//   block id.
// * A is Rows<T>{pointer, elements from row to row}, or a functor `float a(int m, int k)`
//   that computes the element (a fused prologue); then name the type: matmul<Config,
//   bf16>(...), since A is rounded to W's type.
// * The epilogue is called by all threads after the tile is complete in shared memory:
//   tile.at(m, n) for m < rows, n < cols (rows, cols: what lies inside M and N), any
//   element by any thread, f32. Rows and columns count from row0 and col0.
// * Any M, N, K. 16-bit: fastest with K and row strides multiples of 8 and pointers
//   aligned to 16 bytes; f32: multiples of 4.
// * 16-bit: BM a multiple of 16 * warpsM, BN of 16 * warpsN, BK 32 or 64.
//   f32: BM a multiple of 2 * warps, BN of 16, BK 16 or 32.
// * Threads: warpsM * warpsN * 32. Dynamic shared memory, from byte 0 on, with
//   P weights and pad = 4 for f32, 0 for 16-bit (Config::sharedBytes<T, P>()):
//     max(stages * (BM + P * BN) * (BK + pad) * sizeof(T), P * BM * (BN + 4) * 4)
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/math.cuh"

template <int BM_, int BN_, int BK_, int Stages_, int WarpsM_, int WarpsN_> struct MatmulConfig {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, Stages = Stages_, WarpsM = WarpsM_, WarpsN = WarpsN_;
  static constexpr int threads = WarpsM * WarpsN * 32;
  template <class T, int P> static constexpr int sharedBytes() {
    constexpr int pad = sizeof(T) == 4 ? 4 : 0;
    constexpr int pipeline = Stages * (BM + P * BN) * (BK + pad) * (int)sizeof(T);
    constexpr int tile = P * BM * (BN + 4) * 4;
    return pipeline > tile ? pipeline : tile;
  }
};

/// A row-major matrix in memory.
template <class T> struct Rows {
  const T *data;
  i64 stride;
  const T *row(int m) const { return data + (i64)m * stride; }
};

/// P matrices of the same shape that are multiplied by the same A.
template <class T, int P> struct Weights {
  const T *data[P];
  i64 stride;
};
template <class T> inline Weights<T, 1> weights(const T *w0, i64 stride) { return {{w0}, stride}; }
template <class T> inline Weights<T, 2> weights(const T *w0, const T *w1, i64 stride) { return {{w0, w1}, stride}; }
template <class T> inline Weights<T, 3> weights(const T *w0, const T *w1, const T *w2, i64 stride) {
  return {{w0, w1, w2}, stride};
}
template <class T> inline Weights<T, 4> weights(const T *w0, const T *w1, const T *w2, const T *w3, i64 stride) {
  return {{w0, w1, w2, w3}, stride};
}

/// The products of a block: P tiles of BM x BN floats in shared memory.
template <int P, int BM, int BN> struct Tile {
  static constexpr int stride = BN + 4;
  float *data;
  float &at(int m, int n) const { return data[m * stride + n]; }
  float &at(int p, int m, int n) const { return data[(p * BM + m) * stride + n]; }
  /// Elements n to n + W - 1 of row m; n is a multiple of W.
  template <int W> vec_t<float, W> load(int m, int n) const { return ::load<W>(data + m * stride + n); }
  template <int W> vec_t<float, W> load(int p, int m, int n) const {
    return ::load<W>(data + (p * BM + m) * stride + n);
  }
};

/// Calls body(m, n) for n = 0, W, 2W, ... of each row, spread over the block. W
/// divides `cols`.
template <int W, class Body> inline void for_tile(int rows, int cols, Body &&body) {
  int columns = cols / W;
  for (int i = thread_x(); i < rows * columns; i += block_dim_x())
    body(i / columns, i % columns * W);
}

/// Brings `valid` elements (at most 16 bytes) to shared memory, the rest of 16 bytes
/// zero. `fast`: source aligned, and `valid` all or nothing.
template <class T> inline void stage_chunk(T *destination, const T *source, const T *anywhere, int valid, bool fast) {
  constexpr int n = 16 / sizeof(T);
  if (fast) {
    cp_async16(shared_address(destination), valid > 0 ? source : anywhere, valid > 0 ? 16 : 0);
  } else {
    vec<T, n> values;
    MLSYS_UNROLL
    for (int i = 0; i < n; ++i)
      values[i] = i < valid ? source[i] : convert<T>(0.0f);
    store<n>(destination, values);
  }
}

template <class A> inline constexpr bool is_rows = false;
template <class T> inline constexpr bool is_rows<Rows<T>> = true;

/// Brings rows [row0, row0 + R) x columns [k0, k0 + BK) of A to shared memory;
/// `place(row, chunk)` is where a chunk of 16 bytes goes.
template <class T, int R, int BK, int threads, class A, class Place>
inline void stage_rows(const A &a, int row0, int rows, int k0, int k, bool fast, Place &&place) {
  constexpr int n = 16 / sizeof(T), chunks = BK / n;
  MLSYS_UNROLL
  for (int base = 0; base < R * chunks; base += threads) {
    int i = base + thread_x();
    if (R * chunks % threads != 0 && i >= R * chunks)
      break;
    int row = i / chunks, chunk = i % chunks, at = k0 + chunk * n;
    int valid = row0 + row < rows ? k - at : 0;
    if constexpr (is_rows<A>) {
      stage_chunk(place(row, chunk), valid > 0 ? a.row(row0 + row) + at : a.data, a.data, valid, fast);
    } else {
      vec<T, n> values;
      MLSYS_UNROLL
      for (int j = 0; j < n; ++j)
        values[j] = convert<T>(j < valid ? (float)a(row0 + row, at + j) : 0.0f);
      store<n>(place(row, chunk), values);
    }
  }
}

template <class T, class A, int P> inline bool all_aligned(const A &a, const Weights<T, P> &w, int k) {
  constexpr int n = 16 / sizeof(T);
  bool fast = k % n == 0 && w.stride % n == 0;
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    fast = fast && aligned16(w.data[p]);
  if constexpr (is_rows<A>)
    fast = fast && a.stride % n == 0 && aligned16(a.data);
  return fast;
}

template <class T> inline void mma(float *c, const u32 *a, const u32 *b) {
  if constexpr (same_type<T, bf16>)
    mma_bf16(c, a, b);
  else
    mma_f16(c, a, b);
}

/// Tensor cores: ldmatrix and mma.sync over a ring of stages that cp.async fills.
/// Chunks of 16 bytes are swizzled so that ldmatrix meets every bank once.
template <class Config, class T, int P, class A>
inline void matmul_mma(const A &a, const Weights<T, P> &w, int m, int n, int k, int row0, int col0, float *tile) {
  constexpr int BM = Config::BM, BN = Config::BN, BK = Config::BK, Stages = Config::Stages;
  constexpr int WM = BM / Config::WarpsM, WN = BN / Config::WarpsN, MI = WM / 16, NI = WN / 8;
  static_assert(WM % 16 == 0 && WN % 16 == 0 && (BK == 32 || BK == 64) && Stages >= 2);
  constexpr int stageElements = (BM + P * BN) * BK;
  T *base = shared_memory<T>();
  const int lane = thread_x() % 32, warp = thread_x() / 32;
  const int warpRow = warp / Config::WarpsN * WM, warpCol = warp % Config::WarpsN * WN;
  auto offset = [](int row, int chunk) {
    return row * BK + ((BK == 64 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3)) << 3);
  };
  const bool fast = all_aligned<T>(a, w, k);

  auto fetch = [&](int stage, int k0) {
    T *at = base + stage * stageElements;
    stage_rows<T, BM, BK, Config::threads>(a, row0, m, k0, k, fast,
                                           [&](int row, int chunk) { return at + offset(row, chunk); });
    MLSYS_UNROLL
    for (int p = 0; p < P; ++p) {
      T *into = at + (BM + p * BN) * BK;
      stage_rows<T, BN, BK, Config::threads>(Rows<T>{w.data[p], w.stride}, col0, n, k0, k, fast,
                                             [&](int row, int chunk) { return into + offset(row, chunk); });
    }
  };

  float sums[P][MI][NI][4];
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int i = 0; i < MI; ++i)
      MLSYS_UNROLL
      for (int j = 0; j < NI; ++j)
        MLSYS_UNROLL
        for (int e = 0; e < 4; ++e)
          sums[p][i][j][e] = 0.0f;

  const int steps = (k + BK - 1) / BK;
  MLSYS_UNROLL
  for (int s = 0; s < Stages - 1; ++s) {
    if (s < steps)
      fetch(s, s * BK);
    cp_commit();
  }
  for (int step = 0; step < steps; ++step) {
    cp_wait<Stages - 2>();
    bar_sync();
    // The stage that the last step read is free now.
    if (step + Stages - 1 < steps)
      fetch((step + Stages - 1) % Stages, (step + Stages - 1) * BK);
    cp_commit();
    const T *stage = base + step % Stages * stageElements;
    MLSYS_UNROLL
    for (int ks = 0; ks < BK / 16; ++ks) {
      u32 left[MI][4];
      MLSYS_UNROLL
      for (int i = 0; i < MI; ++i)
        ldsm4(left[i], shared_address(stage + offset(warpRow + i * 16 + (lane & 15), ks * 2 + (lane >> 4))));
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int j = 0; j < NI / 2; ++j) {
          u32 right[4];
          const T *from = stage + (BM + p * BN) * BK;
          ldsm4(right, shared_address(from + offset(warpCol + j * 16 + (lane & 7) + ((lane >> 4) << 3),
                                                    ks * 2 + ((lane >> 3) & 1))));
          MLSYS_UNROLL
          for (int i = 0; i < MI; ++i) {
            mma<T>(sums[p][i][2 * j], left[i], right);
            mma<T>(sums[p][i][2 * j + 1], left[i], right + 2);
          }
        }
    }
  }
  cp_wait<0>();
  bar_sync(); // the tile takes the stages' place
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int i = 0; i < MI; ++i)
      MLSYS_UNROLL
      for (int j = 0; j < NI; ++j)
        MLSYS_UNROLL
        for (int h = 0; h < 2; ++h) {
          int row = p * BM + warpRow + i * 16 + h * 8 + (lane >> 2), col = warpCol + j * 8 + (lane & 3) * 2;
          store<2>(tile + row * (BN + 4) + col, vec<float, 2>{{sums[p][i][j][2 * h], sums[p][i][j][2 * h + 1]}});
        }
}

/// f32: every thread keeps TM x TN sums in registers. Rows of a stage are BK + 4 floats
/// apart so that the threads of a quarter warp meet different banks.
template <class Config, int P, class A>
inline void matmul_simt(const A &a, const Weights<float, P> &w, int m, int n, int k, int row0, int col0, float *tile) {
  constexpr int BM = Config::BM, BN = Config::BN, BK = Config::BK, Stages = Config::Stages;
  constexpr int ThreadsM = Config::threads / 16, TM = BM / ThreadsM, TN = BN / 16, stride = BK + 4;
  static_assert(BM % ThreadsM == 0 && BN % 16 == 0 && BK % 16 == 0 && Stages >= 2);
  constexpr int stageElements = (BM + P * BN) * stride;
  float *base = shared_memory<float>();
  const int ty = thread_x() / 16, tx = thread_x() % 16;
  const bool fast = all_aligned<float>(a, w, k);

  auto fetch = [&](int stage, int k0) {
    float *at = base + stage * stageElements;
    stage_rows<float, BM, BK, Config::threads>(a, row0, m, k0, k, fast,
                                               [&](int row, int chunk) { return at + row * stride + chunk * 4; });
    MLSYS_UNROLL
    for (int p = 0; p < P; ++p) {
      float *into = at + (BM + p * BN) * stride;
      stage_rows<float, BN, BK, Config::threads>(
          Rows<float>{w.data[p], w.stride}, col0, n, k0, k, fast,
          [&](int row, int chunk) { return into + row * stride + chunk * 4; });
    }
  };

  float sums[P][TM][TN];
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int i = 0; i < TM; ++i)
      MLSYS_UNROLL
      for (int j = 0; j < TN; ++j)
        sums[p][i][j] = 0.0f;

  const int steps = (k + BK - 1) / BK;
  MLSYS_UNROLL
  for (int s = 0; s < Stages - 1; ++s) {
    if (s < steps)
      fetch(s, s * BK);
    cp_commit();
  }
  for (int step = 0; step < steps; ++step) {
    cp_wait<Stages - 2>();
    bar_sync();
    if (step + Stages - 1 < steps)
      fetch((step + Stages - 1) % Stages, (step + Stages - 1) * BK);
    cp_commit();
    const float *stage = base + step % Stages * stageElements;
    for (int kk = 0; kk < BK; kk += 4) {
      vec<float, 4> left[TM];
      MLSYS_UNROLL
      for (int i = 0; i < TM; ++i)
        left[i] = load<4>(stage + (ty + i * ThreadsM) * stride + kk);
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int j = 0; j < TN; ++j) {
          vec<float, 4> right = load<4>(stage + (BM + p * BN + tx + j * 16) * stride + kk);
          MLSYS_UNROLL
          for (int i = 0; i < TM; ++i)
            MLSYS_UNROLL
            for (int e = 0; e < 4; ++e)
              sums[p][i][j] = fma(left[i][e], right[e], sums[p][i][j]);
        }
    }
  }
  cp_wait<0>();
  bar_sync();
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int i = 0; i < TM; ++i)
      MLSYS_UNROLL
      for (int j = 0; j < TN; ++j)
        tile[(p * BM + ty + i * ThreadsM) * (BN + 4) + tx + j * 16] = sums[p][i][j];
}

/// See the head of the file.
template <class Config, class T, int P, class A, class Epilogue>
inline void matmul(const A &a, const Weights<T, P> &w, i64 m, i64 n, i64 k, int row0, int col0, Epilogue &&epilogue) {
  float *tile = shared_memory<float>();
  if constexpr (is_half<T>)
    matmul_mma<Config, T, P>(a, w, (int)m, (int)n, (int)k, row0, col0, tile);
  else
    matmul_simt<Config, P>(a, w, (int)m, (int)n, (int)k, row0, col0, tile);
  bar_sync();
  epilogue(Tile<P, Config::BM, Config::BN>{tile}, row0, col0, min_int(Config::BM, (int)m - row0),
           min_int(Config::BN, (int)n - col0));
  bar_sync(); // shared memory is free for whatever follows
}
