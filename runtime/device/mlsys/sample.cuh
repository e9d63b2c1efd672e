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
//
// Two kernels choose. In the first a warp takes a part of 256 logits (more in vocabularies of more
// than 1024 parts) and finds its largest, the winner of its race, and its weight; a vocabulary of
// 128k keeps 500 warps on as many multiprocessors as there are. In the second, one block of any
// size a request joins the parts, and where filters are left to be looked at reads only the parts
// whose largest logit says that they matter. Sums are in f32 and in an order that only the
// vocabulary and the size of that block decide.
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

/// What the first kernel finds of one part; 24 bytes. All but `largest` and `index` is there only when
/// the temperature is not 0 and `largest` is finite.
struct sample_part {
  f32 largest;
  i32 index;
  /// Of the winner of the race: its logit over the temperature minus the logarithm of its time, relative to
  /// `largest`.
  f32 score;
  i32 winner;
  /// Of the logits that are not -infinity, relative to `largest`.
  f32 weight;
  i32 count;
};

namespace sample_detail {

constexpr i32 lastId = 0x7fffffff;
constexpr i32 maxParts = 1024, leastPart = 256;
/// Shared memory of reached_by, in front of the parts' largest logits.
constexpr int countBytes = 33 * 16 * 4;
inline f32 infinity() { return float_from_bits(0x7f800000u); }

/// Logits of a part: a multiple of 256.
inline i32 part_size(i32 vocabulary) {
  return (vocabulary + maxParts * leastPart - 1) / (maxParts * leastPart) * leastPart;
}

/// Number `index` of the splitmix64 generator that starts from `seed`.
inline u64 random_bits(u64 seed, u64 index) {
  u64 z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/// The logarithm of the time of a token.
inline f32 log_time(u64 seed, i32 index) {
  // u = (number + 0.5) / 2^52, and -log(u) by way of 1 - u where u is near 1.
  u64 number = random_bits(seed, (u64)(u32)index) >> 12;
  constexpr f32 unit = 1.0f / (f32)(1ull << 52);
  bool isSmall = number >> 51 == 0;
  f32 part = ((f32)(isSmall ? number : (1ull << 52) - 1 - number) + 0.5f) * unit;
  return log(isSmall ? -log(part) : -log1p(-part));
}

/// Whether token a is before token b.
inline bool before(indexed<f32> a, indexed<f32> b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

/// Calls f(token) for the tokens of this lane in a part that the warp works on. `isHeavy` says that f
/// takes longer than a load, so that nothing is gained by several tokens at a time.
template <bool isHeavy = false, class F> inline void each_of_part(const f32 *row, i32 begin, i32 end, F f) {
  i32 lane = thread_x() % 32;
  i32 whole = !isHeavy && aligned16(row) ? end & ~3 : begin;
  if constexpr (!isHeavy) {
    MLSYS_ROLL
    for (i32 i = begin + lane * 4; i < whole; i += 128) {
      vec<f32, 4> values = load<4>(row + i);
      MLSYS_UNROLL
      for (int j = 0; j < 4; ++j)
        f(indexed<f32>{values[j], i + j});
    }
  }
  MLSYS_ROLL
  for (i32 i = whole + lane; i < end; i += 32)
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

/// What a block does next to choose a token. To find the first k tokens, where more are left for the
/// weights of top-p: the k-th largest of the parts' maxima, which so many tokens reach; the k-th largest
/// logit of the parts that reach it; how many tokens are larger; and the id of the last one that has this logit.
enum class stage { parts, tokens, ids, larger, weight, check, race };

/// One request's logits while a block chooses a token.
struct chooser {
  const f32 *row;
  /// The largest logit of each part, in shared memory.
  const f32 *maxima;
  i32 count, size, parts;
  f32 largest, scale;

  f32 weight(f32 logit) const { return exp((logit - largest) * scale); }

  /// Calls f(token) for the tokens of this thread in the parts whose largest logit is at least
  /// `least`, or a bit more tokens.
  template <bool isHeavy = false, class F> void each_token(f32 least, F f) const {
    MLSYS_ROLL
    for (i32 part = thread_x() / 32; part < parts; part += block_dim_x() / 32)
      if (maxima[part] >= least)
        each_of_part<isHeavy>(row, part * size, part + 1 < parts ? part * size + size : count, f);
  }

  /// What is before `end`.
  tally sum(indexed<f32> end) const {
    tally result = {0, 0};
    each_token(end.value, [&](indexed<f32> token) {
      if (before(token, end))
        result = {result.weight + weight(token.value), result.count + 1};
    });
    return block_reduce<TallyOp>(result);
  }

  /// The winner of the race among the tokens before `end` that weigh at least `least`.
  i32 race(u64 seed, indexed<f32> end, f32 least) const {
    indexed<f32> best = {-infinity(), lastId};
    each_token<true>(end.value, [&](indexed<f32> token) {
      f32 exponent = (token.value - largest) * scale;
      if (before(token, end) && exp(exponent) >= least)
        best = ArgMaxOp::apply(best, indexed<f32>{exponent - log_time(seed, token.index), token.index});
    });
    return block_reduce<ArgMaxOp>(best).index;
  }

  /// A number that rises with the logit, and the logit that has it.
  static u32 key_of(f32 logit) {
    u32 bits = bits_from_float(logit + 0.0f); // -0 is 0
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  }
  static f32 logit_of(u32 key) { return float_from_bits(key >> 31 ? key & 0x7fffffffu : ~key); }

  /// The largest number that at least `wanted` keys reach: keys of the parts' largest logits, keys of the tokens
  /// in parts that reach `bound`, or, of the tokens whose logit is `bound`, numbers that fall with the id. Four
  /// bits a pass.
  u32 reached_by(stage of, i32 wanted, f32 bound) const {
    i32 *partial = shared_memory<i32>(), *total = partial + 32 * 16;
    u32 found = 0;
    MLSYS_ROLL
    for (int shift = 28; shift >= 0; shift -= 4) {
      i32 counts[15] = {};
      auto take = [&](u32 key) {
        MLSYS_UNROLL
        for (u32 j = 0; j < 15; ++j)
          counts[j] += key >= found + ((j + 1) << shift);
      };
      if (of == stage::parts) {
        MLSYS_ROLL
        for (i32 part = thread_x(); part < parts; part += block_dim_x())
          take(key_of(maxima[part]));
      } else {
        each_token(bound, [&](indexed<f32> token) {
          take(of == stage::tokens ? key_of(token.value) : token.value == bound ? 0x80000000u - (u32)token.index : 0u);
        });
      }
      MLSYS_UNROLL
      for (int j = 0; j < 15; ++j) {
        i32 sum = warp_sum(counts[j]);
        if (thread_x() % 32 == 0)
          partial[thread_x() / 32 * 16 + j] = sum;
      }
      bar_sync();
      if (thread_x() < 15) {
        i32 sum = 0;
        MLSYS_ROLL
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
};

} // namespace sample_detail

/// What there is to know of the part of this warp, number block_x() * warps + warp, of request block_y().
inline void sample_part_of(const f32 *logits, const i32 *context_length, const sampling *how, sample_part *parts,
                           i64 vocabulary) {
  using namespace sample_detail;
  i32 count = (i32)vocabulary, size = part_size(count), known = (count + size - 1) / size;
  i32 part = block_x() * (block_dim_x() / 32) + thread_x() / 32, request = block_y();
  if (part >= known || context_length[request] == 0)
    return;
  const f32 *row = logits + request * vocabulary;
  i32 begin = part * size, end = part + 1 < known ? begin + size : count;
  indexed<f32> best = {-infinity(), lastId};
  each_of_part(row, begin, end, [&](indexed<f32> token) { best = ArgMaxOp::apply(best, token); });
  best = warp_reduce<ArgMaxOp>(best);
  sample_part result = {best.value, best.index, -infinity(), lastId, 0, 0};
  sampling mine = how[request];
  if (mine.temperature != 0.0f && best.value > -infinity() && best.value < infinity()) {
    f32 scale = 1.0f / mine.temperature;
    u64 seed = random_bits(mine.seed, mine.draws);
    bool isWeighed = mine.top_p < 1.0f;
    indexed<f32> first = {-infinity(), lastId};
    tally all = {0, 0};
    each_of_part<true>(row, begin, end, [&](indexed<f32> token) {
      if (!(token.value > -infinity()))
        return;
      f32 exponent = (token.value - best.value) * scale;
      first = ArgMaxOp::apply(first, indexed<f32>{exponent - log_time(seed, token.index), token.index});
      all = {isWeighed ? all.weight + exp(exponent) : 0.0f, all.count + 1};
    });
    first = warp_reduce<ArgMaxOp>(first);
    all = warp_reduce<TallyOp>(all);
    result = {best.value, best.index, first.value, first.index, all.weight, all.count};
  }
  if (thread_x() % 32 == 0)
    parts[request * known + part] = result;
}

/// The chosen token of `count` logits, whose parts are known; -1 - i when logit i is NaN or the largest
/// logit, i, is infinite. Every thread of the block calls and gets the result.
inline i64 choose_token(const f32 *row, const sample_part *found, i32 count, const sampling &how) {
  using namespace sample_detail;
  i32 size = part_size(count), parts = (count + size - 1) / size;
  f32 *maxima = shared_memory<f32>(countBytes);
  indexed<f32> best = {-infinity(), lastId};
  for (i32 part = thread_x(); part < parts; part += block_dim_x()) {
    best = ArgMaxOp::apply(best, indexed<f32>{found[part].largest, found[part].index});
    maxima[part] = found[part].largest;
  }
  // Others' maxima are there after this.
  best = block_reduce<ArgMaxOp>(best);
  bar_sync();
  if (!(best.value > -infinity() && best.value < infinity()))
    return -1 - (i64)best.index;
  if (how.temperature == 0.0f)
    return best.index;
  chooser logits = {row, maxima, count, size, parts, best.value, 1.0f / how.temperature};
  indexed<f32> first = {-infinity(), lastId};
  tally all = {0, 0};
  for (i32 part = thread_x(); part < parts; part += block_dim_x()) {
    if (!(maxima[part] > -infinity()))
      continue;
    f32 exponent = (maxima[part] - best.value) * logits.scale;
    first = ArgMaxOp::apply(first, indexed<f32>{found[part].score + exponent, found[part].winner});
    all = TallyOp::apply(all, {found[part].weight * exp(exponent), found[part].count});
  }
  i32 winner = block_reduce<ArgMaxOp>(first).index;
  bool hasTopK = how.top_k > 0 && how.top_k < count, hasTopP = how.top_p < 1.0f;
  f32 enough = infinity();
  i32 wanted = how.top_k;
  // What can win is before this; nothing that cannot be chosen is.
  indexed<f32> limit = {-infinity(), -1}, token = {row[winner], winner};
  auto isIn = [&] { return before(token, limit) && logits.weight(token.value) >= how.min_p; };
  // The winner of all tokens wins among fewer when it is one of them.
  stage now = isIn() ? stage::check : stage::race;
  if (hasTopP) {
    all = block_reduce<TallyOp>(all);
    enough = all.weight * how.top_p;
    if (hasTopK && how.top_k < all.count)
      now = parts >= how.top_k ? stage::parts : stage::tokens;
    hasTopK = false;
  }
  u64 seed = random_bits(how.seed, how.draws);
  f32 bound = -infinity();
  MLSYS_ROLL
  for (;;) {
    if (now == stage::race) {
      winner = logits.race(seed, limit, how.min_p);
      token = {row[winner], winner};
      now = stage::check;
    } else if (now <= stage::ids) {
      u32 found = logits.reached_by(now, wanted, bound);
      if (now == stage::ids)
        limit = {bound, (i32)(0x80000000u - found) + 1};
      else
        bound = chooser::logit_of(found);
      now = now == stage::parts ? stage::tokens : now == stage::tokens ? stage::larger : stage::weight;
    } else {
      if (now == stage::check && !hasTopK && !hasTopP)
        return winner;
      tally ahead = logits.sum(now == stage::larger ? indexed<f32>{bound, -1} : now == stage::weight ? limit : token);
      if (now == stage::larger) {
        wanted -= ahead.count;
        now = stage::ids;
      } else if (now == stage::weight) {
        enough = ahead.weight * how.top_p;
        now = isIn() ? stage::check : stage::race;
      } else {
        if ((!hasTopK || ahead.count < how.top_k) && ahead.weight < enough)
          return winner;
        limit = token;
        now = stage::race;
      }
    }
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

/// Chooses the next token of request block_x() from its logits, whose parts sample_part_of has found, and
/// makes it the input of the next step. A request without context is none. `chosen` gets what choose_token
/// returns.
inline void sample_step(const f32 *logits, const step_inputs &step, sampling *how, const sample_part *parts,
                        i64 *chosen, i64 vocabulary, i64 pages, i64 page_size) {
  i32 request = block_x();
  if (step.context_length[request] == 0)
    return;
  sampling mine = how[request];
  i32 size = sample_detail::part_size((i32)vocabulary), count = ((i32)vocabulary + size - 1) / size;
  i64 id = choose_token(logits + request * vocabulary, parts + (i64)request * count, (i32)vocabulary, mine);
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
