//===- ptx_hopper.cuh - The GPU bodies of hopper.cuh ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Included by hopper.cuh.
//
//===----------------------------------------------------------------------===//
#pragma once

#if __CUDA_ARCH__ < 900
#error "mlsys/hopper.cuh needs sm_90 or above: mbarriers and bulk copies do not exist before"
#endif

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

MLSYS_INLINE void mbarrier_init(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
MLSYS_INLINE void mbarrier_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
MLSYS_INLINE void mbarrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
MLSYS_INLINE void mbarrier_arrive_expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
MLSYS_INLINE void mbarrier_arrive_cluster(u32 barrier, u32 rank) {
  asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(barrier),
               "r"(rank)
               : "memory");
}
MLSYS_INLINE void mbarrier_wait(u32 barrier, u32 parity) {
  asm volatile("{\n.reg .pred done;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 "
               "done, [%0], %1;\n@!done bra "
               "WAIT;\n}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

MLSYS_INLINE void tma_prefetch(const tensor_map &map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
MLSYS_INLINE void tma_load_2d(u32 destination, const tensor_map &map, u32 barrier, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
               "tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
               "l"(&map), "r"(barrier), "r"(x), "r"(y)
               : "memory");
}
MLSYS_INLINE void tma_load_2d_cluster(u32 destination, const tensor_map &map, u32 barrier, int x, int y, u32 ranks) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
               "tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(destination),
               "l"(&map), "r"(barrier), "r"(x), "r"(y), "h"((u16)ranks)
               : "memory");
}
MLSYS_INLINE void tma_load_3d(u32 destination, const tensor_map &map, u32 barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_"
               "tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(destination),
               "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
               : "memory");
}
MLSYS_INLINE void tma_load_4d(u32 destination, const tensor_map &map, u32 barrier, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_"
               "tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(destination),
               "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}
MLSYS_INLINE void tma_store_2d(const tensor_map &map, int x, int y, u32 source) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group "
               "[%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(source), "r"(x), "r"(y)
               : "memory");
}
MLSYS_INLINE void tma_store_3d(const tensor_map &map, int x, int y, int z, u32 source) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group "
               "[%0, {%2, %3, %4}], [%1];" ::"l"(&map),
               "r"(source), "r"(x), "r"(y), "r"(z)
               : "memory");
}
MLSYS_INLINE void bulk_load(u32 destination, const void *source, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::"
               "bytes [%0], [%1], %2, [%3];" ::"r"(destination),
               "l"(source), "r"(bytes), "r"(barrier)
               : "memory");
}
MLSYS_INLINE void bulk_store(void *destination, u32 source, u32 bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(destination), "r"(source), "r"(bytes)
               : "memory");
}
MLSYS_INLINE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int pending> MLSYS_INLINE void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory");
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

MLSYS_INLINE void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
MLSYS_INLINE void group_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
MLSYS_INLINE void group_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

MLSYS_INLINE int cluster_rank() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
MLSYS_INLINE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
MLSYS_INLINE vec<float, 4> cluster_load(u32 address, int rank) {
  vec<float, 4> value;
  asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %4, %5;\n"
               "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n}"
               : "=f"(value.data[0]), "=f"(value.data[1]), "=f"(value.data[2]), "=f"(value.data[3])
               : "r"(address), "r"(rank)
               : "memory");
  return value;
}

//===----------------------------------------------------------------------===//
// Warpgroups
//===----------------------------------------------------------------------===//

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int n> MLSYS_INLINE void registers_release() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n)); }
template <int n> MLSYS_INLINE void registers_claim() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n)); }

MLSYS_INLINE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
MLSYS_INLINE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> MLSYS_INLINE void wgmma_wait_group() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// Keeps reads of the sums behind what stands before.
template <class T, int n> MLSYS_INLINE void wgmma_pin(T (&sums)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i)
    asm volatile("" : "+f"(sums[i])::"memory");
}
template <int n> MLSYS_INLINE void wgmma_pin(u32 (&registers)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i)
    asm volatile("" : "+r"(registers[i])::"memory");
}
template <class T, int n, int m> MLSYS_INLINE void wgmma_pin(T (&sums)[n][m]) {
#pragma unroll
  for (int i = 0; i < n; ++i)
    wgmma_pin(sums[i]);
}

template <class T, int N, bool transposedB> struct wgmma_body;

// The instruction names each register: the lists are built from shorter ones.
#define MLSYS_R4 "%0,%1,%2,%3"
#define MLSYS_R8 MLSYS_R4 ",%4,%5,%6,%7"
#define MLSYS_R12 MLSYS_R8 ",%8,%9,%10,%11"
#define MLSYS_R16 MLSYS_R12 ",%12,%13,%14,%15"
#define MLSYS_R24 MLSYS_R16 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define MLSYS_R32 MLSYS_R24 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define MLSYS_R48 MLSYS_R32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define MLSYS_R64 MLSYS_R48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define MLSYS_R96                                                                                                      \
  MLSYS_R64                                                                                                            \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%"                                             \
  "81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define MLSYS_R128                                                                                                     \
  MLSYS_R96 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%"                                          \
            "109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,"                                         \
            "%122,%123,%124,%125,%126,%127"
#define MLSYS_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MLSYS_D8(i) MLSYS_D4(i), MLSYS_D4(i + 4)
#define MLSYS_D12(i) MLSYS_D8(i), MLSYS_D4(i + 8)
#define MLSYS_D16(i) MLSYS_D8(i), MLSYS_D8(i + 8)
#define MLSYS_D24(i) MLSYS_D16(i), MLSYS_D8(i + 16)
#define MLSYS_D32(i) MLSYS_D16(i), MLSYS_D16(i + 16)
#define MLSYS_D48(i) MLSYS_D32(i), MLSYS_D16(i + 32)
#define MLSYS_D64(i) MLSYS_D32(i), MLSYS_D32(i + 32)
#define MLSYS_D96(i) MLSYS_D64(i), MLSYS_D32(i + 64)
#define MLSYS_D128(i) MLSYS_D64(i), MLSYS_D64(i + 64)
// N, its registers r, the type, and the numbers of the operands after them.
#define MLSYS_WGMMA(N, r, T, o0, o1, o2, o3, o4, o5, o6)                                                               \
  template <bool transposedB> struct wgmma_body<T, N, transposedB> {                                                   \
    static MLSYS_INLINE void shared(float *d, u64 a, u64 b, int accumulate) {                                          \
      asm volatile("{.reg .pred p;setp.ne.b32 p,%" #o2 ",0;wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T  \
                   "{" MLSYS_R##r "},%" #o0 ",%" #o1 ",p,1,1,0,%" #o3 ";}"                                             \
                   : MLSYS_D##r(0)                                                                                     \
                   : "l"(a), "l"(b), "r"(accumulate), "n"((int)transposedB)                                            \
                   : "memory");                                                                                        \
    }                                                                                                                  \
    static MLSYS_INLINE void fragment(float *d, const u32 *a, u64 b, int accumulate) {                                 \
      asm volatile("{.reg .pred p;setp.ne.b32 p,%" #o5 ",0;wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T  \
                   "{" MLSYS_R##r "},{%" #o0 ",%" #o1 ",%" #o2 ",%" #o3 "},%" #o4 ",p,1,1,%" #o6 ";}"                  \
                   : MLSYS_D##r(0)                                                                                     \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"((int)transposedB)        \
                   : "memory");                                                                                        \
    }                                                                                                                  \
  };
MLSYS_WGMMA(8, 4, bf16, 4, 5, 6, 7, 8, 9, 10)
MLSYS_WGMMA(8, 4, f16, 4, 5, 6, 7, 8, 9, 10)
MLSYS_WGMMA(16, 8, bf16, 8, 9, 10, 11, 12, 13, 14)
MLSYS_WGMMA(16, 8, f16, 8, 9, 10, 11, 12, 13, 14)
MLSYS_WGMMA(24, 12, bf16, 12, 13, 14, 15, 16, 17, 18)
MLSYS_WGMMA(24, 12, f16, 12, 13, 14, 15, 16, 17, 18)
MLSYS_WGMMA(32, 16, bf16, 16, 17, 18, 19, 20, 21, 22)
MLSYS_WGMMA(32, 16, f16, 16, 17, 18, 19, 20, 21, 22)
MLSYS_WGMMA(48, 24, bf16, 24, 25, 26, 27, 28, 29, 30)
MLSYS_WGMMA(48, 24, f16, 24, 25, 26, 27, 28, 29, 30)
MLSYS_WGMMA(64, 32, bf16, 32, 33, 34, 35, 36, 37, 38)
MLSYS_WGMMA(64, 32, f16, 32, 33, 34, 35, 36, 37, 38)
MLSYS_WGMMA(96, 48, bf16, 48, 49, 50, 51, 52, 53, 54)
MLSYS_WGMMA(96, 48, f16, 48, 49, 50, 51, 52, 53, 54)
MLSYS_WGMMA(128, 64, bf16, 64, 65, 66, 67, 68, 69, 70)
MLSYS_WGMMA(128, 64, f16, 64, 65, 66, 67, 68, 69, 70)
MLSYS_WGMMA(192, 96, bf16, 96, 97, 98, 99, 100, 101, 102)
MLSYS_WGMMA(192, 96, f16, 96, 97, 98, 99, 100, 101, 102)
MLSYS_WGMMA(256, 128, bf16, 128, 129, 130, 131, 132, 133, 134)
MLSYS_WGMMA(256, 128, f16, 128, 129, 130, 131, 132, 133, 134)

template <class T, int N, bool transposedB> MLSYS_INLINE void wgmma_shared(float *sums, u64 a, u64 b, bool accumulate) {
  wgmma_body<T, N, transposedB>::shared(sums, a, b, accumulate);
}
template <class T, int N, bool transposedB>
MLSYS_INLINE void wgmma_fragment(float *sums, const u32 *a, u64 b, bool accumulate) {
  wgmma_body<T, N, transposedB>::fragment(sums, a, b, accumulate);
}

#else

template <int n> MLSYS_INLINE void registers_release() { static_assert(n < 0, "setmaxnreg needs sm_90a"); }
template <int n> MLSYS_INLINE void registers_claim() { static_assert(n < 0, "setmaxnreg needs sm_90a"); }
template <int pending> MLSYS_INLINE void wgmma_wait_group() { static_assert(pending < 0, "wgmma needs sm_90a"); }
template <class Sums> MLSYS_INLINE void wgmma_pin(Sums &) {}
template <class T, int N, bool transposedB> MLSYS_INLINE void wgmma_shared(float *, u64, u64, bool) {
  static_assert(N < 0, "wgmma needs sm_90a");
}
template <class T, int N, bool transposedB> MLSYS_INLINE void wgmma_fragment(float *, const u32 *, u64, bool) {
  static_assert(N < 0, "wgmma needs sm_90a");
}

#endif
