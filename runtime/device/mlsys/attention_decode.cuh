//===- attention_decode.cuh - Attention of one query a request --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// softmax(scale * q K^T) V over a paged cache for one new token of each request, token r being request
// r's. Types, layouts and Scores are those of attention.cuh.
//
//   typedef DecodeConfig<bf16, 128, 4> Config;           // type of queries, D, G[, type of keys]
//   attention_decode<128, 4>(q, out, parts, kv, context_length, block_table, P, heads, kv_heads, scores);
//   attention_join<128, bf16>(parts, out, context_length, heads, splits, scores);
//
// * A block does G query heads of one key head, which divide heads / kv_heads, for one part of the keys:
//   grid (heads / G, requests, splits). A part is Config::Part keys, a function of types and
//   head size alone, so what a request gets does not depend on the batch. splits covers the block
//   table, ceil(P * page size / Part); blocks beyond a request's keys, or before its window, end at once.
// * A request whose keys all lie in one part gets its result from there. Otherwise the parts go to
//   `parts`, requests * heads * splits * (D + 2) floats, and attention_join, a second kernel, joins
//   them: grid (heads, requests), block 128, no shared memory but JoinConfig<D>::sharedBytes(). With splits 1 it is not
//   needed.
// * 16-bit of one type, G at most 16 (8 when D > 128): tensor cores. Scores are K Q^T and results
//   V^T P^T, so that keys, then columns of V, are mma's m16 and the query heads its n8. K and V come
//   straight into registers in 16-byte pieces: the order of D in the first product and of columns and keys in the
//   second is free. All of a part is in flight at once: each of 8 warps has Config::Steps times 16 keys.
// * Otherwise G is at most 8: exact f32, a group of lanes a key.
// * Threads: Config::threads; shared memory: Config::sharedBytes().
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/attention.cuh"

template <class T, int D, int G, class U = T> struct DecodeConfig {
  static_assert(D % 8 == 0 && D <= 256);
  static constexpr bool TensorCores = is_half<T> && same_type<T, U>;
  static_assert(G <= (TensorCores && D <= 128 ? 16 : 8));
  static constexpr int Warps = TensorCores ? 8 : 4, threads = Warps * 32;
  /// Groups of 16 keys that a warp has in flight: 64 KB of K and V a block.
  static constexpr int Steps = D > 64 ? 1 : D > 32 ? 2 : 4;
  static constexpr int Part = 128 * Steps;
  /// SIMT: lanes that share a key, eight elements each: a power of two.
  static constexpr int Lanes = D <= 8 ? 1 : D <= 16 ? 2 : D <= 32 ? 4 : D <= 64 ? 8 : D <= 128 ? 16 : 32;
  /// Elements from query to query in shared memory: what a quarter warp reads lies in different banks.
  static constexpr int QueryStride = (D + 31) / 32 % 2 == 1 ? (D + 31) / 32 * 32 : (D + 31) / 32 * 32 + 32;
  /// For each warp and head D sums, the largest score and the total.
  static constexpr int partsBytes() { return Warps * G * (D + 2) * 4; }
  static constexpr int sharedBytes() { return partsBytes() + (TensorCores ? G * QueryStride * 2 : 0); }
};

/// Which parts hold a request's keys: first to first + count - 1.
struct DecodeParts {
  int first, count;
};
template <class S> inline DecodeParts decode_parts(const S &scoring, int context, int part) {
  int first = scoring.begin(context) / part;
  return {first, context > 0 ? (context - 1) / part - first + 1 : 1};
}

//===----------------------------------------------------------------------===//
// One part
//===----------------------------------------------------------------------===//

/// The lower or upper halves of two words, the first one's below.
inline u32 lower_halves(u32 a, u32 b) { return (a & 0xffff) | (b << 16); }
inline u32 upper_halves(u32 a, u32 b) { return (a >> 16) | (b & 0xffff0000u); }

/// Attention of G query heads, from `head` on, with keys [begin, end) of the part that starts at `start`; the query is
/// at position `last`. Leaves
/// in shared memory, for each warp and head, D unnormalized sums, the largest score (times log2(e)) and the
/// total.
template <class Config, int D, int G, class T, class KV, class S>
inline void decode_part_mma(const T *q, const KV &kv, int head, int kv_head, int start, int begin, int end, int last,
                            const S &scoring) {
  constexpr int Steps = Config::Steps, H = G > 8 ? 2 : 1, Groups = (D + 31) / 32, Chunks = (D + 63) / 64;
  constexpr int Stride = Config::QueryStride;
  const int lane = thread_x() % 32, warp = thread_x() / 32, g = lane / 4, t = lane % 4;
  T *queries = shared_memory<T>(Config::partsBytes());
  float *shared = shared_memory<float>();
  const bytes16 none = {0, 0, 0, 0};
  auto read = [&](const T *row, int at, bool valid) {
    if (!valid || at >= D)
      return none;
    check_alignment(row + at, 16, "load");
    return *(const bytes16 *)(row + at);
  };
  auto firstKey = [&](int step) { return start + (step * Config::Warps + warp) * 16; };

  // Everything this warp reads.
  bytes16 keys[Steps][Groups][2], values[Steps][Chunks][4];
  MLSYS_UNROLL
  for (int step = 0; step < Steps; ++step)
    MLSYS_UNROLL
    for (int high = 0; high < 2; ++high) {
      int position = firstKey(step) + g + 8 * high;
      bool valid = position >= begin && position < end;
      const T *row = valid ? kv.key(kv_head, position) : q;
      MLSYS_UNROLL
      for (int group = 0; group < Groups; ++group)
        keys[step][group][high] = read(row, group * 32 + t * 8, valid);
    }
  MLSYS_UNROLL
  for (int step = 0; step < Steps; ++step)
    MLSYS_UNROLL
    for (int i = 0; i < 4; ++i) {
      // Keys 2t, 2t + 1, 2t + 8, 2t + 9: those of this lane in a fragment of the second product.
      int position = firstKey(step) + 2 * t + i % 2 + i / 2 * 8;
      bool valid = position >= begin && position < end;
      const T *row = valid ? kv.value(kv_head, position) : q;
      MLSYS_UNROLL
      for (int chunk = 0; chunk < Chunks; ++chunk)
        values[step][chunk][i] = read(row, chunk * 64 + g * 8, valid);
    }
  for (int i = thread_x() * 8; i < G * D; i += Config::threads * 8)
    store<8>(queries + i / D * Stride + i % D, load<8>(q + i));
  bar_sync();

  // Keys along g, query heads along t.
  float scores[Steps][H][4];
  MLSYS_UNROLL
  for (int step = 0; step < Steps; ++step)
    MLSYS_UNROLL
    for (int h = 0; h < H; ++h)
      MLSYS_UNROLL
      for (int e = 0; e < 4; ++e)
        scores[step][h][e] = 0.0f;
  MLSYS_UNROLL
  for (int group = 0; group < Groups; ++group)
    MLSYS_UNROLL
    for (int h = 0; h < H; ++h) {
      bytes16 x = none;
      if (g + 8 * h < G && group * 32 + t * 8 < D)
        x = *(const bytes16 *)(queries + (g + 8 * h) * Stride + group * 32 + t * 8);
      const u32 low[2] = {x.x, x.y}, high[2] = {x.z, x.w};
      MLSYS_UNROLL
      for (int step = 0; step < Steps; ++step) {
        const bytes16 &k0 = keys[step][group][0], &k1 = keys[step][group][1];
        const u32 first[4] = {k0.x, k1.x, k0.y, k1.y}, second[4] = {k0.z, k1.z, k0.w, k1.w};
        mma<T>(scores[step][h], first, low);
        mma<T>(scores[step][h], second, high);
      }
    }

  float largest[H][2], total[H][2];
  MLSYS_UNROLL
  for (int h = 0; h < H; ++h)
    MLSYS_UNROLL
    for (int e = 0; e < 2; ++e) {
      float peak = minus_infinity;
      const float slope = S::slope(head + min_int(h * 8 + 2 * t + e, G - 1)) * 1.44269504f;
      MLSYS_UNROLL
      for (int step = 0; step < Steps; ++step)
        MLSYS_UNROLL
        for (int high = 0; high < 2; ++high) {
          int position = firstKey(step) + g + 8 * high;
          // exp(x) = exp2(x * log2(e))
          float &score = scores[step][h][2 * high + e];
          score = position >= begin && position < end
                      ? S::biased(scoring(score, 1.44269504f), slope, position - last)
                      : minus_infinity;
          peak = fmax(peak, score);
        }
      MLSYS_UNROLL
      for (int mask = 4; mask < 32; mask *= 2)
        peak = fmax(peak, shfl_xor(peak, mask));
      float base = peak == minus_infinity ? 0.0f : peak, sum = 0.0f;
      MLSYS_UNROLL
      for (int step = 0; step < Steps; ++step)
        MLSYS_UNROLL
        for (int high = 0; high < 2; ++high) {
          float &score = scores[step][h][2 * high + e];
          score = exp2(score - base);
          sum += score;
        }
      MLSYS_UNROLL
      for (int mask = 4; mask < 32; mask *= 2)
        sum += shfl_xor(sum, mask);
      largest[h][e] = peak;
      total[h][e] = sum;
    }

  float sums[Chunks][4][H][4];
  MLSYS_UNROLL
  for (int chunk = 0; chunk < Chunks; ++chunk)
    MLSYS_UNROLL
    for (int tile = 0; tile < 4; ++tile)
      MLSYS_UNROLL
      for (int h = 0; h < H; ++h)
        MLSYS_UNROLL
        for (int e = 0; e < 4; ++e)
          sums[chunk][tile][h][e] = 0.0f;
  MLSYS_UNROLL
  for (int step = 0; step < Steps; ++step) {
    u32 weights[H][2];
    MLSYS_UNROLL
    for (int h = 0; h < H; ++h)
      MLSYS_UNROLL
      for (int high = 0; high < 2; ++high)
        weights[h][high] =
            transpose_matrix(pack2<T>(scores[step][h][2 * high], scores[step][h][2 * high + 1]));
    MLSYS_UNROLL
    for (int chunk = 0; chunk < Chunks; ++chunk) {
      u32 words[4][4];
      MLSYS_UNROLL
      for (int i = 0; i < 4; ++i) {
        const bytes16 &value = values[step][chunk][i];
        words[i][0] = value.x, words[i][1] = value.y, words[i][2] = value.z, words[i][3] = value.w;
      }
      // Tile i has elements 2i of all lanes' pieces in rows g, and elements 2i + 1 in rows g + 8.
      MLSYS_UNROLL
      for (int tile = 0; tile < 4; ++tile) {
        const u32 left[4] = {lower_halves(words[0][tile], words[1][tile]), upper_halves(words[0][tile], words[1][tile]),
                             lower_halves(words[2][tile], words[3][tile]), upper_halves(words[2][tile], words[3][tile])};
        MLSYS_UNROLL
        for (int h = 0; h < H; ++h)
          mma<T>(sums[chunk][tile][h], left, weights[h]);
      }
    }
  }
  MLSYS_UNROLL
  for (int h = 0; h < H; ++h)
    MLSYS_UNROLL
    for (int e = 0; e < 2; ++e) {
      int head = h * 8 + 2 * t + e;
      if (head >= G)
        continue;
      float *mine = shared + (warp * G + head) * (D + 2);
      MLSYS_UNROLL
      for (int chunk = 0; chunk < Chunks; ++chunk)
        MLSYS_UNROLL
        for (int tile = 0; tile < 4; ++tile)
          MLSYS_UNROLL
          for (int high = 0; high < 2; ++high) {
            int column = chunk * 64 + g * 8 + 2 * tile + high;
            if (D % 64 == 0 || column < D)
              mine[column] = sums[chunk][tile][h][2 * high + e];
          }
      if (g == 0) {
        mine[D] = largest[h][e];
        mine[D + 1] = total[h][e];
      }
    }
  bar_sync();
}

/// The same in exact f32.
template <class Config, int D, int G, class T, class KV, class S>
inline void decode_part_simt(const T *q, const KV &kv, int head, int kv_head, int begin, int end, int last,
                             const S &scoring) {
  constexpr int Lanes = Config::Lanes, PerWarp = 32 / Lanes, Ahead = G > 4 ? 1 : 2;
  constexpr int Round = Config::Warps * PerWarp * Ahead;
  const int lane = thread_x() % 32, warp = thread_x() / 32, at = lane % Lanes * 8;
  const bool active = at < D;
  vec<float, 8> query[G], sums[G];
  float largest[G], total[G], slope[G];
  MLSYS_UNROLL
  for (int g = 0; g < G; ++g) {
    slope[g] = S::slope(head + g) * 1.44269504f;
    query[g] = sums[g] = broadcast<8>(0.0f);
    if (active)
      query[g] = convert<float>(load<8>(q + g * D + at));
    largest[g] = minus_infinity;
    total[g] = 0.0f;
  }
  for (int start = begin; start < end; start += Round) {
    vec<float, 8> key[Ahead], value[Ahead];
    MLSYS_UNROLL
    for (int i = 0; i < Ahead; ++i) {
      int position = start + (i * Config::Warps + warp) * PerWarp + lane / Lanes;
      key[i] = value[i] = broadcast<8>(0.0f);
      if (position < end && active) {
        key[i] = convert<float>(load<8>(kv.key(kv_head, position) + at));
        value[i] = convert<float>(load<8>(kv.value(kv_head, position) + at));
      }
    }
    MLSYS_UNROLL
    for (int i = 0; i < Ahead; ++i) {
      const int position = start + (i * Config::Warps + warp) * PerWarp + lane / Lanes;
      MLSYS_UNROLL
      for (int g = 0; g < G; ++g) {
        float score = 0.0f;
        MLSYS_UNROLL
        for (int e = 0; e < 8; ++e)
          score = fma(query[g][e], key[i][e], score);
        MLSYS_UNROLL
        for (int mask = Lanes / 2; mask > 0; mask /= 2)
          score += shfl_xor(score, mask);
        if (position >= end)
          continue;
        score = S::biased(scoring(score, 1.44269504f), slope[g], position - last);
        float peak = fmax(largest[g], score), shrink = exp2(largest[g] - peak), weight = exp2(score - peak);
        largest[g] = peak;
        total[g] = total[g] * shrink + weight;
        MLSYS_UNROLL
        for (int e = 0; e < 8; ++e)
          sums[g][e] = fma(weight, value[i][e], sums[g][e] * shrink);
      }
    }
  }
  // Lanes with the same columns first, then the warps through shared memory.
  float *shared = shared_memory<float>();
  MLSYS_UNROLL
  for (int g = 0; g < G; ++g) {
    MLSYS_UNROLL
    for (int mask = Lanes; mask < 32; mask *= 2) {
      float peak = fmax(largest[g], shfl_xor(largest[g], mask));
      float shrink = largest[g] == minus_infinity ? 0.0f : exp2(largest[g] - peak);
      largest[g] = peak;
      total[g] *= shrink;
      total[g] += shfl_xor(total[g], mask);
      sums[g] = sums[g] * shrink;
      MLSYS_UNROLL
      for (int e = 0; e < 8; ++e)
        sums[g][e] += shfl_xor(sums[g][e], mask);
    }
    float *mine = shared + (warp * G + g) * (D + 2);
    if (lane < Lanes && active)
      MLSYS_UNROLL
      for (int e = 0; e < 8; ++e)
        mine[at + e] = sums[g][e];
    if (lane == 0) {
      mine[D] = largest[g];
      mine[D + 1] = total[g];
    }
  }
  bar_sync();
}

/// See the head of the file.
template <int D, int G, class T, class U, class S>
inline void attention_decode(const T *q, T *out, float *parts, PagedKV<U> kv, const i32 *context_length,
                             const i32 *block_table, i64 pages_per_request, int heads, int kv_heads,
                             const S &scoring) {
  typedef DecodeConfig<T, D, G, U> Config;
  const int head = block_x() * G, request = block_y(), part = block_z(), splits = grid_dim_z();
  kv.block_table = block_table + request * pages_per_request;
  const i64 first = (i64)request * heads + head;
  const int context = context_length[request], oldest = scoring.begin(context);
  const DecodeParts of = decode_parts(scoring, context, Config::Part);
  if (part < of.first || part >= of.first + of.count)
    return;
  const int start = part * Config::Part, begin = max_int(start, oldest), end = min_int(start + Config::Part, context);
  const int kv_head = head / (heads / kv_heads);
  if constexpr (Config::TensorCores)
    decode_part_mma<Config, D, G>(q + first * D, kv, head, kv_head, start, begin, end, context - 1, scoring);
  else
    decode_part_simt<Config, D, G>(q + first * D, kv, head, kv_head, begin, end, context - 1, scoring);

  // The warps' shares in their order; the sum's exponent is that of the part's largest score.
  const float *shared = shared_memory<float>();
  constexpr int Stride = G * (D + 2);
  for (int i = thread_x(); i < G * D; i += Config::threads) {
    const float *mine = shared + i / D * (D + 2);
    float largest = minus_infinity, sum = 0.0f, total = 0.0f;
    MLSYS_UNROLL
    for (int warp = 0; warp < Config::Warps; ++warp)
      largest = fmax(largest, mine[warp * Stride + D]);
    MLSYS_UNROLL
    for (int warp = 0; warp < Config::Warps; ++warp) {
      float peak = mine[warp * Stride + D], factor = peak == minus_infinity ? 0.0f : exp2(peak - largest);
      sum = fma(mine[warp * Stride + i % D], factor, sum);
      total = fma(mine[warp * Stride + D + 1], factor, total);
    }
    if (of.count == 1) {
      out[first * D + i] = convert<T>(total == 0.0f ? 0.0f : divide(sum, total));
      continue;
    }
    const i64 row = (first + i / D) * splits + part;
    parts[row * D + i % D] = sum;
    if (i % D == 0) {
      float *of_row = parts + (i64)grid_dim_y() * heads * splits * D + row * 2;
      of_row[0] = largest;
      of_row[1] = total;
    }
  }
}

//===----------------------------------------------------------------------===//
// Joining the parts
//===----------------------------------------------------------------------===//

template <int D> struct JoinConfig {
  static constexpr int threads = 128, Warps = 4;
  /// Columns that a lane has.
  static constexpr int Columns = D > 128 ? 8 : 4;
  static constexpr int sharedBytes() { return Warps * (D + 1) * 4; }
};

/// Joins the parts of attention_decode for a head and request: warp w does every fourth part from w on. `part`
/// is DecodeConfig::Part.
template <int D, int Part, class T, class S>
inline void attention_join(const float *parts, T *out, const i32 *context_length, int heads, int splits,
                           const S &scoring) {
  typedef JoinConfig<D> Config;
  constexpr int V = Config::Columns;
  const int lane = thread_x() % 32, warp = thread_x() / 32, column = lane * V, request = block_y();
  const DecodeParts of = decode_parts(scoring, context_length[request], Part);
  if (of.count == 1)
    return;
  const i64 head = (i64)request * heads + block_x(), row = head * splits + of.first;
  const float *sums = parts + row * D, *scales = parts + (i64)grid_dim_y() * heads * splits * D + row * 2;
  float largest = minus_infinity;
  for (int i = thread_x(); i < of.count; i += Config::threads)
    largest = fmax(largest, scales[2 * i]);
  largest = block_max(largest);
  vec<float, V> sum = broadcast<V>(0.0f);
  float total = 0.0f;
  for (int i = warp; i < of.count; i += Config::Warps) {
    float peak = scales[2 * i], factor = peak == minus_infinity ? 0.0f : exp2(peak - largest);
    total = fma(scales[2 * i + 1], factor, total);
    if (column < D)
      sum = sum + load<V>(sums + (i64)i * D + column) * factor;
  }
  float *shared = shared_memory<float>(), *mine = shared + warp * (D + 1);
  if (column < D)
    MLSYS_UNROLL
    for (int e = 0; e < V; ++e)
      mine[column + e] = sum[e];
  if (lane == 0)
    mine[D] = total;
  bar_sync();
  for (int i = thread_x(); i < D; i += Config::threads) {
    float whole = shared[i], weights = shared[D];
    MLSYS_UNROLL
    for (int other = 1; other < Config::Warps; ++other) {
      whole += shared[other * (D + 1) + i];
      weights += shared[other * (D + 1) + D];
    }
    out[head * D + i] = convert<T>(weights == 0.0f ? 0.0f : divide(whole, weights));
  }
}
