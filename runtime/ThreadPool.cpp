//===- ThreadPool.cpp - Fork and join in under two microseconds -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ThreadPool.h"

#include "runtime/Error.h"

#include <algorithm>
#include <fstream>
#include <hwloc.h>
#include <pthread.h>
#include <sched.h>

using namespace mlsys::rt;
using mlsys::program::Schedule;

/// Iterations of `pause` before a waiter sleeps: 50 to 200 microseconds.
static constexpr int spinLimit = 4000;
static constexpr int maxThreads = 1024;

/// The worker that this thread is while it runs a share, or -1.
static thread_local int currentWorker = -1;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// CPUs that the cgroup's quota allows, rounded up; 0 without a quota.
static int readQuota() {
  double quota = 0, period = 0;
  std::ifstream unified("/sys/fs/cgroup/cpu.max");
  if (unified >> quota >> period && quota > 0 && period > 0)
    return std::max(1, int((quota + period - 1) / period));
  std::ifstream oldQuota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream oldPeriod("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (oldQuota >> quota && oldPeriod >> period && quota > 0 && period > 0)
    return std::max(1, int((quota + period - 1) / period));
  return 0;
}

CpuTopology CpuTopology::detect() {
  CpuTopology result;
  result.quota = readQuota();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    for (unsigned cpu = 0; cpu < std::max(1u, std::thread::hardware_concurrency()); ++cpu)
      CPU_SET(cpu, &allowed);
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) == 0) {
    if (hwloc_topology_load(topology) == 0) {
      int count = std::max(0, hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE));
      for (int i = 0; i < count; ++i) {
        hwloc_obj_t core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, unsigned(i));
        int cpu = -1;
        while ((cpu = hwloc_bitmap_next(core->cpuset, cpu)) != -1)
          if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &allowed)) {
            result.cores.push_back(cpu);
            break;
          }
      }
    }
    hwloc_topology_destroy(topology);
  }
  // Where the topology is hidden, every CPU counts as a core.
  if (result.cores.empty())
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed))
        result.cores.push_back(cpu);
  return result;
}

int CpuTopology::defaultThreads() const {
  int threads = std::max(1, int(cores.size()));
  if (quota > 0)
    threads = std::min(threads, quota);
  return std::min(threads, maxThreads);
}

ThreadPool::ThreadPool(int threads) {
  if (threads < 0 || threads > maxThreads)
    throw Error("wrong number of threads {}: expected 1 to {}", threads, maxThreads);
  CpuTopology topology = CpuTopology::detect();
  if (threads == 0)
    threads = topology.defaultThreads();
  // A waiter that spins on a core which a worker needs would slow the work.
  bool enough = threads <= topology.defaultThreads();
  spins = enough ? spinLimit : 0;
  bool pin = enough && topology.quota == 0;
  try {
    for (int worker = 1; worker < threads; ++worker)
      workers.emplace_back(&ThreadPool::work, this, worker,
                           pin ? topology.cores[size_t(worker)] : -1);
  } catch (const std::system_error &error) {
    stopping = true;
    epoch.fetch_add(1);
    epoch.notify_all();
    for (std::thread &worker : workers)
      worker.join();
    throw Error("cannot start {} threads: {}", threads, error.what());
  }
}

ThreadPool::~ThreadPool() {
  stopping = true;
  epoch.fetch_add(1);
  epoch.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::work(int worker, int core) {
  if (core >= 0) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(core, &mask);
    // Without the right to pin, the scheduler's choice is good too.
    pthread_setaffinity_np(pthread_self(), sizeof(mask), &mask);
  }
  uint32_t seen = 0;
  while (true) {
    for (int i = 0; i < spins && epoch.load(std::memory_order_acquire) == seen; ++i)
      relax();
    while (epoch.load(std::memory_order_acquire) == seen)
      epoch.wait(seen, std::memory_order_acquire);
    seen = epoch.load(std::memory_order_acquire);
    if (stopping.load(std::memory_order_relaxed))
      return;
    doShare(worker);
    if (running.fetch_sub(1, std::memory_order_acq_rel) == 1)
      running.notify_one();
  }
}

void ThreadPool::doShare(int worker) noexcept {
  if (worker >= participants)
    return;
  currentWorker = worker;
  try {
    if (!dynamic) {
      // 128-bit: count * participants may not fit.
      auto cut = [&](int share) { return int64_t(__int128(count) * share / participants); };
      body(context, cut(worker), cut(worker + 1), worker);
    } else {
      while (true) {
        int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count)
          break;
        body(context, begin, begin + std::min(grain, count - begin), worker);
      }
    }
  } catch (...) {
    // What is left of a dynamic job is not begun.
    next.store(count, std::memory_order_relaxed);
    std::lock_guard lock(failureMutex);
    if (!failure)
      failure = std::current_exception();
  }
  currentWorker = -1;
}

void ThreadPool::run(int64_t jobCount, Schedule schedule, int64_t jobGrain, void *jobContext,
                     Body jobBody) {
  if (jobCount <= 0)
    return;
  if (currentWorker >= 0)
    return jobBody(jobContext, 0, jobCount, currentWorker);
  jobGrain = std::clamp<int64_t>(jobGrain, 1, jobCount);
  int64_t pieces = schedule == Schedule::Dynamic ? (jobCount - 1) / jobGrain + 1 : jobCount;
  std::lock_guard lock(callMutex);
  if (workers.empty() || pieces == 1) {
    currentWorker = 0;
    struct Leave {
      ~Leave() { currentWorker = -1; }
    } leave;
    return jobBody(jobContext, 0, jobCount, 0);
  }
  context = jobContext;
  body = jobBody;
  count = jobCount;
  grain = jobGrain;
  dynamic = schedule == Schedule::Dynamic;
  participants = int(std::min<int64_t>(pieces, size()));
  failure = nullptr;
  next.store(0, std::memory_order_relaxed);
  running.store(uint32_t(workers.size()), std::memory_order_relaxed);
  epoch.fetch_add(1, std::memory_order_release);
  epoch.notify_all();
  doShare(0);
  uint32_t left = running.load(std::memory_order_acquire);
  for (int i = 0; i < spins && left != 0; ++i) {
    relax();
    left = running.load(std::memory_order_acquire);
  }
  while ((left = running.load(std::memory_order_acquire)) != 0)
    running.wait(left, std::memory_order_acquire);
  if (failure)
    std::rethrow_exception(failure);
}
