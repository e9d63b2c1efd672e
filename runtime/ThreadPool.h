//===- ThreadPool.h - Fork and join in under two microseconds ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A decode step is hundreds of kernels of tens of microseconds, so workers
// spin for a while after each one before they sleep. A job is handed down a tree of
// workers, and its end is gathered up the same tree, so that no cache line is written
// or waited for by more than a few.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

namespace mlsys::rt {

/// How the CPUs that this process may use are laid out.
struct CpuTopology {
  /// One logical CPU for each physical core, in the machine's order: neighbours share a
  /// NUMA node.
  std::vector<int> cores;
  /// NUMA nodes that these cores belong to.
  int nodes = 1;
  /// CPUs that a container's quota allows; 0: no quota.
  int quota = 0;

  /// Affinity mask, topology and cgroup quota, read on the first call.
  static const CpuTopology &detect();
  /// Threads that keep all cores busy with none waiting for another.
  int defaultThreads() const;
};

/// Worker 0 is the thread that calls; the others are pinned to a core each when
/// there are enough cores.
class ThreadPool {
public:
  /// `threads` includes the caller; 0: one a core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int size() const { return int(workers.size()) + 1; }

  /// Calls `fn(begin, end, worker)` for ranges that cover [0, count) once each,
  /// and returns when all are done. Static: one contiguous range a worker.
  /// Dynamic: workers claim `grain` at a time. The first exception is thrown
  /// again here after the join. A call from inside `fn` runs on its own worker.
  /// `ahead`: memory of which the next call's workers will read one share each, in order;
  /// who has to wait for others fetches the begin of its share into its cache.
  template <typename Fn>
  void parallelFor(int64_t count, program::Schedule schedule, int64_t grain, Fn &&fn,
                   std::span<const std::byte> ahead = {}) {
    Job wanted;
    wanted.context = &fn;
    wanted.body = [](void *context, int64_t begin, int64_t end, int worker) {
      (*static_cast<std::remove_reference_t<Fn> *>(context))(begin, end, worker);
    };
    wanted.count = count;
    wanted.grain = grain;
    wanted.dynamic = schedule == program::Schedule::Dynamic;
    wanted.ahead = ahead;
    run(wanted);
  }

private:
  struct Job {
    void *context = nullptr;
    void (*body)(void *context, int64_t begin, int64_t end, int worker) = nullptr;
    int64_t count = 0, grain = 1;
    bool dynamic = false;
    /// Workers that have a share.
    int participants = 0;
    std::span<const std::byte> ahead;
  };
  /// A number that one thread writes and one thread waits for.
  struct alignas(64) Signal {
    std::atomic<uint32_t> value{0};
    std::atomic<bool> asleep{false};
  };
  /// What a worker tells its parent in the tree, and hears from it: the number of a job.
  struct Seat {
    Signal begun, done;
  };
  class Prefetch;

  void run(Job wanted);
  void work(int worker, int core);
  void begin(int worker, uint32_t number);
  void finish(int worker, uint32_t number, Prefetch &prefetch);
  void stop();
  void doShare(int worker) noexcept;
  uint32_t wait(Signal &signal, uint32_t old, Prefetch &prefetch) const;
  static void post(Signal &signal, uint32_t value);

  std::vector<std::thread> workers;
  std::unique_ptr<Seat[]> seats;
  /// There is a core for each worker.
  bool enoughCores = false;
  /// Workers that each worker hands a job on to: the tree's fan-out.
  int children = 1;

  // Written by the caller while no worker is in a job.
  Job job;
  uint32_t jobs = 0;
  std::exception_ptr failure;
  bool stopping = false;

  std::mutex failureMutex, callMutex;
  alignas(64) std::atomic<int64_t> next{0};
};

} // namespace mlsys::rt
