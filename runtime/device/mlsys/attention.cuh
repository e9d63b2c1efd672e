//===- attention.cuh - Attention of many queries ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// softmax(scale * Q K^T) V for grouped queries, over a paged cache or over K and V
// in memory. T is f32, f16 or bf16, and so is U, the type of keys and values; D, the head
// size, is a multiple of 8 up to 256.
//
//   Scores<> scores{scale, causal};                                 // every key up to the query's own
//   Scores<true, true> scores{scale, true, window, softcap};        // the last `window` of them, scores capped
//   Scores<false, false, HeadSlopes<0x3f000000u, ...>> scores{scale, true}; // ALiBi: the slope of each query head, as bits
//   // Prefill and plain attention: grid (ceil(T / rows), heads, requests), where
//   // rows = PrefillConfig<T, D, U>::Rows; block PrefillConfig<T, D, U>::threads; shared
//   // memory PrefillConfig<T, D, U>::sharedBytes().
//   PagedKV<bf16> kv{a3, page_stride, k_offset, v_offset, page_size, D};
//   attention_prefill<64>(a0, a1, kv, query_start, context_length, block_table, P, heads, kv_heads, scores);
//   attention_plain<64>(q, q_strides, out, out_strides, ContiguousKV..., S_q, S_k, heads, kv_heads, scores);
//
// One query a request: attention_decode.cuh.
//
// * Q and the result are [T, heads, D]; the rows of request r are query_start[r] to
//   query_start[r + 1] - 1, all of them new tokens. context_length[r] counts the keys,
//   the new ones included; block_table is [R, P]. All three are i32.
// * Causal: query i of n sees the keys up to position context_length - n + i.
//   A query that sees no key gives zeros. With a window, what lies before it is not read:
//   neither keys nor entries of the block table.
// * Slopes need causal attention: slope * (position of the key - position of the query) is added to a
//   score. It is added as slope * (first key of a tile - query), the same for a row, and slope * column: one fma a
//   score. Where nothing of a tile is seen, the row's maximum stays as it is, so that tiles that other rows need
//   change no bit.
// * Pages of the cache are [layers][K then V][kv_head][page_size][D]; k_offset and
//   v_offset are the bytes from a page's start to the layer's K and V.
// * Q, K, V and results are aligned to 16 bytes, and so are all strides.
// * PrefillConfig<T, D, U>: 16-bit, T = U: 128 threads, Rows 64, Keys 64 (32 when D > 128), with DP = D rounded up to 16
//     bytes = (Rows + 4 * Keys) * (DP + 8) * 2
//   otherwise: 128 threads, Rows 16, Keys 32
//     bytes = ((16 + 2 * 32) * (D + 4) + 16 * 33) * 4
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/matmul.cuh"
#include "mlsys/reduce.cuh"

//===----------------------------------------------------------------------===//
// Where keys and values are
//===----------------------------------------------------------------------===//

/// The row of slot `slot` (page * page_size + row in page) for one KV head, or null
/// when the slot is negative: not to be written. `offset` is k_offset or v_offset.
template <class T>
inline T *cache_row(T *pages, i64 page_stride, i64 offset, i64 slot, int page_size, int kv_head, int head_dim) {
  if (slot < 0)
    return nullptr;
  i64 page = slot / page_size, row = slot % page_size;
  return (T *)((u8 *)pages + page * page_stride + offset) + ((i64)kv_head * page_size + row) * head_dim;
}

/// Keys and values in the pages of a cache. Offsets and strides in bytes.
template <class T> struct PagedKV {
  typedef T element;
  const T *pages;
  i64 page_stride, k_offset, v_offset;
  int page_size, head_dim;
  /// The pages of the request at hand.
  const i32 *block_table = nullptr;

  const T *row(i64 offset, int head, int position) const {
    i64 page = block_table[position / page_size];
    return (const T *)((const u8 *)pages + page * page_stride + offset) +
           ((i64)head * page_size + position % page_size) * head_dim;
  }
  const T *key(int head, int position) const { return row(k_offset, head, position); }
  const T *value(int head, int position) const { return row(v_offset, head, position); }
};

/// Element strides of a tensor with batches, positions, heads and contiguous
/// elements: [B, S, H, D] or [B, H, S, D].
struct Strides {
  i64 batch, position, head;
};

/// Keys and values in memory.
template <class T> struct ContiguousKV {
  typedef T element;
  const T *k, *v;
  Strides k_strides, v_strides;
  /// The batch at hand.
  int batch = 0;

  const T *key(int head, int position) const {
    return k + batch * k_strides.batch + (i64)position * k_strides.position + head * k_strides.head;
  }
  const T *value(int head, int position) const {
    return v + batch * v_strides.batch + (i64)position * v_strides.position + head * v_strides.head;
  }
};

/// No bias of positions.
struct NoSlopes {
  static constexpr bool any = false;
  static float of(int) { return 0.0f; }
};

/// The slope of each query head (ALiBi), as bits.
template <u32... Bits> struct HeadSlopes {
  static constexpr bool any = true;
  static float of(int head) {
    static constexpr u32 table[] = {Bits...};
    return float_from_bits(table[head]);
  }
};

/// What the product of a query and a key becomes, and which keys a query sees.
template <bool Window = false, bool Softcap = false, class Slopes = NoSlopes> struct Scores {
  static constexpr bool has_cap = Softcap, has_slopes = Slopes::any;
  float scale;
  /// Queries see all keys when false.
  bool causal = true;
  /// How many keys a query sees at most, the last ones.
  int window = 0;
  float cap = 0.0f;

  /// The score, `factor` times: of a product, and of one that has `scale` in it.
  float operator()(float product, float factor = 1.0f) const {
    if constexpr (Softcap)
      return capped(product * scale) * factor;
    else
      return product * (scale * factor);
  }
  float capped(float score) const {
    if constexpr (Softcap)
      return tanh(divide(score, cap)) * cap;
    else
      return score;
  }
  /// What is added to a score of query head `head` for each position.
  static float slope(int head) { return Slopes::of(head); }
  static float biased(float score, float slope, int distance) {
    if constexpr (has_slopes)
      return fma(slope, (float)distance, score);
    else
      return score;
  }
  /// The first key that a query sees which sees keys before `end` only.
  int begin(int end) const { return Window && end > window ? end - window : 0; }
  /// Whether `position` is not before `begin`.
  static bool since(int begin, int position) { return !Window || position >= begin; }
};

/// The queries of one request and head: where row 0 is, elements from row to row in
/// the input and the result, how many rows and keys there are.
template <class T> struct Queries {
  const T *q;
  T *out;
  i64 q_stride, out_stride;
  int count, context;
  /// Queries see all keys when false.
  bool causal;
  /// The head, or the first of them.
  int head;

  /// How many keys query i sees.
  int visible(int i) const {
    if (i >= count)
      return 0;
    int keys = causal ? context - count + i + 1 : context;
    return keys < 0 ? 0 : keys;
  }
};

inline constexpr float minus_infinity = __builtin_bit_cast(float, 0xff800000u);

//===----------------------------------------------------------------------===//
// Prefill
//===----------------------------------------------------------------------===//

template <class T, int D, class U = T> struct PrefillConfig {
  static_assert(D % 8 == 0 && D <= 256);
  static constexpr bool TensorCores = is_half<T> && same_type<T, U>;
  static constexpr int threads = 128;
  static constexpr int Rows = TensorCores ? 64 : 16;
  static constexpr int Keys = TensorCores && D <= 128 ? 64 : 32;
  /// D rounded up to what mma takes.
  static constexpr int Padded = TensorCores ? (D + 15) / 16 * 16 : D;
  /// Elements from row to row in shared memory: rows start in different banks.
  static constexpr int Stride = TensorCores ? Padded + 8 : D + 4;
  static constexpr int sharedBytes() {
    return TensorCores ? (Rows + 4 * Keys) * Stride * 2 : ((Rows + 2 * Keys) * Stride + Rows * 33) * 4;
  }
};

/// 16-bit rows of queries [tile * Rows, ...) on tensor cores: each warp has 16 rows, the
/// softmax is kept up over blocks of keys, the next block is fetched meanwhile.
template <int D, class T, class KV, class S>
inline void attention_tile_mma(const Queries<T> &queries, const KV &kv, int kv_head, int tile, const S &scoring) {
  typedef PrefillConfig<T, D> Config;
  constexpr int Rows = Config::Rows, Keys = Config::Keys, DP = Config::Padded, Stride = Config::Stride;
  constexpr int chunks = DP / 8, NK = Keys / 8, ND = DP / 8;
  T *sharedQ = shared_memory<T>(), *sharedKV = sharedQ + Rows * Stride;
  const int lane = thread_x() % 32, warp = thread_x() / 32, first = tile * Rows;
  const int last = min_int(first + Rows, queries.count) - 1;
  const int keys = queries.visible(last), blocks = (keys + Keys - 1) / Keys;
  // The first row's window starts first.
  const int oldest = scoring.begin(queries.visible(first)), firstBlock = oldest / Keys;

  for (int i = thread_x(); i < Rows * chunks; i += Config::threads) {
    int row = i / chunks, at = i % chunks * 8;
    stage_chunk(sharedQ + row * Stride + at, queries.q + (i64)(first + row) * queries.q_stride + at, queries.q,
                first + row < queries.count && at < D ? 8 : 0, true);
  }
  auto fetch = [&](int block) {
    T *into = sharedKV + (block & 1) * 2 * Keys * Stride;
    for (int i = thread_x(); i < Keys * chunks; i += Config::threads) {
      int row = i / chunks, at = i % chunks * 8, position = block * Keys + row;
      bool valid = position < keys && S::since(oldest, position) && at < D;
      int from = valid ? position : oldest, column = valid ? at : 0;
      stage_chunk(into + row * Stride + at, kv.key(kv_head, from) + column, queries.q, valid ? 8 : 0, true);
      stage_chunk(into + (Keys + row) * Stride + at, kv.value(kv_head, from) + column, queries.q, valid ? 8 : 0, true);
    }
  };
  if (blocks > firstBlock)
    fetch(firstBlock);
  cp_commit();

  float sums[ND][4], largest[2] = {minus_infinity, minus_infinity}, total[2] = {0.0f, 0.0f};
  MLSYS_UNROLL
  for (int j = 0; j < ND; ++j)
    MLSYS_UNROLL
    for (int e = 0; e < 4; ++e)
      sums[j][e] = 0.0f;
  // Rows lane / 4 and lane / 4 + 8 of the warp's 16 are this lane's.
  const int row0 = first + warp * 16 + (lane >> 2);
  const int limit[2] = {queries.visible(row0), queries.visible(row0 + 8)};
  const int hidden[2] = {scoring.begin(limit[0]), scoring.begin(limit[1])};
  // exp(x) = exp2(x * log2(e))
  const float slope = S::slope(queries.head) * 1.44269504f;

  for (int block = firstBlock; block < blocks; ++block) {
    if (block + 1 < blocks)
      fetch(block + 1);
    cp_commit();
    cp_wait<1>();
    bar_sync();
    const T *keyTile = sharedKV + (block & 1) * 2 * Keys * Stride, *valueTile = keyTile + Keys * Stride;

    float scores[NK][4];
    MLSYS_UNROLL
    for (int j = 0; j < NK; ++j)
      MLSYS_UNROLL
      for (int e = 0; e < 4; ++e)
        scores[j][e] = 0.0f;
    MLSYS_UNROLL
    for (int ks = 0; ks < DP / 16; ++ks) {
      u32 left[4];
      ldsm4(left, shared_address(sharedQ + (warp * 16 + (lane & 15)) * Stride + ks * 16 + (lane >> 4) * 8));
      MLSYS_UNROLL
      for (int j = 0; j < NK / 2; ++j) {
        u32 right[4];
        ldsm4(right, shared_address(keyTile + (j * 16 + (lane & 7) + ((lane >> 4) << 3)) * Stride + ks * 16 +
                                    ((lane >> 3) & 1) * 8));
        mma<T>(scores[2 * j], left, right);
        mma<T>(scores[2 * j + 1], left, right + 2);
      }
    }

    MLSYS_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int column = block * Keys + (lane & 3) * 2;
      float peak = S::has_slopes ? minus_infinity : largest[h];
      MLSYS_UNROLL
      for (int j = 0; j < NK; ++j)
        MLSYS_UNROLL
        for (int e = 0; e < 2; ++e) {
          int position = column + j * 8 + e;
          float &score = scores[j][2 * h + e];
          score = position < limit[h] && S::since(hidden[h], position)
                      ? S::biased(scoring(score, 1.44269504f), slope, j * 8 + e)
                      : minus_infinity;
          peak = fmax(peak, score);
        }
      // The bias of this lane's first column.
      const float bias = S::has_slopes ? slope * (float)(column - limit[h] + 1) : 0.0f;
      if constexpr (S::has_slopes)
        peak = fmax(largest[h], peak + bias);
      peak = fmax(peak, shfl_xor(peak, 1));
      peak = fmax(peak, shfl_xor(peak, 2));
      float base = peak == minus_infinity ? 0.0f : peak;
      float shrink = exp2(largest[h] - base);
      largest[h] = peak;
      total[h] *= shrink;
      if constexpr (S::has_slopes)
        base -= bias;
      MLSYS_UNROLL
      for (int j = 0; j < NK; ++j)
        MLSYS_UNROLL
        for (int e = 0; e < 2; ++e) {
          float &score = scores[j][2 * h + e];
          score = exp2(score - base);
          total[h] += score;
        }
      MLSYS_UNROLL
      for (int j = 0; j < ND; ++j) {
        sums[j][2 * h] *= shrink;
        sums[j][2 * h + 1] *= shrink;
      }
    }

    MLSYS_UNROLL
    for (int ks = 0; ks < Keys / 16; ++ks) {
      const float *even = scores[2 * ks], *odd = scores[2 * ks + 1];
      const u32 left[4] = {pack2<T>(even[0], even[1]), pack2<T>(even[2], even[3]), pack2<T>(odd[0], odd[1]),
                           pack2<T>(odd[2], odd[3])};
      MLSYS_UNROLL
      for (int j = 0; j < ND / 2; ++j) {
        u32 right[4];
        ldsm4_trans(right, shared_address(valueTile + (ks * 16 + (lane & 15)) * Stride + j * 16 + (lane >> 4) * 8));
        mma<T>(sums[2 * j], left, right);
        mma<T>(sums[2 * j + 1], left, right + 2);
      }
    }
    bar_sync(); // the block's stage is filled again
  }
  cp_wait<0>();

  MLSYS_UNROLL
  for (int h = 0; h < 2; ++h) {
    float sum = total[h];
    sum += shfl_xor(sum, 1);
    sum += shfl_xor(sum, 2);
    float inverse = sum == 0.0f ? 0.0f : divide(1.0f, sum);
    int row = row0 + 8 * h;
    if (row >= queries.count)
      continue;
    T *out = queries.out + (i64)row * queries.out_stride;
    MLSYS_UNROLL
    for (int j = 0; j < ND; ++j) {
      int column = j * 8 + (lane & 3) * 2;
      if (column < D)
        *(u32 *)(out + column) = pack2<T>(sums[j][2 * h] * inverse, sums[j][2 * h + 1] * inverse);
    }
  }
}

/// Rows in exact f32: eight lanes have a row; each computes the scores of every
/// eighth key and the sums of every eighth group of four columns.
template <int D, class T, class KV, class S>
inline void attention_tile_simt(const Queries<T> &queries, const KV &kv, int kv_head, int tile, const S &scoring) {
  typedef PrefillConfig<float, D> Config;
  constexpr int Rows = Config::Rows, Keys = Config::Keys, Stride = Config::Stride, chunks = D / 4;
  constexpr int ND = (chunks + 7) / 8, NK = Keys / 8;
  float *sharedQ = shared_memory<float>(), *sharedK = sharedQ + Rows * Stride, *sharedV = sharedK + Keys * Stride;
  const int r = thread_x() / 8, part = thread_x() % 8, first = tile * Rows;
  float *weightsOfRow = sharedV + Keys * Stride + r * 33;
  const int keys = queries.visible(min_int(first + Rows, queries.count) - 1), limit = queries.visible(first + r);
  const int oldest = scoring.begin(queries.visible(first)), hidden = scoring.begin(limit);
  const float slope = S::slope(queries.head);

  for (int i = thread_x(); i < Rows * chunks; i += Config::threads) {
    int row = i / chunks, at = i % chunks * 4;
    vec<float, 4> values = broadcast<4>(0.0f);
    if (first + row < queries.count)
      values = convert<float>(load<4>(queries.q + (i64)(first + row) * queries.q_stride + at));
    store<4>(sharedQ + row * Stride + at, values);
  }

  vec<float, 4> sums[ND];
  MLSYS_UNROLL
  for (int j = 0; j < ND; ++j)
    sums[j] = broadcast<4>(0.0f);
  float largest = minus_infinity, total = 0.0f;
  for (int start = oldest / Keys * Keys; start < keys; start += Keys) {
    for (int i = thread_x(); i < Keys * chunks; i += Config::threads) {
      int row = i / chunks, at = i % chunks * 4;
      vec<float, 4> key = broadcast<4>(0.0f), value = key;
      if (start + row < keys && S::since(oldest, start + row)) {
        key = convert<float>(load<4>(kv.key(kv_head, start + row) + at));
        value = convert<float>(load<4>(kv.value(kv_head, start + row) + at));
      }
      store<4>(sharedK + row * Stride + at, key);
      store<4>(sharedV + row * Stride + at, value);
    }
    bar_sync();

    float scores[NK], peak = largest;
    MLSYS_UNROLL
    for (int j = 0; j < NK; ++j)
      scores[j] = 0.0f;
    for (int at = 0; at < D; at += 4) {
      vec<float, 4> q = load<4>(sharedQ + r * Stride + at);
      MLSYS_UNROLL
      for (int j = 0; j < NK; ++j) {
        vec<float, 4> key = load<4>(sharedK + (part + 8 * j) * Stride + at);
        MLSYS_UNROLL
        for (int e = 0; e < 4; ++e)
          scores[j] = fma(q[e], key[e], scores[j]);
      }
    }
    MLSYS_UNROLL
    for (int j = 0; j < NK; ++j) {
      int position = start + part + 8 * j;
      scores[j] = position < limit && S::since(hidden, position)
                      ? S::biased(scoring(scores[j]), slope, position - limit + 1)
                      : minus_infinity;
      peak = fmax(peak, scores[j]);
    }
    MLSYS_UNROLL
    for (int mask = 1; mask < 8; mask *= 2)
      peak = fmax(peak, shfl_xor(peak, mask));
    float base = peak == minus_infinity ? 0.0f : peak;
    float shrink = exp(largest - base);
    largest = peak;
    total *= shrink;
    MLSYS_UNROLL
    for (int j = 0; j < NK; ++j) {
      float weight = exp(scores[j] - base);
      total += weight;
      weightsOfRow[part + 8 * j] = weight;
    }
    warp_sync();
    MLSYS_UNROLL
    for (int j = 0; j < ND; ++j)
      sums[j] = sums[j] * shrink;
    for (int key = 0; key < Keys; ++key) {
      float weight = weightsOfRow[key];
      MLSYS_UNROLL
      for (int j = 0; j < ND; ++j) {
        int at = (part + 8 * j) * 4;
        if (chunks % 8 != 0 && at >= D)
          continue;
        vec<float, 4> value = load<4>(sharedV + key * Stride + at);
        MLSYS_UNROLL
        for (int e = 0; e < 4; ++e)
          sums[j][e] = fma(weight, value[e], sums[j][e]);
      }
    }
    bar_sync(); // the next keys take the place
  }
  MLSYS_UNROLL
  for (int mask = 1; mask < 8; mask *= 2)
    total += shfl_xor(total, mask);
  float inverse = total == 0.0f ? 0.0f : divide(1.0f, total);
  if (first + r >= queries.count)
    return;
  MLSYS_UNROLL
  for (int j = 0; j < ND; ++j)
    if (int at = (part + 8 * j) * 4; at < D)
      store<4>(queries.out + (i64)(first + r) * queries.out_stride + at, convert<T>(sums[j] * inverse));
}

template <int D, class T, class KV, class S>
inline void attention_tile(const Queries<T> &queries, const KV &kv, int kv_head, int tile, const S &scoring) {
  if constexpr (PrefillConfig<T, D, typename KV::element>::TensorCores)
    attention_tile_mma<D>(queries, kv, kv_head, tile, scoring);
  else
    attention_tile_simt<D>(queries, kv, kv_head, tile, scoring);
}

/// New tokens of several requests over a paged cache that holds their keys already.
template <int D, class T, class U, class S>
inline void attention_prefill(const T *q, T *out, PagedKV<U> kv, const i32 *query_start, const i32 *context_length,
                              const i32 *block_table, i64 pages_per_request, int heads, int kv_heads,
                              const S &scoring) {
  const int head = block_y(), request = block_z();
  const int begin = query_start[request], count = query_start[request + 1] - begin;
  if (block_x() * PrefillConfig<T, D, U>::Rows >= count)
    return;
  kv.block_table = block_table + request * pages_per_request;
  const i64 stride = (i64)heads * D, start = begin * stride + head * D;
  attention_tile<D>(Queries<T>{q + start, out + start, stride, stride, count, context_length[request], scoring.causal,
                               head},
                    kv, head / (heads / kv_heads), block_x(), scoring);
}

/// Attention of a model without a cache: S_q queries and S_k keys in every batch; grid
/// (ceil(S_q / Rows), heads, batches).
template <int D, class T, class U, class S>
inline void attention_plain(const T *q, Strides q_strides, T *out, Strides out_strides, ContiguousKV<U> kv, i64 s_q,
                            i64 s_k, int heads, int kv_heads, const S &scoring) {
  const int head = block_y(), batch = block_z();
  kv.batch = batch;
  attention_tile<D>(Queries<T>{q + batch * q_strides.batch + head * q_strides.head,
                               out + batch * out_strides.batch + head * out_strides.head, q_strides.position,
                               out_strides.position, (int)s_q, (int)s_k, scoring.causal, head},
                    kv, head / (heads / kv_heads), block_x(), scoring);
}
