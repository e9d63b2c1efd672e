//===- host_async.h - Asynchronous work on the host -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What hopper.cuh asks of the host executor: mbarriers, bulk copies, wgmma,
// barriers of some warps. Included by host.h; shared by the runtime and the
// compiled kernels.
//
//===----------------------------------------------------------------------===//
#pragma once

namespace mlsys::host {

struct Context;

/// A tensor map on the host, in the place of the driver's 128 bytes. Dimension
/// 0 is the one whose elements are neighbours.
struct TensorMap {
  static constexpr unsigned marker = 0x70616d74;
  unsigned magic;
  unsigned short rank, elementBytes;
  unsigned char *base;
  unsigned long long extents[5];
  /// Bytes from one index to the next, of dimensions 1 and up.
  unsigned long long strides[4];
  unsigned short box[5];
  /// Bytes of a row of the box, whose chunks of 16 are exchanged: 0 or 128.
  unsigned short swizzle;
};
static_assert(sizeof(TensorMap) <= 128);

/// One copy of the bulk copy engine.
struct BulkCopy {
  /// For messages.
  const char *operation;
  /// A tile of a tensor, or null: `bytes` at `global`.
  const TensorMap *map;
  int rank;
  int coordinates[5];
  unsigned char *global;
  unsigned bytes;
  /// Offsets into shared memory; the mbarrier is a load's.
  unsigned shared, barrier;
  /// Not 0: the copy goes to the same place of these blocks of the cluster, a bit each, and counts at their mbarriers.
  unsigned ranks;
};

/// One thread's part of a wgmma: 64 x columns sums, 16 products each.
struct Multiply {
  const char *operation;
  int columns;
  /// A comes from registers; B is [k][n] and not [n][k] in shared memory.
  bool fragmentA, transposedB;
  /// Adds to the sums; otherwise replaces them.
  bool accumulate;
  unsigned long long a, b;
  /// columns / 2 sums and four registers of A.
  float *sums;
  const unsigned *fragment;
  /// Adds the product to [64][columns] sums. `fragments` holds the threads'
  /// registers of A.
  void (*execute)(const Multiply &, const unsigned char *shared, const unsigned *fragments, float *sums);
};

/// The part of the Context that asynchronous operations need.
struct AsyncCalls {
  void (*initBarrier)(Context *, unsigned barrier, unsigned arrivals);
  /// Inits become visible to the copy engine.
  void (*fenceInit)(Context *);
  /// One arrival, after the phase was made to wait for so many bytes more.
  void (*arrive)(Context *, unsigned barrier, unsigned bytes);
  /// Returns when the phase of this parity has ended.
  void (*waitBarrier)(Context *, unsigned barrier, unsigned parity);
  void (*load)(Context *, const BulkCopy &);
  void (*store)(Context *, const BulkCopy &);
  void (*commitStores)(Context *);
  void (*waitStores)(Context *, int pending);
  /// This thread's writes to shared memory become visible to copy engine and
  /// wgmma.
  void (*fenceProxy)(Context *);
  void (*groupBarrier)(Context *, int id, int threads, bool wait);
  void (*multiply)(Context *, const Multiply &);
  void (*fenceMultiply)(Context *);
  void (*commitMultiply)(Context *);
  void (*waitMultiply)(Context *, int pending);
  void (*setRegisters)(Context *, int registers, bool claim);
  /// An arrival at the mbarrier of the cluster's block `rank`.
  void (*arriveCluster)(Context *, unsigned barrier, unsigned rank);
  int (*clusterRank)(Context *);
  /// Returns when every thread of the cluster that still runs has called it.
  void (*clusterSync)(Context *);
  /// Where `bytes` of the shared memory of the cluster's block `rank` are.
  const unsigned char *(*clusterShared)(Context *, unsigned address, unsigned bytes, unsigned rank);
};

} // namespace mlsys::host
