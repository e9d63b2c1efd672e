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
// * The epilogue is called by all threads with a part of the tile that is complete in shared memory: all its columns,
//   and (16-bit) 16 * warpsM rows from its row0 on. tile.at(m, n) for m < rows, n < cols (rows, cols: what lies
//   inside M and N), any element by any thread, f32. Rows and columns count from the part's row0 and col0.
// * 16-bit sums go along K in steps of 16, whatever the tile and M are.
// * Any M, N, K. 16-bit: fastest with K and row strides multiples of 8 and pointers
//   aligned to 16 bytes; f32: multiples of 4.
// * 16-bit: BM a multiple of 16 * warpsM, BN of 16 * warpsN, BK 32 or 64, threads a multiple of BK.
//   f32: BM a multiple of 2 * warps, BN of 16, BK 16 or 32.
// * Threads: warpsM * warpsN * 32. Dynamic shared memory, from byte 0 on, with
//   P weights (Config::sharedBytes<T, P>()):
//     16-bit: max(stages * (BM + P * BN) * BK * 2, P * 16 * warpsM * (BN + 8) * 4)
//     f32:    max(stages * (BM + P * BN) * (BK + 4) * 4, P * BM * (BN + 4) * 4)
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/math.cuh"

template <int BM_, int BN_, int BK_, int Stages_, int WarpsM_, int WarpsN_> struct MatmulConfig {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, Stages = Stages_, WarpsM = WarpsM_, WarpsN = WarpsN_;
  static constexpr int threads = WarpsM * WarpsN * 32;
  template <class T, int P> static constexpr int sharedBytes() {
    constexpr bool half = sizeof(T) == 2;
    constexpr int pipeline = Stages * (BM + P * BN) * (BK + (half ? 0 : 4)) * (int)sizeof(T);
    constexpr int tile = half ? P * 16 * WarpsM * (BN + 8) * 4 : P * BM * (BN + 4) * 4;
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
template <int P, int BM, int BN, int Pad = 4> struct Tile {
  static constexpr int stride = BN + Pad;
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

/// A's rows lie at a fixed distance.
template <class A> inline constexpr bool is_strided = false;
template <class T> inline constexpr bool is_strided<Rows<T>> = true;

/// What a thread brings of R rows of a 16-bit matrix to each stage: chunks of 16 bytes, `apart` rows from one to
/// the next.
template <class T, int R, int BK, int threads> struct Stager {
  static constexpr int chunks = BK / 8, apart = threads / chunks, count = (R + apart - 1) / apart;
  static_assert(threads % (8 * chunks) == 0);
  /// The first row of the thread, its chunk in a row, and its place in the matrix's part of a stage, in bytes.
  int row = thread_x() / chunks, chunk = thread_x() % chunks;
  u32 place = row * BK * 2 + (swizzle(row, chunk) << 4);

  /// Where a chunk of a row lies: ldmatrix meets every bank once.
  static constexpr int swizzle(int row, int chunk) { return BK == 64 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3); }

  /// `at(i)`: the address of row `row` + i * apart of `left` rows that there are, at column `chunk` * 8 of the step,
  /// of whose columns there are k.
  template <class At> void fetch(u32 into, int left, int k, At &&at) const {
    MLSYS_UNROLL
    for (int i = 0; i < count; ++i)
      if (R % apart == 0 || row + i * apart < R)
        cp_async16(into + place + i * apart * BK * 2, at(i), row + i * apart < left && chunk * 8 < k ? 16 : 0);
  }

  /// The same with `element(row, column)` of any matrix.
  template <class Element> void compute(T *into, int left, int k, Element &&element) const {
    MLSYS_ROLL
    for (int at = row; at < R; at += apart) {
      vec<T, 8> values;
      MLSYS_UNROLL
      for (int j = 0; j < 8; ++j)
        values[j] = at < left && chunk * 8 + j < k ? convert<T>(element(at, chunk * 8 + j)) : convert<T>(0.0f);
      store<8>(into + at * BK + swizzle(at, chunk) * 8, values);
    }
  }
};

/// Tensor cores: ldmatrix and mma.sync over a ring of stages that cp.async fills. Fragments of the next 16 of K are
/// read while those at hand are multiplied. Row fragments of the warps alternate, so that the epilogue gets the tile
/// in parts of 16 * WarpsM rows that lie side by side, and needs no more shared memory than the stages have.
template <class Config, class T, int P, class A, class Epilogue>
inline void matmul_mma(const A &a, const Weights<T, P> &w, int m, int n, int k, int row0, int col0,
                       Epilogue &&epilogue) {
  constexpr int BM = Config::BM, BN = Config::BN, BK = Config::BK, Stages = Config::Stages;
  constexpr int WarpsM = Config::WarpsM, WN = BN / Config::WarpsN, MI = BM / WarpsM / 16, NI = WN / 8, KI = BK / 16;
  static_assert(BM % (16 * WarpsM) == 0 && WN % 16 == 0 && (BK == 32 || BK == 64) && Stages >= 2);
  constexpr int rowBytes = BK * 2, stageBytes = (BM + P * BN) * rowBytes;
  typedef Stager<T, BM, BK, Config::threads> StagerA;
  typedef Stager<T, BN, BK, Config::threads> StagerW;
  const StagerA ofA;
  const StagerW ofW;
  const u32 base = shared_address(shared_memory<u8>()), end = base + Stages * stageBytes;
  const bool fast = all_aligned<T>(a, w, k);

  const T *rowsOfA[StagerA::count];
  const T *firstOfA = nullptr;
  if constexpr (is_strided<A>) {
    firstOfA = a.row(row0 + ofA.row) + ofA.chunk * 8;
  } else if constexpr (is_rows<A>) {
    MLSYS_UNROLL
    for (int i = 0; i < StagerA::count; ++i)
      rowsOfA[i] = a.row(min_int(row0 + ofA.row + i * StagerA::apart, m - 1)) + ofA.chunk * 8;
  }
  const i64 firstOfW = (i64)(col0 + ofW.row) * w.stride + ofW.chunk * 8;

  auto fetch = [&](u32 stage, int k0) {
    // Known to be BK where K is a known multiple of it.
    const int left = k % BK == 0 ? BK : k - k0;
    T *plain = shared_memory<T>(stage - base);
    if constexpr (!is_rows<A>)
      ofA.compute(plain, m - row0, left, [&](int row, int column) { return (float)a(row0 + row, k0 + column); });
    if (fast) {
      if constexpr (is_strided<A>)
        ofA.fetch(stage, m - row0, left, [&](int i) { return firstOfA + k0 + (i64)i * StagerA::apart * a.stride; });
      else if constexpr (is_rows<A>)
        ofA.fetch(stage, m - row0, left, [&](int i) { return rowsOfA[i] + k0; });
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p) {
        const T *first = w.data[p] + firstOfW + k0;
        ofW.fetch(stage + (BM + p * BN) * rowBytes, n - col0, left,
                  [&](int i) { return first + (i64)i * StagerW::apart * w.stride; });
      }
    } else {
      if constexpr (is_rows<A>)
        ofA.compute(plain, m - row0, left, [&](int row, int column) { return a.row(row0 + row)[k0 + column]; });
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        ofW.compute(plain + (BM + p * BN) * BK, n - col0, left,
                    [&](int row, int column) { return w.data[p][(i64)(col0 + row) * w.stride + k0 + column]; });
    }
  };

  const int lane = thread_x() % 32, warp = thread_x() / 32;
  const int warpRow = warp / Config::WarpsN * 16, warpCol = warp % Config::WarpsN * WN;
  const int leftRow = warpRow + (lane & 15), rightRow = warpCol + (lane & 7) + ((lane >> 4) << 3);
  const u32 leftAt = leftRow * rowBytes + (StagerA::swizzle(leftRow, lane >> 4) << 4);
  const u32 rightAt = BM * rowBytes + rightRow * rowBytes + (StagerW::swizzle(rightRow, (lane >> 3) & 1) << 4);
  u32 left[2][MI][4], right[2][P][NI / 2][4];
  auto read = [&](int into, u32 stage, int ks) {
    MLSYS_UNROLL
    for (int i = 0; i < MI; ++i)
      ldsm4(left[into][i], ((stage + leftAt) ^ (ks << 5)) + i * 16 * WarpsM * rowBytes);
    MLSYS_UNROLL
    for (int p = 0; p < P; ++p)
      MLSYS_UNROLL
      for (int j = 0; j < NI / 2; ++j)
        ldsm4(right[into][p][j], ((stage + rightAt) ^ (ks << 5)) + (p * BN + j * 16) * rowBytes);
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
  MLSYS_ROLL
  for (int s = 0; s < Stages - 1; ++s) {
    if (s < steps)
      fetch(base + s * stageBytes, s * BK);
    cp_commit();
  }
  u32 stage = base, filled = base + (Stages - 1) * stageBytes;
  cp_wait<Stages - 2>();
  bar_sync();
  read(0, stage, 0);
  MLSYS_ROLL
  for (int step = 0; step < steps; ++step) {
    MLSYS_UNROLL
    for (int ks = 0; ks < KI; ++ks) {
      if (ks == KI - 1) {
        stage = stage + stageBytes == end ? base : stage + stageBytes;
        cp_wait<Stages - 2>();
        bar_sync();
      }
      // After the last step this reads what nobody uses.
      read((ks + 1) % 2, stage, (ks + 1) % KI);
      if (ks == 0) {
        // The stage that the step before has read is free.
        if (step + Stages - 1 < steps)
          fetch(filled, (step + Stages - 1) * BK);
        cp_commit();
        filled = filled + stageBytes == end ? base : filled + stageBytes;
      }
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int i = 0; i < MI; ++i)
          MLSYS_UNROLL
          for (int j = 0; j < NI; ++j)
            mma<T>(sums[p][i][j], left[ks % 2][i], right[ks % 2][p][j / 2] + j % 2 * 2);
    }
  }
  cp_wait<0>();

  constexpr int partRows = 16 * WarpsM;
  typedef Tile<P, partRows, BN, 8> Part;
  const Part tile{shared_memory<float>()};
  MLSYS_ROLL
  for (int part = 0; part < MI && row0 + part * partRows < m; ++part) {
    const int first = row0 + part * partRows;
    bar_sync(); // the stages, or the part before, have been read
    MLSYS_UNROLL
    for (int i = 0; i < MI; ++i)
      if (i == part)
        MLSYS_UNROLL
    for (int p = 0; p < P; ++p)
      MLSYS_UNROLL
    for (int j = 0; j < NI; ++j)
      MLSYS_UNROLL
    for (int h = 0; h < 2; ++h)
      store<2>(&tile.at(p, warpRow + h * 8 + (lane >> 2), warpCol + j * 8 + (lane & 3) * 2),
               vec<float, 2>{{sums[p][i][j][2 * h], sums[p][i][j][2 * h + 1]}});
    bar_sync();
    epilogue(tile, first, col0, min_int(partRows, m - first), min_int(BN, n - col0));
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
  if constexpr (is_half<T>) {
    matmul_mma<Config, T, P>(a, w, (int)m, (int)n, (int)k, row0, col0, epilogue);
  } else {
    float *tile = shared_memory<float>();
    matmul_simt<Config, P>(a, w, (int)m, (int)n, (int)k, row0, col0, tile);
    bar_sync();
    epilogue(Tile<P, Config::BM, Config::BN>{tile}, row0, col0, min_int(Config::BM, (int)m - row0),
             min_int(Config::BN, (int)n - col0));
  }
  bar_sync(); // shared memory is free for whatever follows
}
