//===- host_hopper.h - The host bodies of hopper.cuh ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Included by hopper.cuh. The executor keeps what is under way
// (runtime/HostAsync.h).
//
//===----------------------------------------------------------------------===//
#pragma once

namespace mlsys::host {

inline const AsyncCalls &async() { return *current->asyncCalls; }

inline BulkCopy tile(const char *operation, const tensor_map &map, u32 shared, int rank, int x, int y, int z, int w) {
  BulkCopy copy = {};
  copy.operation = operation;
  copy.map = (const TensorMap *)&map;
  copy.rank = rank;
  copy.coordinates[0] = x;
  copy.coordinates[1] = y;
  copy.coordinates[2] = z;
  copy.coordinates[3] = w;
  copy.shared = shared;
  return copy;
}
inline void loadTile(BulkCopy copy, u32 barrier) {
  copy.barrier = barrier;
  async().load(current, copy);
}

/// Element (row, k) of a tile of rows of 64, chunks exchanged.
template <class T> inline float element(const unsigned char *shared, u32 address) {
  T value;
  __builtin_memcpy(&value.bits, shared + (address ^ (((address >> 7) & 7) << 4)), 2);
  return (float)value;
}

template <class T>
inline void executeMultiply(const Multiply &self, const u8 *shared, const u32 *fragments, float *sums) {
  float left[64][16], right[16][256];
  const int columns = self.columns;
  auto start = [](u64 descriptor) { return (u32)(descriptor & 0x3fff) << 4; };
  auto step = [](u64 descriptor, int bit) { return (u32)((descriptor >> bit) & 0x3fff) << 4; };
  if (self.fragmentA) {
    for (int t = 0; t < 128; ++t)
      for (int e = 0; e < 8; ++e) {
        T value;
        value.bits = (u16)(fragments[t * 4 + e / 2] >> (e % 2 * 16));
        left[t / 32 * 16 + t % 32 / 4 + (e / 2 & 1) * 8][t % 4 * 2 + e % 2 + (e / 4) * 8] = (float)value;
      }
  } else {
    for (int m = 0; m < 64; ++m)
      for (int k = 0; k < 16; ++k)
        left[m][k] = element<T>(shared, start(self.a) + m / 8 * step(self.a, 32) + m % 8 * 128 + k * 2);
  }
  for (int k = 0; k < 16; ++k)
    for (int n = 0; n < columns; ++n)
      right[k][n] = self.transposedB
                        ? element<T>(shared, start(self.b) + n / 64 * step(self.b, 16) + n % 64 * 2 +
                                                 k / 8 * step(self.b, 32) + k % 8 * 128)
                        : element<T>(shared, start(self.b) + n / 8 * step(self.b, 32) + n % 8 * 128 + k * 2);
  for (int m = 0; m < 64; ++m) {
    float *row = sums + m * columns;
    if (!self.accumulate)
      for (int n = 0; n < columns; ++n)
        row[n] = 0.0f;
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < columns; ++n)
        row[n] += left[m][k] * right[k][n];
  }
}

template <class T, bool transposedB> inline Multiply multiplyOf(int columns, float *sums, u64 b, bool accumulate) {
  Multiply self = {};
  self.operation = "wgmma";
  self.columns = columns;
  self.transposedB = transposedB;
  self.accumulate = accumulate;
  self.b = b;
  self.sums = sums;
  self.execute = executeMultiply<T>;
  return self;
}

} // namespace mlsys::host

inline void mbarrier_init(u32 barrier, u32 arrivals) {
  mlsys::host::async().initBarrier(mlsys::host::current, barrier, arrivals);
}
inline void mbarrier_fence() { mlsys::host::async().fenceInit(mlsys::host::current); }
inline void mbarrier_arrive(u32 barrier) { mlsys::host::async().arrive(mlsys::host::current, barrier, 0); }
inline void mbarrier_arrive_expect(u32 barrier, u32 bytes) {
  mlsys::host::async().arrive(mlsys::host::current, barrier, bytes);
}
inline void mbarrier_arrive_cluster(u32 barrier, u32 rank) {
  mlsys::host::async().arriveCluster(mlsys::host::current, barrier, rank);
}
inline void mbarrier_wait(u32 barrier, u32 parity) {
  mlsys::host::async().waitBarrier(mlsys::host::current, barrier, parity);
}

inline void tma_prefetch(const tensor_map &) {}
inline void tma_load_2d(u32 destination, const tensor_map &map, u32 barrier, int x, int y) {
  mlsys::host::loadTile(mlsys::host::tile("tma_load_2d", map, destination, 2, x, y, 0, 0), barrier);
}
inline void tma_load_2d_cluster(u32 destination, const tensor_map &map, u32 barrier, int x, int y, u32 ranks) {
  mlsys::host::BulkCopy copy = mlsys::host::tile("tma_load_2d_cluster", map, destination, 2, x, y, 0, 0);
  copy.ranks = ranks;
  mlsys::host::loadTile(copy, barrier);
}
inline void tma_load_3d(u32 destination, const tensor_map &map, u32 barrier, int x, int y, int z) {
  mlsys::host::loadTile(mlsys::host::tile("tma_load_3d", map, destination, 3, x, y, z, 0), barrier);
}
inline void tma_load_4d(u32 destination, const tensor_map &map, u32 barrier, int x, int y, int z, int w) {
  mlsys::host::loadTile(mlsys::host::tile("tma_load_4d", map, destination, 4, x, y, z, w), barrier);
}
inline void tma_store_2d(const tensor_map &map, int x, int y, u32 source) {
  mlsys::host::async().store(mlsys::host::current, mlsys::host::tile("tma_store_2d", map, source, 2, x, y, 0, 0));
}
inline void tma_store_3d(const tensor_map &map, int x, int y, int z, u32 source) {
  mlsys::host::async().store(mlsys::host::current, mlsys::host::tile("tma_store_3d", map, source, 3, x, y, z, 0));
}
inline void bulk_load(u32 destination, const void *source, u32 bytes, u32 barrier) {
  mlsys::host::BulkCopy copy = {};
  copy.operation = "bulk_load";
  copy.global = (u8 *)source;
  copy.bytes = bytes;
  copy.shared = destination;
  mlsys::host::loadTile(copy, barrier);
}
inline void bulk_store(void *destination, u32 source, u32 bytes) {
  mlsys::host::BulkCopy copy = {};
  copy.operation = "bulk_store";
  copy.global = (u8 *)destination;
  copy.bytes = bytes;
  copy.shared = source;
  mlsys::host::async().store(mlsys::host::current, copy);
}
inline void bulk_commit() { mlsys::host::async().commitStores(mlsys::host::current); }
template <int pending> inline void bulk_wait() { mlsys::host::async().waitStores(mlsys::host::current, pending); }

inline void proxy_fence() { mlsys::host::async().fenceProxy(mlsys::host::current); }
inline int cluster_rank() { return mlsys::host::async().clusterRank(mlsys::host::current); }
inline void cluster_sync() { mlsys::host::async().clusterSync(mlsys::host::current); }
inline vec<float, 4> cluster_load(u32 address, int rank) {
  vec<float, 4> result;
  __builtin_memcpy(&result, mlsys::host::async().clusterShared(mlsys::host::current, address, 16, (u32)rank), 16);
  return result;
}
inline void group_sync(int id, int threads) {
  mlsys::host::async().groupBarrier(mlsys::host::current, id, threads, true);
}
inline void group_arrive(int id, int threads) {
  mlsys::host::async().groupBarrier(mlsys::host::current, id, threads, false);
}
template <int n> inline void registers_release() { mlsys::host::async().setRegisters(mlsys::host::current, n, false); }
template <int n> inline void registers_claim() { mlsys::host::async().setRegisters(mlsys::host::current, n, true); }

inline void wgmma_fence() { mlsys::host::async().fenceMultiply(mlsys::host::current); }
inline void wgmma_commit() { mlsys::host::async().commitMultiply(mlsys::host::current); }
template <int pending> inline void wgmma_wait_group() {
  mlsys::host::async().waitMultiply(mlsys::host::current, pending);
}
template <class Sums> inline void wgmma_pin(Sums &) {}

template <class T, int N, bool transposedB> inline void wgmma_shared(float *sums, u64 a, u64 b, bool accumulate) {
  mlsys::host::Multiply self = mlsys::host::multiplyOf<T, transposedB>(N, sums, b, accumulate);
  self.a = a;
  mlsys::host::async().multiply(mlsys::host::current, self);
}
template <class T, int N, bool transposedB>
inline void wgmma_fragment(float *sums, const u32 *a, u64 b, bool accumulate) {
  mlsys::host::Multiply self = mlsys::host::multiplyOf<T, transposedB>(N, sums, b, accumulate);
  self.fragmentA = true;
  self.fragment = a;
  mlsys::host::async().multiply(mlsys::host::current, self);
}
