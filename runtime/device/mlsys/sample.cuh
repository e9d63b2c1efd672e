//===- sample.cuh - Choosing the next token ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What runtime/Sampler.h does, on the device: the largest logit; or temperature, top-k, top-p and
// min-p, in this order, and a draw. A draw is a race: token i has the time -log(u_i) / weight_i,
// u_i in (0, 1) being drawn from the seed, the count of draws and i alone, and the least time wins.
// So no cumulative sum is needed, and tokens that a filter leaves out do not move the others.
//
// The filters keep beginnings of one order of the tokens: by falling logit, of equal ones the lower
// id first. Whether a token is in such a beginning depends on the count and the weight of the
// tokens before it. So the winner of all tokens is looked at first; when it is not in the
// beginning, nothing behind it is either, and the race is run again among the tokens before it.
// That takes few passes over the logits, which are in the cache of the second level.
//
// One block of any size chooses for one request. Sums are in f32 and in an order that
// only the size of the block decides.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/reduce.cuh"

/// How to choose for one request; 32 bytes. runtime/DeviceSampling.h has the same.
struct sampling {
  /// 0 takes the largest logit.
  f32 temperature;
  /// 0 keeps all.
  i32 top_k;
  f32 top_p, min_p;
  u64 seed, draws;
};

/// Dynamic shared memory of choose_token, for blocks of at most 1024 threads.
constexpr int sampleSharedBytes = 33 * 16 * 4;

namespace sample_detail {

constexpr i32 lastId = 0x7fffffff;
inline f32 infinity() { return float_from_bits(0x7f800000u); }

/// Number `index` of the splitmix64 generator that starts from `seed`.
inline u64 random_bits(u64 seed, u64 index) {
  u64 z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/// Whether token a is before token b.
inline bool before(indexed<f32> a, indexed<f32> b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

/// Calls f(token) for the tokens of this thread. `isLight` says that f needs few registers, so that
/// several loads are under way.
template <bool isLight = false, class F> inline void each_token(const f32 *row, i32 count, F f) {
  i32 step = block_dim_x() * 4;
  i32 whole = aligned16(row) ? count & ~3 : 0;
  auto four = [&](i32 i) {
    vec<f32, 4> values = load<4>(row + i);
    MLSYS_UNROLL
    for (int j = 0; j < 4; ++j)
      f(indexed<f32>{values[j], i + j});
  };
  if constexpr (isLight) {
    MLSYS_UNROLL_BY(4)
    for (i32 i = thread_x() * 4; i < whole; i += step)
      four(i);
  } else {
    MLSYS_ROLL
    for (i32 i = thread_x() * 4; i < whole; i += step)
      four(i);
  }
  for (i32 i = whole + thread_x(); i < count; i += block_dim_x())
    f(indexed<f32>{row[i], i});
}

/// Tokens and their weight.
struct tally {
  f32 weight;
  i32 count;
};
struct TallyOp {
  static tally apply(tally a, tally b) { return {a.weight + b.weight, a.count + b.count}; }
};

/// One request's logits while a token is chosen.
struct chooser {
  const f32 *row;
  i32 count;
  f32 largest, scale;

  f32 weight(f32 logit) const { return exp((logit - largest) * scale); }

  /// What is before `end`.
  tally sum(indexed<f32> end) const {
    tally result = {0, 0};
    each_token(row, count, [&](indexed<f32> token) {
      if (before(token, end))
        result = {result.weight + weight(token.value), result.count + 1};
    });
    return block_reduce<TallyOp>(result);
  }

  /// The winner of the race among the tokens before `end` that weigh at least `least`.
  i32 race(u64 seed, indexed<f32> end, f32 least) const {
    indexed<f32> best = {-infinity(), lastId};
    each_token(row, count, [&](indexed<f32> token) {
      f32 exponent = (token.value - largest) * scale;
      if (!before(token, end) || exp(exponent) < least)
        return;
      // u = (number + 0.5) / 2^52, and -log(u) by way of 1 - u where u is near 1.
      u64 number = random_bits(seed, (u64)(u32)token.index) >> 12;
      constexpr f32 unit = 1.0f / (f32)(1ull << 52);
      bool isSmall = number >> 51 == 0;
      f32 part = ((f32)(isSmall ? number : (1ull << 52) - 1 - number) + 0.5f) * unit;
      f32 time = isSmall ? -log(part) : -log1p(-part);
      best = ArgMaxOp::apply(best, indexed<f32>{exponent - log(time), token.index});
    });
    return block_reduce<ArgMaxOp>(best).index;
  }

  /// A number that rises with the logit.
  static u32 key_of(f32 logit) {
    u32 bits = bits_from_float(logit + 0.0f); // -0 is 0
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  }

  /// The largest number that at least `wanted` of the tokens' `key`s reach. Four bits a pass.
  template <class Key> u32 reached_by(i32 wanted, Key key) const {
    i32 *partial = shared_memory<i32>(), *total = partial + 32 * 16;
    u32 found = 0;
    for (int shift = 28; shift >= 0; shift -= 4) {
      i32 counts[15] = {};
      each_token(row, count, [&](indexed<f32> token) {
        u32 value = key(token);
        MLSYS_UNROLL
        for (u32 j = 0; j < 15; ++j)
          counts[j] += value >= found + ((j + 1) << shift);
      });
      MLSYS_UNROLL
      for (int j = 0; j < 15; ++j) {
        i32 sum = warp_sum(counts[j]);
        if (thread_x() % 32 == 0)
          partial[thread_x() / 32 * 16 + j] = sum;
      }
      bar_sync();
      if (thread_x() < 15) {
        i32 sum = 0;
        for (int warp = 0; warp < block_dim_x() / 32; ++warp)
          sum += partial[warp * 16 + thread_x()];
        total[thread_x()] = sum;
      }
      bar_sync();
      u32 digit = 0;
      for (u32 j = 0; j < 15; ++j)
        digit += total[j] >= wanted;
      found += digit << shift;
    }
    return found;
  }

  /// The end of the first `wanted` tokens.
  indexed<f32> end_of(i32 wanted) const {
    // First their least logit; then, of the tokens that have it, the highest id.
    f32 value = 0;
    u32 found = 0;
    MLSYS_ROLL
    for (int stage = 0; stage < 2; ++stage) {
      bool byId = stage == 1;
      if (byId) {
        value = float_from_bits(found >> 31 ? found & 0x7fffffffu : ~found);
        wanted -= sum({value, -1}).count;
      }
      found = reached_by(wanted, [&](indexed<f32> token) {
        if (!byId)
          return key_of(token.value);
        return token.value == value ? 0x80000000u - (u32)token.index : 0u;
      });
    }
    return {value, (i32)(0x80000000u - found) + 1};
  }
};

} // namespace sample_detail

/// The chosen token of `count` logits; -1 - i when logit i is NaN or the largest logit, i, is
/// infinite. Every thread of the block calls and gets the result.
inline i64 choose_token(const f32 *row, i32 count, const sampling &how) {
  using namespace sample_detail;
  indexed<f32> best = {-infinity(), lastId};
  each_token<true>(row, count, [&](indexed<f32> token) { best = ArgMaxOp::apply(best, token); });
  best = block_reduce<ArgMaxOp>(best);
  if (!(best.value > -infinity() && best.value < infinity()))
    return -1 - (i64)best.index;
  if (how.temperature == 0.0f)
    return best.index;
  chooser logits = {row, count, best.value, 1.0f / how.temperature};
  // Nothing that cannot be chosen is before this.
  indexed<f32> end = {-infinity(), -1};
  bool hasTopK = how.top_k > 0 && how.top_k < count, hasTopP = how.top_p < 1.0f;
  f32 enough = infinity();
  if (hasTopP) {
    tally all = logits.sum(end);
    if (hasTopK && how.top_k < all.count) {
      end = logits.end_of(how.top_k);
      all = logits.sum(end);
    }
    hasTopK = false;
    enough = all.weight * how.top_p;
  }
  u64 seed = random_bits(how.seed, how.draws);
  for (;;) {
    i32 winner = logits.race(seed, end, how.min_p);
    if (!hasTopK && !hasTopP)
      return winner;
    indexed<f32> token = {row[winner], winner};
    tally ahead = logits.sum(token);
    if ((!hasTopK || ahead.count < how.top_k) && ahead.weight < enough)
      return winner;
    end = token;
  }
}

/// What a decode step reads of each request; see program::Role.
struct step_inputs {
  i64 *ids;
  i32 *positions;
  i64 *slots;
  i32 *context_length;
  const i32 *block_table;
};

/// Chooses the next token of request block_x() from its logits and makes it the input of the next
/// step. A request without context is none. `chosen` gets what choose_token returns.
inline void sample_step(const f32 *logits, const step_inputs &step, sampling *how, i64 *chosen, i64 vocabulary,
                        i64 pages, i64 page_size) {
  i32 request = block_x();
  if (step.context_length[request] == 0)
    return;
  sampling mine = how[request];
  i64 id = choose_token(logits + request * vocabulary, (i32)vocabulary, mine);
  // All threads have read what follows.
  bar_sync();
  if (thread_x() != 0)
    return;
  chosen[request] = id;
  step.ids[request] = id < 0 ? 0 : id;
  i32 position = step.positions[request] + 1;
  i64 page = position / page_size;
  step.positions[request] = position;
  step.context_length[request] += 1;
  step.slots[request] =
      page < pages ? step.block_table[request * pages + page] * page_size + position % page_size : -1;
  how[request].draws = mine.draws + 1;
}
