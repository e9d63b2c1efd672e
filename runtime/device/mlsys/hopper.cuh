//===- hopper.cuh - Tensor maps, mbarriers, wgmma ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What Hopper has over its predecessors. mbarriers, bulk copies and tensor maps
// need sm_90 or above, wgmma and setmaxnreg sm_90a; a text that is compiled for
// less does not include this file. Addresses of shared memory are those of
// shared_address.
//
// * Kernel parameters after pointers and symbols: `const __grid_constant__
// tensor_map t0`.
//   Tiles in shared memory are rows of 128 bytes whose chunks of 16 are
//   exchanged (128-byte swizzle): chunk c of row r lies at c ^ (r & 7). Their
//   addresses are multiples of 1024. What lies outside the tensor is read as
//   zero and not written.
// * mbarrier_init(b, arrivals), mbarrier_fence(), bar_sync(): then every thread
// may use
//   it. mbarrier_arrive(b), mbarrier_arrive_expect(b, bytes), mbarrier_wait(b,
//   parity): waits for the end of the phase of this parity; the first phase has
//   parity 0.
// * tma_load_2d(destination, t0, b, x, y) and so on count their bytes at b;
//   bulk_load(destination, source, bytes, b) copies plain memory (all multiples
//   of 16). One thread issues. tma_store_2d(t0, x, y, source), bulk_store; then
//   bulk_commit(), bulk_wait<groups pending>(), which also says that shared
//   memory may be reused.
// * proxy_fence(): what the thread has stored to shared memory may be read by
// wgmma
//   and copies; then a barrier.
// * group_sync(id, threads): bar_sync of some warps, id 1 to 15; group_arrive
// does not
//   wait.
// * Clusters: a kernel with __cluster_dims__(n, 1, 1) has blocks that run n at a time, n up to 8, and a
//   grid that is a multiple of n in x. cluster_rank(): of this block. cluster_sync(): every thread of all its blocks;
//   what each has stored to shared memory may be read by the others. cluster_load(address, rank): four
//   floats of a block's shared memory, aligned to 16 bytes. A block may end, begin copies into
//   another's memory or arrive at its mbarriers only while that is known to have begun, or not to have ended: cluster_sync.
//   tma_load_2d_cluster(destination, t0, b, x, y, ranks): the tile goes to the same place of all blocks
//   whose bits `ranks` has, and counts at b of each. mbarrier_arrive_cluster(b, rank): an arrival at b of
//   another block.
// * wgmma<T, N>(sums, a, b, accumulate): the 128 threads of a warpgroup add
// A[64 x 16] *
//   B[N x 16]^T. a, b: wgmma_rows(address) of tiles with rows of 64 elements of
//   K; 16 further along K is + 2. wgmma<T, N, true>: B lies as [K][N] in panels
//   of 64 columns, wgmma_columns(address, bytes from panel to panel); 16
//   further along K is + 128. a may be four registers as of mma_bf16: warp w
//   has rows 16 w and up. Thread t holds
//     sums[j * 4 + h * 2 + e]: row t / 32 * 16 + t % 32 / 4 + h * 8, column j *
//     8 + t % 4 * 2 + e.
//   N: 8 16 24 32 48 64 96 128 192 256.
//   wgmma_fence() after any other access to sums and A's registers and before
//   wgmma; wgmma_commit(); wgmma_wait<groups pending>(sums...): names the sums
//   that are read next.
// * registers_release<n>(), registers_claim<n>(): registers of each thread of
// the
//   warpgroup (24 to 240, multiples of 8).
//
//===----------------------------------------------------------------------===//
#pragma once
#include "mlsys/types.cuh"

/// A parameter that cuTensorMapEncodeTiled has filled.
struct alignas(64) tensor_map {
  u64 words[16];
};

/// What a wgmma reads: a tile of rows with 64 elements of K each.
inline u64 wgmma_rows(u32 address) {
  return (u64)((address & 0x3ffff) >> 4) | ((u64)1 << 16) | ((u64)64 << 32) | ((u64)1 << 62);
}
/// B with K as its rows: panels of 64 columns, `panelBytes` apart.
inline u64 wgmma_columns(u32 address, u32 panelBytes) {
  return (u64)((address & 0x3ffff) >> 4) | ((u64)((panelBytes & 0x3ffff) >> 4) << 16) | ((u64)64 << 32) |
         ((u64)1 << 62);
}

template <int N>
inline constexpr bool wgmma_has_columns =
    N == 8 || N == 16 || N == 24 || N == 32 || N == 48 || N == 64 || N == 96 || N == 128 || N == 192 || N == 256;

#ifdef MLSYS_HOST
#include "mlsys/host_hopper.h"
#else
#include "mlsys/ptx_hopper.cuh"
#endif

/// Adds A * B^T to the warpgroup's sums; see the head of the file.
template <class T, int N, bool transposedB = false>
MLSYS_INLINE void wgmma(float (&sums)[N / 2], u64 a, u64 b, bool accumulate = true) {
  static_assert(is_half<T> && wgmma_has_columns<N>, "wgmma has no such shape");
  wgmma_shared<T, N, transposedB>(sums, a, b, accumulate);
}
template <class T, int N, bool transposedB = false>
MLSYS_INLINE void wgmma(float (&sums)[N / 2], const u32 (&a)[4], u64 b, bool accumulate = true) {
  static_assert(is_half<T> && wgmma_has_columns<N>, "wgmma has no such shape");
  wgmma_fragment<T, N, transposedB>(sums, a, b, accumulate);
}

/// Waits until at most `pending` groups of wgmma are under way; then `sums` may
/// be read.
template <int pending, class... Sums> MLSYS_INLINE void wgmma_wait(Sums &...sums) {
  wgmma_wait_group<pending>();
  (wgmma_pin(sums), ...);
}
