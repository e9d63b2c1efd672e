//===- attention_wgmma.cuh - Attention of many queries for Hopper -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The attention of attention.cuh for sm_90a: T is f16 or bf16 for queries, keys, values and
// results; D, the head size, is a multiple of 16 up to 256.
//
//   typedef AttentionWgmma<128> Config;
//   // grid ((tokens * G + 127 * requests) / 128, kv_heads), G = heads / kv_heads
//   attention_prefill_wgmma<128, 64>(a0, a1, t0, query_start, context_length, block_table, P, requests, heads, kv_heads,
//                                    scores);                       // 64: rows of a page
//   // grid (ceil(S_q * G / 128), kv_heads, batches)
//   attention_plain_wgmma<128>(q, q_strides, out, out_strides, t0, t1, S_q, S_k, heads, kv_heads, scores);
//
// * Threads: Config::threads. Shared memory: Config::sharedBytes, from byte 0 on.
// * scores.scale and scores.cap are above zero. The sizes of pages are powers of two, 8 or more.
// * Tensor maps have 128-byte rows, boxes of 64 x rows x 1 x 1. t0 of prefill is a layer in the
//   pages: [D, page_size, 2 * kv_heads, pages], rows = min(page_size, Keys); the heads of values
//   follow those of keys. t0 and t1 of plain are keys and values: [D, S_k, kv_heads, batches],
//   rows = Keys.
// * As in attention.cuh, what lies before the window of all of a block's queries is not read, nor
//   are entries of the block table.
//
// A block has 128 rows: a row is a query of one of the G heads that share keys and values, heads
// first, so that few queries of many heads fill it, too. Warp 0 brings tiles of keys and values
// by the copy engine; two warpgroups of 64 rows each multiply. While the tensor cores multiply
// tile n - 1 of the weights by values, a warpgroup computes the weights of tile n from products
// that were begun before; up to D = 128 the warpgroups also take turns at beginning
// products, so that one's exponentials run beside the other's products (FlashAttention-3).
//
//             Keys  stages  shared memory   registers of sums, scores, weights   flops a tile, bytes
//   D =  64    128       4        147592                 32 + 64 + 32                 4.2 M, 32 KiB
//   D = 128    128       2        163912                 64 + 64 + 32                 8.4 M, 64 KiB
//   D = 256     64       2        196680                128 + 32 + 16                 8.4 M, 64 KiB
//
// A multiprocessor makes 4096 flops of 16-bit products a cycle: 2048 cycles for a tile of D = 128, beside which 16384
// exponentials at 16 a cycle take 1024. For these cycles 64 KiB come from the L2 cache: 32 bytes a cycle
// of 64. Bytes in flight are those of a free stage: 64 KiB, all of them once a tile is done.
//
//===----------------------------------------------------------------------===//
#pragma once
#if defined(MLSYS_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "mlsys/attention.cuh"
#include "mlsys/hopper.cuh"

template <int D> struct AttentionWgmma {
  static_assert(D % 16 == 0 && D <= 256);
  static constexpr int threads = 384, Rows = 128, Keys = D <= 128 ? 128 : 64, Stages = D <= 64 ? 4 : 2;
  /// Panels of 64 columns, and columns of the products with values.
  static constexpr int Panels = (D + 63) / 64;
  static constexpr int Columns = D <= 32 ? D : D <= 48 ? 48 : D <= 64 ? 64 : D <= 96 ? 96 : D <= 128 ? 128 : D <= 192 ? 192 : 256;
  static constexpr bool turns = D <= 128;
  static constexpr int panelBytes = Keys * 128, tileBytes = Panels * panelBytes;
  /// The queries, the stages of keys, those of values, and barriers: of full and of empty stages of keys,
  /// the same of values, and one for values that are not complete.
  static constexpr int keysAt = Panels * Rows * 128, valuesAt = keysAt + Stages * tileBytes;
  static constexpr int barriersAt = valuesAt + Stages * tileBytes, sharedBytes = barriersAt + 8 * (4 * Stages + 1);
};

/// A stage of the keys (or values): where it is and its barriers, for the n-th tile of a block.
template <class Config> struct AttentionStage {
  u32 data, full, empty, parity;
  AttentionStage(bool values, int n) {
    const u32 base = shared_address(shared_memory<u8>());
    const int stage = n % Config::Stages;
    data = base + (values ? Config::valuesAt : Config::keysAt) + stage * Config::tileBytes;
    full = base + Config::barriersAt + 8 * (stage + (values ? 2 * Config::Stages : 0));
    empty = full + 8 * Config::Stages;
    parity = n / Config::Stages & 1;
  }
};

/// Keys and values in pages, of one request and head.
template <int PageSize, int Keys> struct PagedTiles {
  static constexpr bool paged = true;
  static constexpr int Box = PageSize < Keys ? PageSize : Keys;
  static_assert(PageSize >= 8 && (PageSize & (PageSize - 1)) == 0);
  const tensor_map &map;
  const i32 *block_table;
  int head, kv_heads;
  const tensor_map &of(bool) const { return map; }
  int headOf(bool values) const { return values ? kv_heads + head : head; }
  int row(int position) const { return position % PageSize; }
  int page(int position) const { return block_table[position / PageSize]; }
};

/// Keys and values in memory, of one batch and head.
template <int Keys> struct PlainTiles {
  static constexpr bool paged = false;
  static constexpr int Box = Keys;
  const tensor_map &k, &v;
  int head, batch;
  const tensor_map &of(bool values) const { return values ? v : k; }
  int headOf(bool) const { return head; }
  int row(int position) const { return position; }
  int page(int) const { return batch; }
};

/// The queries of one request and of the heads that share keys and values: row i of all is query i / group of head
/// i % group.
template <class T> struct GroupedQueries : Queries<T> {
  i64 q_head, out_head;
  int group;
};

/// The keys that a block needs, [oldest, keys), and tiles of them, [first, end).
struct KeyRange {
  int oldest, keys, first, end;
};

//===----------------------------------------------------------------------===//
// The warp that brings tiles
//===----------------------------------------------------------------------===//

/// Fills a stage with a tile: the n-th of the block. Rows of values that no query sees become zero: a weight of zero
/// times what lies in memory there may be NaN.
template <class Config, class Tiles>
inline void attention_fetch(const Tiles &tiles, bool values, const KeyRange &range, int n, u32 &landed) {
  constexpr int Keys = Config::Keys, Box = Tiles::Box, boxes = Keys / Box;
  const AttentionStage<Config> stage(values, n);
  const int start = (range.first + n) * Keys, lane = thread_x();
  const bool edge = Tiles::paged && values && (start + Keys > range.keys || start < range.oldest);
  const u32 landing = shared_address(shared_memory<u8>()) + Config::barriersAt + 32 * Config::Stages;
  const int from = max_int(0, range.oldest - start) / Box;
  const int to = Tiles::paged ? min_int(boxes, (range.keys - start + Box - 1) / Box) : boxes;
  mbarrier_wait(stage.empty, stage.parity ^ 1);
  if (lane == 0) {
    const u32 barrier = edge ? landing : stage.full;
    mbarrier_arrive_expect(barrier, (to - from) * Box * 128 * Config::Panels);
    for (int i = from; i < to; ++i) {
      const int position = start + i * Box, row = tiles.row(position), page = tiles.page(position);
      MLSYS_UNROLL
      for (int panel = 0; panel < Config::Panels; ++panel)
        tma_load_4d(stage.data + panel * Config::panelBytes + i * Box * 128, tiles.of(values), barrier, panel * 64, row,
                    tiles.headOf(values), page);
    }
  }
  if (!edge)
    return;
  mbarrier_wait(landing, landed);
  landed ^= 1;
  u8 *data = shared_memory<u8>() + (stage.data - shared_address(shared_memory<u8>()));
  auto clear = [&](int begin, int end) {
    for (int i = begin * 8 + lane; i < end * 8; i += 32)
      MLSYS_UNROLL
    for (int panel = 0; panel < Config::Panels; ++panel)
      *(bytes16 *)(data + panel * Config::panelBytes + i * 16) = bytes16{0, 0, 0, 0};
  };
  clear(0, range.oldest - start);
  clear(max_int(0, range.keys - start), Keys);
  proxy_fence();
  warp_sync();
  if (lane == 0)
    mbarrier_arrive(stage.full);
}

template <class Config, class Tiles> inline void attention_produce(const Tiles &tiles, const KeyRange &range) {
  const int count = range.end - range.first;
  u32 landed = 0;
  // Keys are one tile ahead, as they are needed; turn -1 brings the first.
  for (int turn = -1; turn < count; ++turn) {
    if (turn + 1 < count)
      attention_fetch<Config>(tiles, false, range, turn + 1, landed);
    if (turn >= 0)
      attention_fetch<Config>(tiles, true, range, turn, landed);
  }
}

//===----------------------------------------------------------------------===//
// The warpgroups that multiply
//===----------------------------------------------------------------------===//

/// Copies the warpgroup's rows of the queries to shared memory, chunks exchanged. `first` is the first row.
template <class Config, int D, class T>
inline void attention_load_queries(const GroupedQueries<T> &queries, int first, u8 *rows) {
  constexpr int chunks = Config::Panels * 8, steps = 64 * chunks / 128;
  const int thread = thread_x() % 128;
  MLSYS_UNROLL_BY(8)
  for (int step = 0; step < steps; ++step) {
    const int row = (step * 128 + thread) / chunks, chunk = (step * 128 + thread) % chunks;
    const int query = (first + row) / queries.group, head = (first + row) % queries.group;
    bytes16 value = {0, 0, 0, 0};
    if (query < queries.count && chunk * 8 < D)
      value = *(const bytes16 *)(queries.q + query * queries.q_stride + head * queries.q_head + chunk * 8);
    *(bytes16 *)(rows + chunk / 8 * Config::Rows * 128 + row * 128 + ((chunk % 8) ^ (row & 7)) * 16) = value;
  }
}

/// Stores the results: through the place of the queries, so that rows are written as a whole. A warp has 16 rows.
template <class Config, int D, class T>
inline void attention_store(const GroupedQueries<T> &queries, int first, u8 *rows,
                            const float (&sums)[Config::Columns / 2], const float (&inverse)[2]) {
  const int lane = thread_x() % 32, chunks = D / 8;
  MLSYS_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int row = lane / 4 + 8 * h;
    MLSYS_UNROLL
    for (int j = 0; j < D / 8; ++j) {
      const float *from = sums + j * 4 + 2 * h;
      *(u32 *)(rows + j / 8 * Config::Rows * 128 + row * 128 + ((j % 8) ^ (row & 7)) * 16 + lane % 4 * 4) =
          pack2<T>(from[0] * inverse[h], from[1] * inverse[h]);
    }
  }
  warp_sync();
  for (int i = lane; i < 16 * chunks; i += 32) {
    const int row = i / chunks, chunk = i % chunks;
    const int query = (first + row) / queries.group, head = (first + row) % queries.group;
    if (query < queries.count)
      *(bytes16 *)(queries.out + query * queries.out_stride + head * queries.out_head + chunk * 8) =
          *(const bytes16 *)(rows + chunk / 8 * Config::Rows * 128 + row * 128 + ((chunk % 8) ^ (row & 7)) * 16);
  }
}

/// Begins the products of the warpgroup's queries and the n-th tile of keys.
template <class Config, int D, class T>
MLSYS_INLINE void attention_begin_scores(float (&scores)[Config::Keys / 2], u32 queries, u32 keys) {
  MLSYS_UNROLL
  for (int ks = 0; ks < D / 16; ++ks)
    wgmma<T, Config::Keys>(scores, wgmma_rows(queries + ks / 4 * Config::Rows * 128) + 2 * (ks % 4),
                           wgmma_rows(keys + ks / 4 * Config::panelBytes) + 2 * (ks % 4), ks > 0);
  wgmma_commit();
}

/// Begins the products of weights and values.
template <class Config, class T>
MLSYS_INLINE void attention_begin_sums(float (&sums)[Config::Columns / 2], const u32 (&weights)[Config::Keys / 16][4],
                                       u32 values) {
  MLSYS_UNROLL
  for (int ks = 0; ks < Config::Keys / 16; ++ks)
    wgmma<T, Config::Columns, true>(sums, weights[ks], wgmma_columns(values, Config::panelBytes) + 128 * ks);
  wgmma_commit();
}

/// The softmax of two rows, kept up over tiles.
template <class Config, class S> struct RunningSoftmax {
  static constexpr int Keys = Config::Keys;
  const S &scoring;
  /// The keys that each row sees; in tiles between `latest` and `least` all rows see all.
  int hidden[2], limit[2], latest, least;
  /// What a position adds to each row's products; `limit` - 1 is the query's.
  float slope[2];
  float largest[2] = {minus_infinity, minus_infinity}, total[2] = {0.0f, 0.0f}, shrink[2];

  /// Makes weights of the products with the tile of keys that begins at `start`. What has been summed up before is to
  /// be multiplied by `shrink`.
  MLSYS_INLINE void add(float (&scores)[Keys / 2], int start) {
    // exp(x) = exp2(x * log2(e)); tanh(x) = 1 - 2 / (1 + exp(2 * x)), as exact as a weight of 16 bits needs.
    float factor = scoring.scale * 1.44269504f;
    if constexpr (S::has_cap) {
      const float inner = divide(factor * 2.0f, scoring.cap);
      factor = scoring.cap * 1.44269504f;
      MLSYS_UNROLL
      for (int i = 0; i < Keys / 2; ++i)
        scores[i] = fma(-2.0f, reciprocal_approx(1.0f + exp2_approx(scores[i] * inner)), 1.0f);
    }
    const int column = start + thread_x() % 4 * 2;
    if constexpr (S::has_slopes)
      MLSYS_UNROLL
    for (int i = 0; i < Keys / 2; ++i)
      scores[i] = fma(slope[i / 2 % 2], (float)(i / 4 * 8 + i % 2), scores[i]);
    if (start + Keys > least || start < latest) {
      MLSYS_UNROLL
      for (int i = 0; i < Keys / 2; ++i) {
        const int position = column + i / 4 * 8 + i % 2, h = i / 2 % 2;
        scores[i] = position < limit[h] && S::since(hidden[h], position) ? scores[i] : minus_infinity;
      }
    }
    MLSYS_UNROLL
    for (int h = 0; h < 2; ++h) {
      float peak = S::has_slopes ? minus_infinity : largest[h];
      MLSYS_UNROLL
      for (int j = 0; j < Keys / 8; ++j)
        peak = fmax(peak, fmax(scores[j * 4 + 2 * h], scores[j * 4 + 2 * h + 1]));
      // The bias of this lane's first column.
      const float bias = S::has_slopes ? slope[h] * (float)(column - limit[h] + 1) : 0.0f;
      if constexpr (S::has_slopes)
        peak = fmax(largest[h], peak + bias);
      peak = fmax(peak, shfl_xor(peak, 1));
      peak = fmax(peak, shfl_xor(peak, 2));
      float base = peak == minus_infinity ? 0.0f : peak * factor;
      shrink[h] = exp2_approx(fma(largest[h], factor, -base));
      largest[h] = peak;
      if constexpr (S::has_slopes)
        base = fma(bias, -factor, base);
      float even = 0.0f, odd = 0.0f;
      MLSYS_UNROLL
      for (int j = 0; j < Keys / 8; ++j) {
        float *pair = scores + j * 4 + 2 * h;
        pair[0] = exp2_approx(fma(pair[0], factor, -base));
        pair[1] = exp2_approx(fma(pair[1], factor, -base));
        even += pair[0];
        odd += pair[1];
      }
      total[h] = fma(total[h], shrink[h], even + odd);
    }
  }

  /// 1 / the sum of each row's weights.
  MLSYS_INLINE void finish(float (&inverse)[2]) const {
    MLSYS_UNROLL
    for (int h = 0; h < 2; ++h) {
      float sum = total[h];
      sum += shfl_xor(sum, 1);
      sum += shfl_xor(sum, 2);
      inverse[h] = sum == 0.0f ? 0.0f : divide(1.0f, sum);
    }
  }
};

/// The weights of a tile as A of the products with values.
template <class T, int Keys> MLSYS_INLINE void attention_pack(u32 (&weights)[Keys / 16][4], const float (&scores)[Keys / 2]) {
  MLSYS_UNROLL
  for (int i = 0; i < Keys / 4; ++i)
    weights[i / 4][i % 4] = pack2<T>(scores[2 * i], scores[2 * i + 1]);
}

/// The rows [first, first + 64) of the queries, by warpgroup 0 or 1 of those that multiply.
template <class Config, int D, class T, class S>
inline void attention_consume(const GroupedQueries<T> &queries, int first, const KeyRange &range, int warpgroup,
                              const S &scoring) {
  constexpr int Keys = Config::Keys, Columns = Config::Columns;
  u8 *rows = shared_memory<u8>(warpgroup * 8192);
  const u32 queryTile = shared_address(rows);
  const int count = range.end - range.first, warp = thread_x() % 128 / 32, lane = thread_x() % 32;
  const bool speaks = lane == 0;
  attention_load_queries<Config, D>(queries, first, rows);
  proxy_fence();
  group_sync(1 + warpgroup, 128);

  RunningSoftmax<Config, S> softmax{scoring};
  MLSYS_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int row = first + warp * 16 + lane / 4 + 8 * h;
    softmax.limit[h] = queries.visible(row / queries.group);
    if constexpr (S::has_slopes)
      softmax.slope[h] = divide(S::slope(queries.head + row % queries.group), S::has_cap ? scoring.cap : scoring.scale);
    softmax.hidden[h] = scoring.begin(softmax.limit[h]);
  }
  const int last = queries.count - 1;
  softmax.least = queries.visible(min_int(last, first / queries.group));
  softmax.latest = scoring.begin(queries.visible(min_int(last, (first + 63) / queries.group)));

  auto await = [&] {
    if constexpr (Config::turns)
      group_sync(3 + warpgroup, 256);
  };
  auto pass = [&] {
    if constexpr (Config::turns)
      group_arrive(4 - warpgroup, 256);
  };
  float sums[Columns / 2], scores[Keys / 2];
  u32 weights[Keys / 16][4];
  MLSYS_UNROLL
  for (int i = 0; i < Columns / 2; ++i)
    sums[i] = 0.0f;
  // Waits for the products with the n-th tile of values, if there is one, and makes A of the next ones.
  auto finish_sums = [&](int n) {
    wgmma_wait<0>(sums);
    if (speaks && n >= 0)
      mbarrier_arrive(AttentionStage<Config>(true, n).empty);
    attention_pack<T, Keys>(weights, scores);
    wgmma_pin(weights);
  };
  auto begin_sums = [&](int n) {
    const AttentionStage<Config> values(true, n);
    mbarrier_wait(values.full, values.parity);
    MLSYS_UNROLL
    for (int i = 0; i < Columns / 2; ++i)
      sums[i] *= softmax.shrink[i / 2 % 2];
    wgmma_pin(sums);
    wgmma_fence();
    attention_begin_sums<Config, T>(sums, weights, values.data);
  };
  if (count > 0) {
    if (warpgroup == 1)
      pass(); // the first turn is the other one's
    {
      const AttentionStage<Config> keys(false, 0);
      mbarrier_wait(keys.full, keys.parity);
      await();
      wgmma_fence();
      attention_begin_scores<Config, D, T>(scores, queryTile, keys.data);
      pass();
      wgmma_wait<0>(scores);
      if (speaks)
        mbarrier_arrive(keys.empty);
    }
    softmax.add(scores, range.first * Keys);

    MLSYS_ROLL
    for (int n = 1; n < count; ++n) {
      finish_sums(n - 2);
      const AttentionStage<Config> keys(false, n);
      mbarrier_wait(keys.full, keys.parity);
      await();
      wgmma_fence();
      attention_begin_scores<Config, D, T>(scores, queryTile, keys.data);
      begin_sums(n - 1);
      pass();
      wgmma_wait<1>(scores);
      if (speaks)
        mbarrier_arrive(keys.empty);
      // The loop ends here: ptxas would move a wait for the sums in front of the softmax.
      softmax.add(scores, (range.first + n) * Keys);
    }
    if (warpgroup == 0)
      await(); // nobody waits for the turn that the other one has passed
    finish_sums(count - 2);
    begin_sums(count - 1);
    wgmma_wait<0>(sums);
  }
  float inverse[2];
  softmax.finish(inverse);
  group_sync(1 + warpgroup, 128); // no warp reads the queries any more
  attention_store<Config, D>(queries, first + warp * 16, rows + warp * 2048, sums, inverse);
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

template <class Config, int D, class T, class Tiles, class S>
inline void attention_block(const GroupedQueries<T> &queries, int tile, const Tiles &tiles, const S &scoring) {
  constexpr int Keys = Config::Keys;
  const u32 barriers = shared_address(shared_memory<u8>()) + Config::barriersAt;
  if (thread_x() == 0) {
    for (int i = 0; i < Config::Stages; ++i)
      for (int values = 0; values < 2; ++values) {
        mbarrier_init(barriers + 8 * (2 * values * Config::Stages + i), 1);
        mbarrier_init(barriers + 8 * ((2 * values + 1) * Config::Stages + i), 8);
      }
    mbarrier_init(barriers + 32 * Config::Stages, 1);
    mbarrier_fence();
  }
  const int first = tile * Config::Rows;
  KeyRange range;
  range.oldest = scoring.begin(queries.visible(first / queries.group));
  range.keys = queries.visible(min_int(queries.count - 1, (first + Config::Rows - 1) / queries.group));
  range.first = range.oldest / Keys;
  range.end = (range.keys + Keys - 1) / Keys;
  bar_sync();
  if (thread_x() < 128) {
    registers_release<40>();
    if (thread_x() < 32)
      attention_produce<Config>(tiles, range);
  } else {
    registers_claim<232>();
    const int warpgroup = thread_x() / 128 - 1;
    attention_consume<Config, D>(queries, first + warpgroup * 64, range, warpgroup, scoring);
  }
}

/// See the head of the file.
template <int D, int PageSize, class T, class S>
inline void attention_prefill_wgmma(const T *q, T *out, const tensor_map &pages, const i32 *query_start,
                                    const i32 *context_length, const i32 *block_table, i64 pages_per_request,
                                    i64 requests, int heads, int kv_heads, const S &scoring) {
  typedef AttentionWgmma<D> Config;
  const int kv_head = block_y(), group = heads / kv_heads;
  // The requests' tiles are numbered one request after the other; of a request those with the most keys come first.
  int rest = block_x(), request = 0, begin = query_start[0], count = 0, tiles = 0;
  for (;; ++request) {
    if (request >= requests)
      return;
    const int end = query_start[request + 1];
    count = end - begin;
    tiles = (count * group + Config::Rows - 1) / Config::Rows;
    if (rest < tiles)
      break;
    rest -= tiles;
    begin = end;
  }
  const i64 stride = (i64)heads * D, start = begin * stride + (i64)kv_head * group * D;
  const GroupedQueries<T> queries{
      {q + start, out + start, stride, stride, count, context_length[request], scoring.causal, kv_head * group}, D, D, group};
  const PagedTiles<PageSize, Config::Keys> source{pages, block_table + request * pages_per_request, kv_head, kv_heads};
  attention_block<Config, D>(queries, tiles - 1 - rest, source, scoring);
}

template <int D, class T, class S>
inline void attention_plain_wgmma(const T *q, Strides q_strides, T *out, Strides out_strides, const tensor_map &k,
                                  const tensor_map &v, i64 s_q, i64 s_k, int heads, int kv_heads, const S &scoring) {
  typedef AttentionWgmma<D> Config;
  const int kv_head = block_y(), batch = block_z(), group = heads / kv_heads;
  const int tiles = ((int)s_q * group + Config::Rows - 1) / Config::Rows;
  const GroupedQueries<T> queries{{q + batch * q_strides.batch + kv_head * group * q_strides.head,
                                   out + batch * out_strides.batch + kv_head * group * out_strides.head,
                                   q_strides.position, out_strides.position, (int)s_q, (int)s_k, scoring.causal,
                                   kv_head * group},
                                  q_strides.head,
                                  out_strides.head,
                                  group};
  attention_block<Config, D>(queries, tiles - 1 - block_x(), PlainTiles<Config::Keys>{k, v, kv_head, batch}, scoring);
}

#else
#error "mlsys/attention_wgmma.cuh needs sm_90a"
#endif
