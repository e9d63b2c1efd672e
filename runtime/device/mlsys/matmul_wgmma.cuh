//===- matmul_wgmma.cuh - Matrix product for Hopper -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16 or f16, accumulated in f32, for sm_90a.
//
//   typedef WgmmaConfig<1, 256, 4, 32> Config;   // weights, BN, stages, columns of a sub-tile; then parts, pair
//   matmul_wgmma<Config, bf16>(t0, M, K, wgmma_group(N, [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {
//     for_subtile<4>(rows, cols, [&](int m, int n) { ... tile.template load<4>(m, n) ... });
//   }, t1));
//
// * One block a multiprocessor walks over the tiles, block_x() first, grid_dim_x() apart; the
//   grid has any size. The threads of warpgroup 0 bring tiles of A and W into a ring of stages
//   with 64 of K each, the others multiply.
// * t0: A as [K, M] with a box of 64 x Config::ARows; the groups' maps: W as [K, N] with a box of
//   64 x Config::WBox, 128-byte rows. A group is Config::P weights of the same shape and the
//   epilogue of their products; groups share A.
// * WgmmaConfig: blocks of 128 x BN (P * BN at most 256), each of two warpgroups has 64 rows.
//   SwappedConfig<P, columns, rows, stages, parts>: for few rows of A, which become the N side of wgmma;
//   blocks of rows x columns, columns 64 or 128, P * columns * rows at most 16384; one warpgroup.
// * The epilogue is called by the 128 threads of a warpgroup with a sub-tile: rows row0 + [0, rows)
//   and columns col0 + [0, cols); tile.at(p, m, n) and tile.load<W>(p, m, n) as in matmul.cuh.
//   Sub-tiles begin at multiples of Config::Columns.
// * Any M, N; K and the row strides are multiples of 8, pointers aligned to 16 bytes. Sums go
//   along K in steps of 16, whatever M is.
// * Config::Parts above 1, for few tiles: K is cut into so many parts of whole stages, of which there are enough.
//   __cluster_dims__(Config::Cluster, 1, 1); the grid has Config::Cluster blocks for each tile, which compute a part
//   each, exchange their sums in the cluster's shared memory, and call the epilogue for some of the sub-tiles each.
//   Parts are added in order, whatever M is.
// * Config::Pair, for many tiles: __cluster_dims__(Config::Cluster, 1, 1), and the grid is a multiple of that. The
//   two blocks of a cluster compute tiles one below the other, and each brings half of W for both: the
//   boxes of W have Config::WBox rows.
// * Threads: Config::threads. Shared memory: Config::sharedBytes, from byte 0 on.
//
//===----------------------------------------------------------------------===//
#pragma once
#if defined(MLSYS_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "mlsys/hopper.cuh"

template <int P_, int BN_, int Stages_, int Columns_, int Parts_ = 1, bool Pair_ = false> struct WgmmaConfig {
  static constexpr int P = P_, BN = BN_, Stages = Stages_, Columns = Columns_, Parts = Parts_;
  static constexpr bool swapped = false, Pair = Pair_;
  static constexpr int Cluster = Pair ? 2 : Parts;
  static constexpr int ARows = 128, WRows = BN, WBox = Pair ? BN / 2 : BN, groups = 2, threads = 384;
  /// Of a warpgroup.
  static constexpr int subTiles = BN / Columns;
  static constexpr int stageBytes = (ARows + P * WRows) * 128;
  static constexpr int stagingBytes = P * 64 * (Columns + 8) * 4;
  static constexpr int sharedBytes = Stages * stageBytes + groups * stagingBytes + 16 * Stages;
  static_assert(P * BN <= 256 && wgmma_has_columns<BN> && BN % Columns == 0 && Columns % 8 == 0);
  static_assert(Parts == 1 || (!Pair && Parts <= 8 && groups * subTiles * stagingBytes <= Stages * stageBytes));
};

template <int P_, int Columns_, int Rows_, int Stages_, int Parts_ = 1> struct SwappedConfig {
  static constexpr int P = P_, Columns = Columns_, Rows = Rows_, Stages = Stages_, Parts = Parts_;
  static constexpr bool swapped = true, Pair = false;
  static constexpr int Cluster = Parts;
  static constexpr int ARows = Rows, WRows = Columns, WBox = Columns, groups = 1, threads = 256;
  /// Rows of a sub-tile: every part has some.
  static constexpr int staged = Rows % 32 == 0 && Rows >= 32 * Parts ? 32 : Rows % 16 == 0 && Rows >= 16 * Parts ? 16 : 8;
  static constexpr int subTiles = Rows / staged;
  static constexpr int stageBytes = (ARows + P * WRows) * 128;
  static constexpr int stagingBytes = P * staged * (Columns + 4) * 4;
  static constexpr int sharedBytes = Stages * stageBytes + stagingBytes + 16 * Stages;
  static_assert(Columns % 64 == 0 && P * Columns * Rows <= 16384 && wgmma_has_columns<Rows>);
  static_assert(Parts == 1 || (Parts <= 8 && subTiles * stagingBytes <= Stages * stageBytes));
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

/// The tiles of one block, and the steps of 64 of K that it computes of each.
template <class Config> struct WgmmaWalk {
  /// Rows of tiles; two of them count as one where the blocks of a cluster share W.
  int rowBlocks, columnBlocks, rank, tile, tiles, stride;
  /// Of K: from the first on, so many.
  int firstStep, steps;
  int row, column;

  template <class... Groups> WgmmaWalk(int m, int k, const Groups &...groups) {
    rowBlocks = (m + Config::ARows - 1) / Config::ARows;
    if (Config::Pair)
      rowBlocks = (rowBlocks + 1) / 2;
    columnBlocks = (((groups.n + Config::WRows - 1) / Config::WRows) + ...);
    rank = Config::Cluster > 1 ? cluster_rank() : 0;
    tile = block_x() / Config::Cluster;
    stride = grid_dim_x() / Config::Cluster;
    tiles = rowBlocks * columnBlocks;
    int all = (k + 63) / 64;
    firstStep = all * rank / Config::Parts;
    steps = Config::Parts > 1 ? all * (rank + 1) / Config::Parts - firstStep : all;
    if (Config::Parts == 1)
      firstStep = 0;
  }
  /// Whether there is another tile; it is that of `row` and `column`.
  bool next() {
    if (tile >= tiles)
      return false;
    // Blocks of 16 rows of tiles, so that tiles which run at the same time share A and W in the cache.
    int first = tile / (16 * columnBlocks) * 16, rows = min_int(16, rowBlocks - first);
    int rest = tile - first * columnBlocks;
    row = first + rest % rows;
    column = rest / rows;
    if (Config::Pair)
      row = 2 * row + rank;
    tile += stride;
    return true;
  }
};

template <class Config, class... Groups>
inline void wgmma_produce(const tensor_map &a, int m, int k, const Groups &...groups) {
  const u32 base = shared_address(shared_memory<u8>());
  const u32 full = base + Config::sharedBytes - 16 * Config::Stages, empty = full + 8 * Config::Stages;
  RingPlace<Config::Stages> place;
  WgmmaWalk<Config> walk(m, k, groups...);
  while (walk.next()) {
    const tensor_map *weights[Config::P];
    int col0 = 0, first = 0;
    auto choose = [&](const auto &group) {
      int blocks = (group.n + Config::WRows - 1) / Config::WRows;
      if (walk.column >= first && walk.column < first + blocks) {
        col0 = (walk.column - first) * Config::WRows;
        MLSYS_UNROLL
        for (int p = 0; p < Config::P; ++p)
          weights[p] = group.weights[p];
      }
      first += blocks;
    };
    (choose(groups), ...);
    for (int step = 0; step < walk.steps; ++step) {
      u32 at = base + place.stage * Config::stageBytes, barrier = full + 8 * place.stage;
      int x = (walk.firstStep + step) * 64;
      mbarrier_wait(empty + 8 * place.stage, place.parity ^ 1);
      mbarrier_arrive_expect(barrier, Config::stageBytes);
      MLSYS_UNROLL
      for (int p = 0; p < Config::P; ++p)
        if constexpr (Config::Pair) {
          int half = walk.rank * Config::WBox;
          tma_load_2d_cluster(at + (Config::ARows + p * Config::WRows + half) * 128, *weights[p], barrier, x,
                              col0 + half, 3);
        } else {
          tma_load_2d(at + (Config::ARows + p * Config::WRows) * 128, *weights[p], barrier, x, col0);
        }
      tma_load_2d(at, a, barrier, x, walk.row * Config::ARows);
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

/// Says that the warp has read a stage: to the producer, and to that of the other block which writes to it, too.
template <class Config> inline void wgmma_free(u32 barrier) {
  if (thread_x() % 32 != 0)
    return;
  mbarrier_arrive(barrier);
  if constexpr (Config::Pair)
    mbarrier_arrive_cluster(barrier, cluster_rank() ^ 1);
}

/// Multiplies the steps of one tile, one ahead of what is waited for.
template <class Config, class T, int Blocks, int N>
inline void wgmma_steps(float (&sums)[Config::P * Blocks][N / 2], RingPlace<Config::Stages> &place, int steps,
                        int group) {
  const u32 base = shared_address(shared_memory<u8>());
  const u32 full = base + Config::sharedBytes - 16 * Config::Stages, empty = full + 8 * Config::Stages;
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
    wgmma_free<Config>(empty + 8 * last);
    last = place.stage;
    place.next();
  }
  wgmma_wait<0>(sums);
  wgmma_free<Config>(empty + 8 * last);
}

/// A sub-tile in shared memory.
template <class Config> struct WgmmaStaging {
  static constexpr int rows = 64, stride = Config::Columns + 8;
};
template <int P, int Columns, int Rows, int Stages, int Parts>
struct WgmmaStaging<SwappedConfig<P, Columns, Rows, Stages, Parts>> {
  static constexpr int rows = SwappedConfig<P, Columns, Rows, Stages, Parts>::staged, stride = Columns + 4;
};

/// Stores sub-tile `part` of the warpgroup's sums: [P][rows][stride].
template <class Config, int Blocks, int N>
inline void wgmma_stage(float *staging, const float (&sums)[Config::P * Blocks][N / 2], int part) {
  typedef WgmmaStaging<Config> Staging;
  const int along = thread_x() % 128 / 32 * 16 + thread_x() % 32 / 4, pair = thread_x() % 4 * 2;
  constexpr int across = N / Config::subTiles; // of N, which are rows or columns
  MLSYS_UNROLL
  for (int s = 0; s < Config::subTiles; ++s)
    if (s == part)
      MLSYS_UNROLL
  for (int b = 0; b < Config::P * Blocks; ++b)
    MLSYS_UNROLL
  for (int j = 0; j < across / 8; ++j)
    MLSYS_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float *from = &sums[b][(s * across / 8 + j) * 4 + 2 * h];
    if constexpr (Config::swapped) {
      float *to = staging + (b / Blocks * Staging::rows + j * 8 + pair) * Staging::stride + b % Blocks * 64 + along + h * 8;
      to[0] = from[0];
      to[Staging::stride] = from[1];
    } else {
      store<2>(staging + (b * 64 + along + h * 8) * Staging::stride + j * 8 + pair, vec<float, 2>{{from[0], from[1]}});
    }
  }
}

/// Adds what the blocks of the cluster have of a sub-tile, at `offset` of their shared memory, in their order.
template <class Config> inline void wgmma_join(float *staging, u32 offset) {
  typedef WgmmaStaging<Config> Staging;
  constexpr int vectors = Config::Columns / 4;
  MLSYS_UNROLL_BY(2)
  for (int i = thread_x() % 128; i < Config::P * Staging::rows * vectors; i += 128) {
    int at = i / vectors * Staging::stride + i % vectors * 4;
    vec<float, 4> parts[Config::Parts];
    MLSYS_UNROLL
    for (int part = 0; part < Config::Parts; ++part)
      parts[part] = cluster_load(offset + at * 4, part);
    MLSYS_UNROLL
    for (int part = 1; part < Config::Parts; ++part)
      MLSYS_UNROLL
    for (int e = 0; e < 4; ++e)
      parts[0][e] += parts[part][e];
    store<4>(staging + at, parts[0]);
  }
}

/// Hands the sums of a tile to the epilogue of a group with n columns, a sub-tile at a time.
template <class Config, int Blocks, int N, class Epilogue>
inline void wgmma_epilogue(const float (&sums)[Config::P * Blocks][N / 2], const Epilogue &epilogue, int m, int n,
                           int row0, int col0, int warpgroup, int rank) {
  typedef WgmmaStaging<Config> Staging;
  const int mine = Config::Stages * Config::stageBytes + warpgroup * Config::stagingBytes;
  float *staging = shared_memory<float>(mine);
  // Of all parts of K the first stages have the sums of all sub-tiles.
  const int spilled = warpgroup * Config::subTiles * Config::stagingBytes;
  if constexpr (Config::Parts > 1) {
    group_sync(3, Config::groups * 128); // all have read the stages
    for (int part = 0; part < Config::subTiles; ++part)
      wgmma_stage<Config, Blocks, N>(shared_memory<float>(spilled + part * Config::stagingBytes), sums, part);
    cluster_sync();
  }
  for (int part = 0; part < Config::subTiles; ++part) {
    int firstRow = row0, firstColumn = col0;
    if constexpr (Config::swapped)
      firstRow += part * Staging::rows;
    else
      firstColumn += part * Config::Columns;
    if (firstRow >= m || firstColumn >= n)
      break;
    if (Config::Parts > 1 && (warpgroup * Config::subTiles + part) % Config::Parts != rank)
      continue;
    group_sync(1 + warpgroup, 128); // the part before has been read
    if constexpr (Config::Parts > 1)
      wgmma_join<Config>(staging, shared_address(shared_memory<u8>()) + spilled + part * Config::stagingBytes);
    else
      wgmma_stage<Config, Blocks, N>(staging, sums, part);
    group_sync(1 + warpgroup, 128);
    epilogue(SubTile<Staging::rows, Staging::stride>{staging}, firstRow, firstColumn,
             min_int(Staging::rows, m - firstRow), min_int(Config::Columns, n - firstColumn));
  }
}

template <class Config, class T, class... Groups>
inline void wgmma_consume(int m, int k, int warpgroup, const Groups &...groups) {
  constexpr int Blocks = Config::swapped ? Config::WRows / 64 : 1, N = Config::swapped ? Config::ARows : Config::WRows;
  RingPlace<Config::Stages> place;
  WgmmaWalk<Config> walk(m, k, groups...);
  while (walk.next()) {
    int first = 0;
    float sums[Config::P * Blocks][N / 2];
    wgmma_steps<Config, T, Blocks, N>(sums, place, walk.steps, warpgroup);
    // Which group the tile is of: the sums go through shared memory in the same way for each.
    int col0 = 0, n = 0, number = 0, mine = 0;
    auto choose = [&](const auto &group) {
      int blocks = (group.n + Config::WRows - 1) / Config::WRows;
      if (walk.column >= first && walk.column < first + blocks) {
        col0 = (walk.column - first) * Config::WRows;
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
    wgmma_epilogue<Config, Blocks, N>(sums, epilogue, m, n, walk.row * Config::ARows + warpgroup * 64, col0, warpgroup,
                                      walk.rank);
  }
}

/// See the head of the file.
template <class Config, class T, class... Groups>
inline void matmul_wgmma(const tensor_map &a, i64 m, i64 k, const Groups &...groups) {
  const u32 full = shared_address(shared_memory<u8>()) + Config::sharedBytes - 16 * Config::Stages;
  if (thread_x() == 0) {
    for (int i = 0; i < Config::Stages; ++i) {
      mbarrier_init(full + 8 * i, 1);
      mbarrier_init(full + 8 * (Config::Stages + i), 4 * Config::groups * (Config::Pair ? 2 : 1));
    }
    mbarrier_fence();
  }
  if constexpr (Config::Pair)
    cluster_sync();
  else
    bar_sync();
  if (thread_x() < 128) {
    if constexpr (!Config::swapped)
      registers_release<40>();
    if (thread_x() == 0)
      wgmma_produce<Config>(a, (int)m, (int)k, groups...);
    if constexpr (Config::Parts > 1)
      cluster_sync(); // that of wgmma_epilogue
  } else {
    if constexpr (!Config::swapped)
      registers_claim<232>();
    wgmma_consume<Config, T>((int)m, (int)k, thread_x() / 128 - 1, groups...);
  }
  // The others read this block's shared memory, or write to it.
  if constexpr (Config::Cluster > 1)
    cluster_sync();
}

#else
#error "mlsys/matmul_wgmma.cuh needs sm_90a"
#endif
