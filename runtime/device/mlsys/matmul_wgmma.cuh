//===- matmul_wgmma.cuh - Matrix product for Hopper -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16 or f16, accumulated in f32, for sm_90a.
//
//   typedef WgmmaConfig<1, 256, 4, 32> Config;   // weights, BN, stages, columns of a sub-tile
//   matmul_wgmma<Config, bf16>(t0, M, K, wgmma_group(N, [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {
//     for_subtile<4>(rows, cols, [&](int m, int n) { ... tile.template load<4>(m, n) ... });
//   }, t1));
//
// * One block a multiprocessor walks over the tiles, block_x() first, grid_dim_x() apart; the
//   grid has any size. The threads of warpgroup 0 bring tiles of A and W into a ring of stages
//   with 64 of K each, the others multiply.
// * t0: A as [K, M] with a box of 64 x Config::ARows; the groups' maps: W as [K, N] with a box of
//   64 x Config::WRows, 128-byte rows. A group is Config::P weights of the same shape and the
//   epilogue of their products; groups share A.
// * WgmmaConfig: blocks of 128 x BN (P * BN at most 256), each of two warpgroups has 64 rows.
//   SwappedConfig<P, columns, rows, stages>: for few rows of A, which become the N side of wgmma;
//   blocks of rows x columns, columns 64 or 128, P * columns * rows at most 16384; one warpgroup.
// * The epilogue is called by the 128 threads of a warpgroup with a sub-tile: rows row0 + [0, rows)
//   and columns col0 + [0, cols); tile.at(p, m, n) and tile.load<W>(p, m, n) as in matmul.cuh.
//   Sub-tiles begin at multiples of Config::Columns.
// * Any M, N; K and the row strides are multiples of 8, pointers aligned to 16 bytes. Sums go
//   along K in steps of 16, whatever M is.
// * Threads: Config::threads. Shared memory: Config::sharedBytes, from byte 0 on.
//
//===----------------------------------------------------------------------===//
#pragma once
#if defined(MLSYS_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "mlsys/hopper.cuh"

template <int P_, int BN_, int Stages_, int Columns_> struct WgmmaConfig {
  static constexpr int P = P_, BN = BN_, Stages = Stages_, Columns = Columns_;
  static constexpr bool swapped = false;
  static constexpr int ARows = 128, WRows = BN, groups = 2, threads = 384;
  static constexpr int stageBytes = (ARows + P * WRows) * 128;
  static constexpr int stagingBytes = P * 64 * (Columns + 8) * 4;
  static constexpr int sharedBytes = Stages * stageBytes + groups * stagingBytes + 16 * Stages;
  static_assert(P * BN <= 256 && wgmma_has_columns<BN> && BN % Columns == 0 && Columns % 8 == 0);
};

template <int P_, int Columns_, int Rows_, int Stages_> struct SwappedConfig {
  static constexpr int P = P_, Columns = Columns_, Rows = Rows_, Stages = Stages_;
  static constexpr bool swapped = true;
  static constexpr int ARows = Rows, WRows = Columns, groups = 1, threads = 256;
  /// Rows of a sub-tile.
  static constexpr int staged = Rows % 32 == 0 ? 32 : Rows % 16 == 0 ? 16 : 8;
  static constexpr int stageBytes = (ARows + P * WRows) * 128;
  static constexpr int stagingBytes = P * staged * (Columns + 4) * 4;
  static constexpr int sharedBytes = Stages * stageBytes + stagingBytes + 16 * Stages;
  static_assert(Columns % 64 == 0 && P * Columns * Rows <= 16384 && wgmma_has_columns<Rows>);
};

/// P products of Rows x some columns in shared memory.
template <int Rows, int Stride> struct SubTile {
  float *data;
  float &at(int m, int n) const { return data[m * Stride + n]; }
  float &at(int p, int m, int n) const { return data[(p * Rows + m) * Stride + n]; }
  template <int W> vec_t<float, W> load(int m, int n) const { return ::load<W>(data + m * Stride + n); }
  template <int W> vec_t<float, W> load(int p, int m, int n) const {
    return ::load<W>(data + (p * Rows + m) * Stride + n);
  }
};

/// Calls body(m, n) for n = 0, W, 2W, ... of each row, spread over the warpgroup. W divides
/// `cols`.
template <int W, class Body> inline void for_subtile(int rows, int cols, Body &&body) {
  int columns = cols / W;
  for (int i = thread_x() % 128; i < rows * columns; i += 128)
    body(i / columns, i % columns * W);
}

/// Weights of N rows each and the epilogue of their products.
template <int P, class Epilogue> struct WgmmaGroup {
  const tensor_map *weights[P];
  int n;
  Epilogue epilogue;
};
template <class Epilogue, class... Maps>
inline WgmmaGroup<sizeof...(Maps), Epilogue> wgmma_group(i64 n, Epilogue epilogue, const Maps &...maps) {
  return {{&maps...}, (int)n, epilogue};
}

/// A place in the ring of stages.
template <int Stages> struct RingPlace {
  int stage = 0;
  u32 parity = 0;
  void next() {
    if (++stage == Stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// Blocks of 16 rows of tiles, so that tiles which run at the same time share A and W in the
/// cache.
inline void wgmma_tile_at(int tile, int rowBlocks, int columnBlocks, int &row, int &column) {
  int first = tile / (16 * columnBlocks) * 16, rows = min_int(16, rowBlocks - first);
  int rest = tile - first * columnBlocks;
  row = first + rest % rows;
  column = rest / rows;
}

template <class Config, class... Groups>
inline void wgmma_produce(const tensor_map &a, int m, int k, const Groups &...groups) {
  const u32 base = shared_address(shared_memory<u8>());
  const u32 full = base + Config::sharedBytes - 16 * Config::Stages, empty = full + 8 * Config::Stages;
  const int rowBlocks = (m + Config::ARows - 1) / Config::ARows, steps = (k + 63) / 64;
  const int columnBlocks = (((groups.n + Config::WRows - 1) / Config::WRows) + ...);
  RingPlace<Config::Stages> place;
  for (int tile = block_x(); tile < rowBlocks * columnBlocks; tile += grid_dim_x()) {
    int row, column;
    wgmma_tile_at(tile, rowBlocks, columnBlocks, row, column);
    const tensor_map *weights[Config::P];
    int col0 = 0, first = 0;
    auto choose = [&](const auto &group) {
      int blocks = (group.n + Config::WRows - 1) / Config::WRows;
      if (column >= first && column < first + blocks) {
        col0 = (column - first) * Config::WRows;
        MLSYS_UNROLL
        for (int p = 0; p < Config::P; ++p)
          weights[p] = group.weights[p];
      }
      first += blocks;
    };
    (choose(groups), ...);
    for (int step = 0; step < steps; ++step) {
      u32 at = base + place.stage * Config::stageBytes, barrier = full + 8 * place.stage;
      mbarrier_wait(empty + 8 * place.stage, place.parity ^ 1);
      mbarrier_arrive_expect(barrier, Config::stageBytes);
      MLSYS_UNROLL
      for (int p = 0; p < Config::P; ++p)
        tma_load_2d(at + (Config::ARows + p * Config::WRows) * 128, *weights[p], barrier, step * 64, col0);
      tma_load_2d(at, a, barrier, step * 64, row * Config::ARows);
      place.next();
    }
  }
}

/// Issues the products of one step: 64 of K.
template <class Config, class T, int Blocks, int N>
inline void wgmma_step(float (&sums)[Config::P * Blocks][N / 2], u32 stage, int group, bool accumulate) {
  const u32 w = stage + Config::ARows * 128;
  MLSYS_UNROLL
  for (int ks = 0; ks < 4; ++ks)
    MLSYS_UNROLL
    for (int p = 0; p < Config::P * Blocks; ++p)
      if constexpr (Config::swapped)
        wgmma<T, N>(sums[p], wgmma_rows(w + p * 8192) + 2 * ks, wgmma_rows(stage) + 2 * ks, accumulate || ks > 0);
      else
        wgmma<T, N>(sums[p], wgmma_rows(stage + group * 8192) + 2 * ks,
                    wgmma_rows(w + p * Config::WRows * 128) + 2 * ks, accumulate || ks > 0);
  wgmma_commit();
}

/// Multiplies the steps of one tile, one ahead of what is waited for.
template <class Config, class T, int Blocks, int N>
inline void wgmma_steps(float (&sums)[Config::P * Blocks][N / 2], RingPlace<Config::Stages> &place, int steps,
                        int group) {
  const u32 base = shared_address(shared_memory<u8>());
  const u32 full = base + Config::sharedBytes - 16 * Config::Stages, empty = full + 8 * Config::Stages;
  const bool speaks = thread_x() % 32 == 0;
  mbarrier_wait(full + 8 * place.stage, place.parity);
  wgmma_fence();
  wgmma_step<Config, T, Blocks, N>(sums, base + place.stage * Config::stageBytes, group, false);
  int last = place.stage;
  place.next();
  MLSYS_ROLL
  for (int step = 1; step < steps; ++step) {
    mbarrier_wait(full + 8 * place.stage, place.parity);
    wgmma_fence();
    wgmma_step<Config, T, Blocks, N>(sums, base + place.stage * Config::stageBytes, group, true);
    // The products of the step before have been made: its stage is free.
    wgmma_wait<1>();
    if (speaks)
      mbarrier_arrive(empty + 8 * last);
    last = place.stage;
    place.next();
  }
  wgmma_wait<0>(sums);
  if (speaks)
    mbarrier_arrive(empty + 8 * last);
}

/// Hands the sums to the epilogue of a group with n columns, a sub-tile at a time.
template <class Config, int N, class Epilogue>
inline void wgmma_epilogue(const float (&sums)[Config::P][N / 2], const Epilogue &epilogue, int m, int n, int row0,
                           int col0, int warpgroup) {
  constexpr int stride = Config::Columns + 8, columns = Config::Columns;
  float *staging = shared_memory<float>(Config::Stages * Config::stageBytes + warpgroup * Config::stagingBytes);
  const int row = thread_x() % 128 / 32 * 16 + thread_x() % 32 / 4, pair = thread_x() % 4 * 2;
  for (int part = 0; part < N / columns; ++part) {
    int first = col0 + part * columns;
    if (row0 >= m || first >= n)
      break;
    group_sync(1 + warpgroup, 128); // the part before has been read
    MLSYS_UNROLL
    for (int s = 0; s < N / columns; ++s)
      if (s == part)
        MLSYS_UNROLL
    for (int p = 0; p < Config::P; ++p)
      MLSYS_UNROLL
    for (int j = 0; j < columns / 8; ++j)
      MLSYS_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float *from = &sums[p][(s * columns / 8 + j) * 4 + 2 * h];
      store<2>(staging + (p * 64 + row + h * 8) * stride + j * 8 + pair, vec<float, 2>{{from[0], from[1]}});
    }
    group_sync(1 + warpgroup, 128);
    epilogue(SubTile<64, stride>{staging}, row0, first, min_int(64, m - row0), min_int(columns, n - first));
  }
}

/// The same with columns along the 64 rows of wgmma.
template <class Config, int Blocks, class Epilogue>
inline void wgmma_epilogue_swapped(const float (&sums)[Config::P * Blocks][Config::Rows / 2], const Epilogue &epilogue,
                                   int m, int n, int row0, int col0) {
  constexpr int stride = Config::Columns + 4, staged = Config::staged;
  float *staging = shared_memory<float>(Config::Stages * Config::stageBytes);
  const int column = thread_x() % 128 / 32 * 16 + thread_x() % 32 / 4, pair = thread_x() % 4 * 2;
  for (int part = 0; part < Config::Rows / staged; ++part) {
    int first = row0 + part * staged;
    if (first >= m)
      break;
    group_sync(1, 128);
    MLSYS_UNROLL
    for (int s = 0; s < Config::Rows / staged; ++s)
      if (s == part)
        MLSYS_UNROLL
    for (int b = 0; b < Config::P * Blocks; ++b)
      MLSYS_UNROLL
    for (int e = 0; e < staged / 2; ++e) {
      int row = e / 4 * 8 + pair + e % 2;
      staging[(b / Blocks * staged + row) * stride + b % Blocks * 64 + column + e / 2 % 2 * 8] =
          sums[b][s * staged / 2 + e];
    }
    group_sync(1, 128);
    epilogue(SubTile<staged, stride>{staging}, first, col0, min_int(staged, m - first),
             min_int(Config::Columns, n - col0));
  }
}

template <class Config, class T, class... Groups>
inline void wgmma_consume(int m, int k, int warpgroup, const Groups &...groups) {
  constexpr int Blocks = Config::swapped ? Config::WRows / 64 : 1, N = Config::swapped ? Config::ARows : Config::WRows;
  const int rowBlocks = (m + Config::ARows - 1) / Config::ARows, steps = (k + 63) / 64;
  const int columnBlocks = (((groups.n + Config::WRows - 1) / Config::WRows) + ...);
  RingPlace<Config::Stages> place;
  for (int tile = block_x(); tile < rowBlocks * columnBlocks; tile += grid_dim_x()) {
    int row, column, first = 0;
    wgmma_tile_at(tile, rowBlocks, columnBlocks, row, column);
    float sums[Config::P * Blocks][N / 2];
    wgmma_steps<Config, T, Blocks, N>(sums, place, steps, warpgroup);
    // Which group the tile is of: the sums go through shared memory in the same way for each.
    int col0 = 0, n = 0, number = 0, mine = 0;
    auto choose = [&](const auto &group) {
      int blocks = (group.n + Config::WRows - 1) / Config::WRows;
      if (column >= first && column < first + blocks) {
        col0 = (column - first) * Config::WRows;
        n = group.n;
        mine = number;
      }
      first += blocks;
      ++number;
    };
    (choose(groups), ...);
    auto epilogue = [&](const auto &tile, i64 row0, i64 col0, i64 rows, i64 cols) {
      int number = 0;
      auto call = [&](const auto &group) {
        if (number++ == mine)
          group.epilogue(tile, row0, col0, rows, cols);
      };
      (call(groups), ...);
    };
    int row0 = row * Config::ARows + warpgroup * 64;
    if constexpr (Config::swapped)
      wgmma_epilogue_swapped<Config, Blocks>(sums, epilogue, m, n, row0, col0);
    else
      wgmma_epilogue<Config, N>(sums, epilogue, m, n, row0, col0, warpgroup);
  }
}

/// See the head of the file.
template <class Config, class T, class... Groups>
inline void matmul_wgmma(const tensor_map &a, i64 m, i64 k, const Groups &...groups) {
  const u32 full = shared_address(shared_memory<u8>()) + Config::sharedBytes - 16 * Config::Stages;
  if (thread_x() == 0) {
    for (int i = 0; i < Config::Stages; ++i) {
      mbarrier_init(full + 8 * i, 1);
      mbarrier_init(full + 8 * (Config::Stages + i), 4 * Config::groups);
    }
    mbarrier_fence();
  }
  bar_sync();
  if (thread_x() < 128) {
    if constexpr (!Config::swapped)
      registers_release<40>();
    if (thread_x() == 0)
      wgmma_produce<Config>(a, (int)m, (int)k, groups...);
  } else {
    if constexpr (!Config::swapped)
      registers_claim<232>();
    wgmma_consume<Config, T>((int)m, (int)k, thread_x() / 128 - 1, groups...);
  }
}

#else
#error "mlsys/matmul_wgmma.cuh needs sm_90a"
#endif
