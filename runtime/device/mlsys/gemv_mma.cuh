//===- gemv_mma.cuh - Product with few rows on tensor cores -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T for M up to 16 and 16-bit W: reading W is all the time it takes.
//
//   // rows, tiles at once, tiles one after the other, warps, unroll
//   typedef GemvMmaConfig<4, 1, 2, 8, 4> Config;
//   gemv_mma<Config>(Rows<bf16>{a0, K}, weights(a1, K), M, N, K, block_x() * Config::BN, 0,
//                    [&] { pdl_wait(); }, epilogue);
//
// * W is the left operand of mma: 16 columns of the product are its m16, the rows of A its n8, one
//   or two of them. The order of K inside a product is free as long as both sides have the same one: a
//   lane loads 16 contiguous bytes (8 elements of K) of W's rows straight into registers, which are
//   the fragments of two m16n8k16, and A's rows in the same way. So nothing is unpacked or exchanged.
// * The warps of a block share K: warp w does the groups of 32 elements with the numbers
//   (4 * warps) * i + 4 * w + (0 to 3), in this order; then the warps' sums are added in theirs. So the
//   order of a sum depends on K and the number of warps alone. A lane has the loads of two steps of
//   `unroll` groups in flight, 16 * 2 * unroll * tiles at once * products bytes each.
// * Before `prepare`, nothing but W is read: the first step's loads, and what follows into the
//   L2 cache. `prepare` waits for the kernels ahead and computes what A's functor needs.
// * A is Rows<T> or GatheredRows<T> of W's type, aligned to 16 bytes, or a functor that gives 1 or 8
//   elements from (m, k) on as float or vec<float, 8>. Its values are rounded to T and kept in shared
//   memory, from Config::stagedOffset<P>() on, Config::stagedStride(K) elements from row to row. They are its
//   end: with fewer rows a launch takes less of it. GemvMmaConfig's last number, 0 when it is left out, is so many
//   bytes before them, a multiple of 16, for the caller.
// * half > 0: the block's columns are BN / 2 from col0 on, and as many from col0 + half on; the
//   tile's columns BN / 2 to BN - 1 are the latter ones. An epilogue that reads column n + half beside
//   column n (rotary embedding) so need not have all columns between.
// * K is a multiple of 8; W's rows are aligned to 16 bytes. Rows is M's bound, at most 16.
// * Threads: warps * 32. Shared memory: Config::sharedBytes<P>(K, staged).
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/experts.cuh"
#include "mlsys/matmul.cuh"

template <int Rows_, int Wide_, int Tiles_, int Warps_, int Unroll_, int Reserved_ = 0> struct GemvMmaConfig {
  static constexpr int Rows = Rows_, Wide = Wide_, Tiles = Tiles_, Warps = Warps_, Unroll = Unroll_;
  static_assert(Rows >= 1 && Rows <= 16 && 4 % Unroll == 0 && Warps <= 32);
  static constexpr int threads = Warps * 32, BN = 16 * Wide * Tiles, HighRows = Rows > 8 ? 2 : 1;
  /// The warps' sums, after the tile.
  template <int P> static constexpr int partsOffset() { return P * Rows * (BN + 4) * 4; }
  template <int P> static constexpr int stagedOffset() {
    return partsOffset<P>() + Tiles * Wide * P * HighRows * Warps * 512 + Reserved_;
  }
  /// Two rows of four lanes, and so all that a quarter warp reads, lie in different banks.
  static constexpr int stagedStride(int k) {
    int groups = (k + 31) / 32;
    return groups % 2 == 1 ? groups * 32 : groups * 32 + 32;
  }
  template <int P> static constexpr int sharedBytes(int k, bool staged) {
    return stagedOffset<P>() + (staged ? Rows * stagedStride(k) * 2 : 0);
  }
};

/// Brings `rows` rows of `k` elements to shared memory, `stride` elements apart; complete for all
/// threads of the block when they return. `k` elements are a multiple of 16 bytes.
template <class T> inline void fetch_rows(T *shared, const T *source, i64 rows, i64 k, i64 stride) {
  constexpr int V = 16 / (int)sizeof(T);
  const int chunks = (int)k / V;
  for (int i = thread_x(); i < (int)rows * chunks; i += block_dim_x()) {
    int row = i / chunks, at = i % chunks * V;
    cp_async16(shared_address(shared + row * stride + at), source + (i64)row * k + at);
  }
  cp_commit();
  cp_wait<0>();
  bar_sync();
}

/// The functor's values as T in shared memory.
template <class T, class A> inline void gemv_mma_stage(const A &a, int m, int k, int stride, T *staged) {
  constexpr bool scalar = same_type<decltype(a((i64)0, (i64)0)), float>;
  constexpr int V = scalar ? 1 : 8;
  const int chunks = k / V;
  for (int i = thread_x(); i < m * chunks; i += block_dim_x()) {
    int row = i / chunks, at = i % chunks * V;
    store<V>(staged + row * stride + at, convert<T>(a((i64)row, (i64)at)));
  }
}

/// See the head of the file.
template <class Config, class T, int P, class A, class Prepare, class Epilogue>
inline void gemv_mma(const A &a, const Weights<T, P> &w, i64 m64, i64 n64, i64 k64, int col0, int half,
                     Prepare &&prepare, Epilogue &&epilogue) {
  static_assert(is_half<T>);
  constexpr int U = Config::Unroll, C = Config::Wide, H = Config::HighRows, Warps = Config::Warps, BN = Config::BN;
  // Of a tile, from its first fragment row on; and from there to the rows 8 to 15 of a fragment.
  const int columnsOfRow = half ? 8 : 16, highColumns = half ? half : 8;
  constexpr bool staged = !is_rows<A>;
  const int m = (int)m64, n = (int)n64, k = (int)k64;
  const int lane = thread_x() % 32, warp = thread_x() / 32, g = lane / 4, t = lane % 4;
  const int perTile = (k + 128 * Warps - 1) / (128 * Warps) * (4 / U), steps = Config::Tiles * perTile;
  float *tile = shared_memory<float>(), *parts = shared_memory<float>(Config::template partsOffset<P>());
  T *stagedRows = shared_memory<T>(Config::template stagedOffset<P>());
  const int stride = Config::stagedStride(k);

  /// What one step multiplies.
  struct Step {
    bytes16 weights[U][C][P][2], rows[U][H];
  };
  // The first element of K of group `u` of a step, this lane's.
  auto place = [&](int step, int u) {
    int j = step % perTile * U + u;
    return ((j / 4) * Warps + warp) * 128 + j % 4 * 32 + t * 8;
  };
  // Columns beyond N read the last one; the epilogue never sees them.
  auto column = [&](int number, int high) {
    int first = col0 + number * columnsOfRow + g;
    return min_int(first + high * highColumns, n - 1);
  };
  auto loadWeights = [&](Step &into, int step) {
    MLSYS_UNROLL
    for (int c = 0; c < C; ++c)
      MLSYS_UNROLL
      for (int high = 0; high < 2; ++high) {
        const i64 row = (i64)column(step / perTile * C + c, high) * w.stride;
        MLSYS_UNROLL
        for (int u = 0; u < U; ++u) {
          int at = place(step, u);
          MLSYS_UNROLL
          for (int p = 0; p < P; ++p)
            into.weights[u][c][p][high] = at < k ? load_stream(w.data[p] + row + at) : bytes16{0, 0, 0, 0};
        }
      }
  };
  const T *left[H] = {};
  auto loadRows = [&](Step &into, int step) {
    if constexpr (!staged) {
      MLSYS_UNROLL
      for (int u = 0; u < U; ++u) {
        int at = place(step, u);
        MLSYS_UNROLL
        for (int h = 0; h < H; ++h) {
          into.rows[u][h] = bytes16{0, 0, 0, 0};
          if (at < k && g + 8 * h < m) {
            check_alignment(left[h] + at, 16, "load");
            into.rows[u][h] = *(const bytes16 *)(left[h] + at);
          }
        }
      }
    }
  };

  float sums[C][P][H][4];
  auto clear = [&] {
    MLSYS_UNROLL
    for (int c = 0; c < C; ++c)
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int h = 0; h < H; ++h)
          MLSYS_UNROLL
          for (int e = 0; e < 4; ++e)
            sums[c][p][h][e] = 0.0f;
  };
  auto multiply = [&](const Step &of, int step) {
    MLSYS_UNROLL
    for (int u = 0; u < U; ++u)
      MLSYS_UNROLL
      for (int h = 0; h < H; ++h) {
        bytes16 x = {0, 0, 0, 0};
        if constexpr (staged) {
          int at = place(step, u);
          if (at < k && g + 8 * h < m)
            x = *(const bytes16 *)(stagedRows + (g + 8 * h) * stride + at);
        } else {
          x = of.rows[u][h];
        }
        const u32 low[2] = {x.x, x.y}, high[2] = {x.z, x.w};
        MLSYS_UNROLL
        for (int c = 0; c < C; ++c)
          MLSYS_UNROLL
          for (int p = 0; p < P; ++p) {
            const bytes16 &w0 = of.weights[u][c][p][0], &w1 = of.weights[u][c][p][1];
            const u32 first[4] = {w0.x, w1.x, w0.y, w1.y}, second[4] = {w0.z, w1.z, w0.w, w1.w};
            mma<T>(sums[c][p][h], first, low);
            mma<T>(sums[c][p][h], second, high);
          }
      }
    if (step % perTile != perTile - 1)
      return;
    MLSYS_UNROLL
    for (int c = 0; c < C; ++c)
      MLSYS_UNROLL
      for (int p = 0; p < P; ++p)
        MLSYS_UNROLL
        for (int h = 0; h < H; ++h) {
          int fragment = ((step / perTile * C + c) * P + p) * H + h;
          const float *sum = sums[c][p][h];
          store<4>(parts + ((fragment * Warps + warp) * 32 + lane) * 4, vec<float, 4>{{sum[0], sum[1], sum[2], sum[3]}});
        }
    clear();
  };

  Step even, odd;
  loadWeights(even, 0);
  // What the next steps read, while the kernels ahead still run.
  constexpr int rowsOfTile = 16 * C * P, ahead = 65536 / rowsOfTile / 16 * 16;
  for (int i = warp; i < rowsOfTile; i += Warps) {
    int c = i / (16 * P), p = i / 16 % P, high = i / 8 % 2;
    int row = min_int(col0 + c * columnsOfRow + i % 8 + high * highColumns, n - 1);
    const T *of = w.data[0];
    MLSYS_UNROLL
    for (int product = 1; product < P; ++product)
      of = product == p ? w.data[product] : of;
    if (lane == 0)
      prefetch_l2(of + (i64)row * w.stride, min_int(k * 2, ahead));
  }
  prepare();
  if constexpr (staged) {
    gemv_mma_stage<T>(a, min_int(m, Config::Rows), k, stride, stagedRows);
    bar_sync();
  } else {
    MLSYS_UNROLL
    for (int h = 0; h < H; ++h)
      left[h] = a.row(g + 8 * h < m ? g + 8 * h : 0);
  }
  loadRows(even, 0);
  clear();
  for (int step = 0; step < steps; step += 2) {
    if (step + 1 < steps) {
      loadWeights(odd, step + 1);
      loadRows(odd, step + 1);
    }
    multiply(even, step);
    if (step + 2 < steps) {
      loadWeights(even, step + 2);
      loadRows(even, step + 2);
    }
    if (step + 1 < steps)
      multiply(odd, step + 1);
  }
  bar_sync();

  typedef Tile<P, Config::Rows, BN> Products;
  constexpr int fragments = Config::Tiles * C * P * H;
  for (int i = thread_x(); i < fragments * 32; i += Config::threads) {
    int fragment = i / 32, ofLane = i % 32;
    vec<float, 4> sum = load<4>(parts + (fragment * Warps * 32 + ofLane) * 4);
    MLSYS_UNROLL
    for (int other = 1; other < Warps; ++other)
      sum = sum + load<4>(parts + ((fragment * Warps + other) * 32 + ofLane) * 4);
    int h = fragment % H, p = fragment / H % P, number = fragment / (H * P);
    MLSYS_UNROLL
    for (int e = 0; e < 4; ++e) {
      int row = h * 8 + ofLane % 4 * 2 + e % 2;
      int at = number * columnsOfRow + ofLane / 4 + e / 2 * (half ? BN / 2 : 8);
      if (row < Config::Rows)
        tile[(p * Config::Rows + row) * Products::stride + at] = sum[e];
    }
  }
  bar_sync();
  epilogue(Products{tile}, 0, col0, min_int(Config::Rows, m), half ? BN : min_int(BN, n - col0));
  bar_sync(); // shared memory is free for whatever follows
}
