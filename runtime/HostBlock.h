//===- HostBlock.h - The blocks of a cluster as fibers ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What HostExecutor.cpp uses to run one block, or the blocks of one cluster at the same time, on the calling OS
// thread.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/HostAsync.h"
#include "runtime/HostExecutor.h"

#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Anonymous memory, unmapped at the end.
struct HostMapping {
  unsigned char *data = nullptr;
  size_t bytes = 0;
  HostMapping() = default;
  /// Throws rt::Error when there is no memory.
  explicit HostMapping(size_t bytes);
  HostMapping(HostMapping &&other) noexcept;
  HostMapping &operator=(HostMapping &&other) noexcept;
  ~HostMapping();
};

/// Turns a bad access in a fiber into the end of its block. Once per process.
void installHostFaultHandler();

/// While it lives, faults of this OS thread are handled on a stack of their own, since a
/// fiber's may be what overflowed.
class HostSignalStack {
public:
  HostSignalStack();
  ~HostSignalStack();

private:
  HostMapping memory;
  struct State;
  std::unique_ptr<State> previous;
};

/// Runs clusters of blocks (of one, where the kernel has none), one after the other. The Context is the base, so that
/// what the device library calls finds its way back; it shows the block of the thread that runs.
struct HostBlock : host::Context {
  /// A copy whose bytes have not arrived.
  struct Copy {
    unsigned destination;
    const void *source;
    int bytes;
  };

  struct Warp;
  struct Part;

  /// One CUDA thread.
  struct Fiber {
    void *stackPointer;
    /// Among all threads of the cluster, and in its block.
    int index, thread;
    Part *part;
    Warp *warp;
    bool done;
    /// Waits until *generation differs from `seen`; runnable when null.
    const uint64_t *generation;
    uint64_t seen;
    const char *where;
    /// Copies not yet in a group, and groups not yet landed.
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
  };

  /// A warp's meeting for a collective operation.
  struct Warp {
    void *arguments[32];
    int lanes = 32;
    int arrived = 0;
    const char *operation = nullptr;
    uint64_t generation = 0;
  };

  /// One block of the cluster.
  struct Part {
    int rank = 0;
    host::Dim3 index;
    unsigned char *shared = nullptr, *scratch = nullptr;
    uint64_t barrierGeneration = 0;
    /// Threads at bar_sync, and those that have not ended.
    int arrived = 0, expected = 0;
    HostAsync async;
  };

  static constexpr int maxThreads = 1024;
  /// Blocks of a cluster that every GPU with clusters takes.
  static constexpr int maxCluster = 8;

  const HostLaunch *launch = nullptr;
  HostSchedule schedule = HostSchedule::Forward;
  HostMapping stacks, memory;
  size_t sharedCapacity = 0;
  /// Threads of a block.
  int threads = 0;
  std::vector<Part> parts;
  std::vector<Fiber> fibers;
  std::vector<int> order, position;
  std::vector<Warp> warps;
  uint64_t clusterGeneration = 0;
  /// Threads at cluster_sync, and those that have not ended.
  int clusterArrived = 0, clusterExpected = 0;
  Fiber *active = nullptr;
  void *mainStackPointer = nullptr;
  uint64_t random = 0;

  /// What went wrong, empty when nothing did. After a bad access `faultSignal` and
  /// `faultAddress` say more.
  std::string error;
  int faultSignal = 0;
  const void *faultAddress = nullptr;

  /// Sets up for the blocks of a launch.
  void prepare(const HostLaunch &next, HostSchedule nextSchedule);
  /// Runs the cluster whose first block is `index` to its end or to the first error.
  void run(host::Dim3 index);
  /// True when the error is an access to memory that is not the kernel's.
  bool isAccessFault() const;

  // The rest is for the fibers.
  void startFiber(int index);
  void switchTo(Fiber &fiber);
  Fiber *nextRunnable();
  void waitFor(const uint64_t &generation, const char *where);
  /// In the random schedule, lets other threads run first.
  void maybeYield();
  void releaseBarrierIfComplete(Part &part);
  void releaseClusterIfComplete();
  /// Lets one load of a block land; false when none is under way.
  bool advance();
  [[noreturn]] void leave();
  [[noreturn]] void failHere(const std::string &message);
  void failedAt(std::string_view message);
  void land(const std::vector<Copy> &copies);
  std::string placesOfThreads() const;
  std::string describeBarriers() const;
  uint64_t nextRandom();
};

} // namespace mlsys::rt
