//===- HostAsync.h - What runs beside a block's threads ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// mbarriers, bulk copies, wgmma and barriers of some warps for HostBlock. What
// a GPU leaves open is chosen so that mistakes show:
//
// * A load makes its destination NaN and lands when no thread can run (or, in
// the random
//   schedule, at any switch); a store is done when it is waited for.
// * wgmma reads shared memory when it is waited for; until then its sums are
// NaN, and writing
//   them is an error.
// * Copies and wgmma have a view of shared memory of their own, which a
// thread's stores reach
//   by proxy_fence.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/HostExecutor.h"

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace mlsys::rt {

struct HostBlock;

/// The asynchronous work of one block.
class HostAsync {
public:
  /// What the device library calls.
  static const host::AsyncCalls calls;

  /// Forgets the block before. `rank`: of the block in its cluster.
  void start(HostBlock &block, int rank, unsigned char *shared);
  /// Lets one load land; false when none is under way.
  bool advance();
  /// What the block has left undone at its end; empty when nothing.
  std::string unfinished() const;
  /// What the mbarriers that threads wait for lack, for the message of a
  /// deadlock.
  std::string describeBarriers() const;

private:
  friend struct AsyncEntry;

  struct Barrier {
    unsigned arrivals = 0;
    int pending = 0;
    int64_t bytes = 0;
    uint64_t phases = 0;
    int waiting = 0;
    bool fenced = false;
  };
  struct Load {
    host::BulkCopy copy;
    host::TensorMap map;
  };
  struct Stores {
    std::vector<Load> open;
    std::deque<std::vector<Load>> groups;
  };
  /// Threads that meet under a number.
  struct NamedBarrier {
    int threads = 0, arrived = 0;
    uint64_t generation = 0;
  };
  /// The sums of a wgmma under way: [64][columns], and where the threads have
  /// them.
  struct Sums {
    int columns = 0, uses = 0;
    std::vector<float *> places;
    std::vector<float> values;
  };
  struct Product {
    host::Multiply multiply;
    std::vector<unsigned> fragments;
    size_t sums;
  };
  struct Warpgroup {
    const void *arguments[128];
    int arrived = 0;
    const char *operation = nullptr;
    uint64_t generation = 0;
    bool fenced = false;
    int registers = 0;
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
    std::map<size_t, Sums> sums;
    size_t nextSums = 0;
  };

  [[noreturn]] void fail(const std::string &message);
  Barrier &barrierAt(unsigned address, const char *operation);
  void endPhase(Barrier &barrier);
  void needView();
  void checkShared(const host::BulkCopy &copy, uint64_t bytes, unsigned alignment);
  Load checked(const host::BulkCopy &copy);
  template <class Visit> void forEachChunk(const Load &load, Visit visit) const;
  void land(const Load &load);
  void write(const Load &load);
  /// Calls `last` in the last of the warpgroup's threads to come.
  template <class Last> void meet(const char *operation, const void *argument, Last last);
  void issue(Warpgroup &group);
  void execute(Warpgroup &group, const Product &product);
  void giveBack(Sums &sums);

  /// Of the asynchronous work of the cluster's block `other`, for `operation`; fails when it has ended.
  HostAsync &ofRank(unsigned other, const char *operation);
  void beginLoad(const host::BulkCopy &copy);
  void arriveAt(unsigned address, unsigned bytes);

  HostBlock *block = nullptr;
  int rank = 0;
  unsigned char *shared = nullptr;
  /// Shared memory as copies and wgmma see it.
  std::vector<unsigned char> view;
  std::map<unsigned, Barrier> barriers;
  std::vector<Load> loads;
  std::map<int, Stores> stores;
  std::map<int, NamedBarrier> named;
  std::map<int, Warpgroup> warpgroups;
};

} // namespace mlsys::rt
