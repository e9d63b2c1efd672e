//===- ThreadPool.h - Fork and join in under two microseconds ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A decode step is hundreds of kernels of tens of microseconds, so workers
// spin for a while after each one before they sleep.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace mlsys::rt {

/// How the CPUs that this process may use are laid out.
struct CpuTopology {
  /// One logical CPU for each physical core, in the machine's order.
  std::vector<int> cores;
  /// CPUs that a container's quota allows; 0: no quota.
  int quota = 0;

  /// Reads affinity mask, topology and cgroup quota.
  static CpuTopology detect();
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
  template <typename Fn>
  void parallelFor(int64_t count, program::Schedule schedule, int64_t grain, Fn &&fn) {
    run(count, schedule, grain, &fn, [](void *context, int64_t begin, int64_t end, int worker) {
      (*static_cast<std::remove_reference_t<Fn> *>(context))(begin, end, worker);
    });
  }

private:
  using Body = void (*)(void *context, int64_t begin, int64_t end, int worker);

  void run(int64_t count, program::Schedule schedule, int64_t grain, void *context, Body body);
  void work(int worker, int core);
  void doShare(int worker) noexcept;

  std::vector<std::thread> workers;
  int spins = 0;

  // The job, written by the caller before `epoch` grows.
  void *context = nullptr;
  Body body = nullptr;
  int64_t count = 0, grain = 1;
  int participants = 0;
  bool dynamic = false;
  std::exception_ptr failure;
  std::mutex failureMutex, callMutex;

  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<bool> stopping{false};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint32_t> running{0};
};

} // namespace mlsys::rt
