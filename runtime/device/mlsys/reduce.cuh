//===- reduce.cuh - Reductions over warps and blocks ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Every thread of the warp or block calls; every thread gets the result. The order
// of the operations depends on the number of threads alone. The 32 partial
// results of a block must fit into 512 bytes.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/math.cuh"

/// A value and where it was found. The larger value wins, and of equal ones the lower
/// index; NaN counts as the largest, as in torch.argmax.
template <class T> struct indexed {
  T value;
  i32 index;
};

struct SumOp {
  template <class T> static T apply(T a, T b) { return (T)(a + b); }
};
struct ProdOp {
  template <class T> static T apply(T a, T b) { return (T)(a * b); }
};
struct MaxOp {
  template <class T> static T apply(T a, T b) { return maximumf(a, b); }
};
struct MinOp {
  template <class T> static T apply(T a, T b) { return minimumf(a, b); }
};
struct AndOp {
  template <class T> static T apply(T a, T b) { return (T)(a & b); }
};
struct OrOp {
  template <class T> static T apply(T a, T b) { return (T)(a | b); }
};
struct ArgMaxOp {
  template <class T> static indexed<T> apply(indexed<T> a, indexed<T> b) {
    bool aIsNan = a.value != a.value, bIsNan = b.value != b.value;
    bool tie = a.value == b.value || (aIsNan && bIsNan);
    bool takeA = tie ? a.index < b.index : aIsNan || (!bIsNan && a.value > b.value);
    return takeA ? a : b;
  }
};
struct ArgMinOp {
  template <class T> static indexed<T> apply(indexed<T> a, indexed<T> b) {
    bool aIsNan = a.value != a.value, bIsNan = b.value != b.value;
    bool tie = a.value == b.value || (aIsNan && bIsNan);
    bool takeA = tie ? a.index < b.index : aIsNan || (!bIsNan && a.value < b.value);
    return takeA ? a : b;
  }
};

/// Folds the 32 values of a warp.
template <class Op, class T> inline T warp_reduce(T value) { return warp_fold<Op>(value); }

/// Folds the values of all threads of the block.
template <class Op, class T> inline T block_reduce(T value) {
  static_assert(sizeof(T) <= 16, "32 partial results must fit into the scratch memory");
  value = warp_fold<Op>(value);
  int warps = block_dim_x() / 32;
  if (warps == 1)
    return value;
  T *scratch = (T *)reduce_scratch();
  if (thread_x() % 32 == 0)
    scratch[thread_x() / 32] = value;
  bar_sync();
  value = scratch[0];
  for (int i = 1; i < warps; ++i)
    value = Op::apply(value, scratch[i]);
  bar_sync(); // the next reduction writes the scratch again
  return value;
}

template <class T> inline T warp_sum(T value) { return warp_reduce<SumOp>(value); }
template <class T> inline T warp_prod(T value) { return warp_reduce<ProdOp>(value); }
template <class T> inline T warp_max(T value) { return warp_reduce<MaxOp>(value); }
template <class T> inline T warp_min(T value) { return warp_reduce<MinOp>(value); }
template <class T> inline T block_sum(T value) { return block_reduce<SumOp>(value); }
template <class T> inline T block_prod(T value) { return block_reduce<ProdOp>(value); }
template <class T> inline T block_max(T value) { return block_reduce<MaxOp>(value); }
template <class T> inline T block_min(T value) { return block_reduce<MinOp>(value); }
template <class T> inline T block_and(T value) { return block_reduce<AndOp>(value); }
template <class T> inline T block_or(T value) { return block_reduce<OrOp>(value); }

/// The elements of a vec folded from the first to the last; a scalar stays.
template <class Op, class T> inline T reduce_vec(T value) { return value; }
template <class Op, class T, int N> inline T reduce_vec(const vec<T, N> &value) {
  T result = value[0];
  MLSYS_UNROLL
  for (int i = 1; i < N; ++i)
    result = Op::apply(result, value[i]);
  return result;
}
