//===- matmul_int8.cuh - Matrix product of 8-bit integers -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T, both with K contiguous, exact but for wrapping around in i32.
//
//   typedef Int8Config<64, 128, 2, 2, 0> Config;         // BM BN warpsM warpsN unsigned
//   matmul_int8<Config>(Rows<i8>{a0, K}, weights(a1, K), M, N, K, block_y() * Config::BM,
//                       block_x() * Config::BN, epilogue);
//
// * W is i8; A is i8 or, with `unsigned`, u8 in the same bits. A, weights and epilogue are those of
//   matmul.cuh; the elements of the tile are i32, and it is complete when the epilogue is called.
//   A functor gives the element as a float.
// * Any M, N, K; fastest with K a multiple of 16 and pointers aligned to 16 bytes.
// * BM a multiple of 16 * warpsM, BN of 16 * warpsN. Threads: warpsM * warpsN * 32. Dynamic shared
//   memory, from byte 0 on, with P weights (Config::sharedBytes<P>()):
//     max(stages * (BM + P * BN) * 80, P * BM * (BN + 4) * 4)
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/matmul.cuh"

template <int BM_, int BN_, int WarpsM_, int WarpsN_, int Unsigned_> struct Int8Config {
  static constexpr int BM = BM_, BN = BN_, WarpsM = WarpsM_, WarpsN = WarpsN_;
  static constexpr bool Unsigned = Unsigned_ != 0;
  /// Bytes of K in a stage, and from row to row: ldmatrix meets every bank once.
  static constexpr int BK = 64, stride = BK + 16, stages = 3;
  static constexpr int threads = WarpsM * WarpsN * 32;
  template <int P> static constexpr int sharedBytes() {
    constexpr int pipeline = stages * (BM + P * BN) * stride, tile = P * BM * (BN + 4) * 4;
    return pipeline > tile ? pipeline : tile;
  }
};

/// The products of a block: P tiles of BM x BN integers in shared memory.
template <int P, int BM, int BN> struct Int8Tile {
  static constexpr int stride = BN + 4;
  i32 *data;
  i32 &at(int p, int m, int n) const { return data[(p * BM + m) * stride + n]; }
  template <int W> vec_t<i32, W> load(int p, int m, int n) const {
    return ::load<W>(data + (p * BM + m) * stride + n);
  }
};

/// Brings rows [row0, row0 + R) x bytes [k0, k0 + BK) of A to shared memory.
template <class Config, int R, class A>
inline void stage_bytes(const A &a, i8 *into, int row0, int rows, int k0, int k, bool fast) {
  constexpr int chunks = Config::BK / 16;
  for (int i = thread_x(); i < R * chunks; i += Config::threads) {
    int row = i / chunks, at = k0 + i % chunks * 16;
    int valid = row0 + row < rows ? k - at : 0;
    i8 *place = into + row * Config::stride + i % chunks * 16;
    if constexpr (is_rows<A>) {
      stage_chunk(place, valid > 0 ? a.row(row0 + row) + at : a.data, a.data, valid, fast);
    } else {
      vec<i8, 16> values;
      MLSYS_UNROLL
      for (int j = 0; j < 16; ++j)
        values[j] = j < valid ? (i8)(i32)a(row0 + row, at + j) : (i8)0;
      store<16>(place, values);
    }
  }
}

/// See the head of the file.
template <class Config, class T, int P, class A, class Epilogue>
inline void matmul_int8(const A &a, const Weights<T, P> &w, i64 m64, i64 n64, i64 k64, int row0, int col0,
                        Epilogue &&epilogue) {
  constexpr int BM = Config::BM, BN = Config::BN, BK = Config::BK, stride = Config::stride;
  constexpr int WM = BM / Config::WarpsM, WN = BN / Config::WarpsN, MI = WM / 16, NI = WN / 8;
  static_assert(WM % 16 == 0 && WN % 16 == 0 && same_type<T, i8>);
  constexpr int stageBytes = (BM + P * BN) * stride;
  const int m = (int)m64, n = (int)n64, k = (int)k64;
  i8 *base = shared_memory<i8>();
  const bool fast = all_aligned<i8>(a, w, k);

  auto fetch = [&](int stage, int k0) {
    i8 *at = base + stage * stageBytes;
    stage_bytes<Config, BM>(a, at, row0, m, k0, k, fast);
    MLSYS_UNROLL
    for (int p = 0; p < P; ++p)
      stage_bytes<Config, BN>(Rows<i8>{w.data[p], w.stride}, at + (BM + p * BN) * stride, col0, n, k0, k, fast);
  };

  const int lane = thread_x() % 32, warp = thread_x() / 32;
  const int warpRow = warp / Config::WarpsN * WM, warpCol = warp % Config::WarpsN * WN;
  const int leftAt = (warpRow + (lane & 15)) * stride + (lane >> 4) * 16;
  const int rightAt = (BM + warpCol + (lane & 7) + ((lane >> 4) << 3)) * stride + ((lane >> 3) & 1) * 16;

  i32 sums[P][MI][NI][4];
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
    for (int i = 0; i < MI; ++i)
      MLSYS_UNROLL
      for (int j = 0; j < NI; ++j)
        MLSYS_UNROLL
        for (int e = 0; e < 4; ++e)
          sums[p][i][j][e] = 0;

  const int steps = (k + BK - 1) / BK;
  MLSYS_ROLL
  for (int s = 0; s < Config::stages - 1; ++s) {
    if (s < steps)
      fetch(s, s * BK);
    cp_commit();
  }
  MLSYS_ROLL
  for (int step = 0; step < steps; ++step) {
    cp_wait<Config::stages - 2>();
    bar_sync();
    if (step + Config::stages - 1 < steps)
      fetch((step + Config::stages - 1) % Config::stages, (step + Config::stages - 1) * BK);
    cp_commit();
    const u32 stage = shared_address(base + step % Config::stages * stageBytes);
    MLSYS_UNROLL
    for (int ks = 0; ks < BK; ks += 32) {
      u32 left[MI][4];
      MLSYS_UNROLL
      for (int i = 0; i < MI; ++i)
        ldsm4(left[i], stage + leftAt + i * 16 * stride + ks);
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
      for (int j = 0; j < NI; j += 2) {
        u32 right[4];
        ldsm4(right, stage + rightAt + (p * BN + j * 8) * stride + ks);
        MLSYS_UNROLL
        for (int i = 0; i < MI; ++i)
          MLSYS_UNROLL
        for (int h = 0; h < 2; ++h) {
          if constexpr (Config::Unsigned)
            mma_u8(sums[p][i][j + h], left[i], right + 2 * h);
          else
            mma_s8(sums[p][i][j + h], left[i], right + 2 * h);
        }
      }
    }
  }
  cp_wait<0>();
  bar_sync(); // the stages have been read
  const Int8Tile<P, BM, BN> tile{shared_memory<i32>()};
  MLSYS_UNROLL
  for (int p = 0; p < P; ++p)
    MLSYS_UNROLL
  for (int i = 0; i < MI; ++i)
    MLSYS_UNROLL
  for (int j = 0; j < NI; ++j)
    MLSYS_UNROLL
  for (int h = 0; h < 2; ++h)
    store<2>(&tile.at(p, warpRow + i * 16 + h * 8 + (lane >> 2), warpCol + j * 8 + (lane & 3) * 2),
             vec<i32, 2>{{sums[p][i][j][2 * h], sums[p][i][j][2 * h + 1]}});
  bar_sync();
  epilogue(tile, row0, col0, min_int(BM, m - row0), min_int(BN, n - col0));
  bar_sync();
}
