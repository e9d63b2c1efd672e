//===- ThreadPool.cpp - Fork and join in under two microseconds -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ThreadPool.h"

#include "runtime/Error.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <set>
#include <utility>

using namespace mlsys::rt;

/// How long a waiter spins, and how long it then lets other threads have its core, before it
/// sleeps. Waking a thread takes some 50 microseconds.
static constexpr auto spinTime = std::chrono::microseconds(50);
static constexpr auto yieldTime = std::chrono::milliseconds(2);
/// Looks at a signal between two looks at the clock, and before a sleep where cores are few.
static constexpr int looks = 16;
static constexpr int maxThreads = 1024;
/// Workers that one worker hands a job on to where each has a core.
static constexpr int treeChildren = 4;
/// What a worker fetches ahead of a job.
static constexpr size_t prefetchBytes = 384 << 10;

/// The pool and worker that this thread is while it runs a share.
static thread_local const ThreadPool *currentPool = nullptr;
static thread_local int currentWorker = -1;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

//===----------------------------------------------------------------------===//
// Topology
//===----------------------------------------------------------------------===//

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

static CpuTopology readTopology() {
  CpuTopology result;
  result.quota = readQuota();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    for (unsigned cpu = 0; cpu < std::max(1u, std::thread::hardware_concurrency()); ++cpu)
      CPU_SET(cpu, &allowed);
  std::set<int> nodes;
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
            nodes.insert(core->nodeset ? hwloc_bitmap_first(core->nodeset) : 0);
            break;
          }
      }
    }
    hwloc_topology_destroy(topology);
  }
  result.nodes = std::max(1, int(nodes.size()));
  // Where the topology is hidden, every CPU counts as a core.
  if (result.cores.empty())
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed))
        result.cores.push_back(cpu);
  return result;
}

const CpuTopology &CpuTopology::detect() {
  static const CpuTopology topology = readTopology();
  return topology;
}

int CpuTopology::defaultThreads() const {
  int threads = std::max(1, int(cores.size()));
  if (quota > 0)
    threads = std::min(threads, quota);
  return std::min(threads, maxThreads);
}

//===----------------------------------------------------------------------===//
// Waiting
//===----------------------------------------------------------------------===//

/// Fetches the begin of one worker's share of memory, a few lines at a time.
class ThreadPool::Prefetch {
public:
  Prefetch() = default;
  Prefetch(std::span<const std::byte> memory, int worker, int size) {
    size_t share = memory.size() / size_t(size);
    position = memory.data() + share * size_t(worker);
    end = position + std::min(share, prefetchBytes);
  }

  void step() {
    constexpr size_t line = 64;
    for (int i = 0; i < 4 && position < end; ++i, position += line)
      __builtin_prefetch(position, /*write=*/0, /*locality=*/2);
  }

private:
  const std::byte *position = nullptr, *end = nullptr;
};

/// Waits until the signal is not `old`, and gives what it is. No wake-up is lost: `post`
/// writes the value and then reads `asleep`, this writes `asleep` and then reads the value, all
/// in one order (seq_cst), so one of the two sees the other's write.
uint32_t ThreadPool::wait(Signal &signal, uint32_t old, Prefetch &prefetch) const {
  using Clock = std::chrono::steady_clock;
  uint32_t value;
  auto changed = [&] { return (value = signal.value.load(std::memory_order_acquire)) != old; };
  if (changed())
    return value;
  if (enoughCores) {
    Clock::time_point start = Clock::now(), now = start;
    while (now - start < yieldTime) {
      for (int i = 0; i < looks; ++i) {
        prefetch.step();
        relax();
        if (changed())
          return value;
      }
      now = Clock::now();
      // Should another program want this core, it may be the one to wait for.
      if (now - start > spinTime)
        ::sched_yield();
    }
  } else {
    // A waiter that spins on a core which a worker needs would slow the work.
    for (int i = 0; i < looks; ++i) {
      ::sched_yield();
      if (changed())
        return value;
    }
  }
  signal.asleep.store(true, std::memory_order_seq_cst);
  while ((value = signal.value.load(std::memory_order_seq_cst)) == old)
    signal.value.wait(old, std::memory_order_seq_cst);
  signal.asleep.store(false, std::memory_order_relaxed);
  return value;
}

void ThreadPool::post(Signal &signal, uint32_t value) {
  signal.value.store(value, std::memory_order_seq_cst);
  if (signal.asleep.load(std::memory_order_seq_cst))
    signal.value.notify_one();
}

//===----------------------------------------------------------------------===//
// The pool
//===----------------------------------------------------------------------===//

ThreadPool::ThreadPool(int threads) {
  if (threads < 0 || threads > maxThreads)
    throw Error("wrong number of threads {}: expected 1 to {}", threads, maxThreads);
  const CpuTopology &topology = CpuTopology::detect();
  if (threads == 0)
    threads = topology.defaultThreads();
  enoughCores = threads <= topology.defaultThreads();
  // Where threads wait for a core, the fewest wake-ups are best: the caller's alone.
  children = enoughCores ? treeChildren : std::max(1, threads);
  bool pin = enoughCores && topology.quota == 0;
  seats = std::make_unique<Seat[]>(size_t(threads));
  try {
    for (int worker = 1; worker < threads; ++worker)
      workers.emplace_back(&ThreadPool::work, this, worker,
                           pin ? topology.cores[size_t(worker)] : -1);
  } catch (const std::system_error &error) {
    stop();
    throw Error("cannot start {} threads: {}", threads, error.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping = true;
  for (size_t worker = 1; worker <= workers.size(); ++worker)
    post(seats[worker].begun, jobs + 1);
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
  uint32_t number = 0;
  Prefetch prefetch;
  while (true) {
    number = wait(seats[worker].begun, number, prefetch);
    if (stopping)
      return;
    begin(worker, number);
    doShare(worker);
    prefetch = Prefetch(job.ahead, worker, size());
    finish(worker, number, prefetch);
    post(seats[worker].done, number);
  }
}

/// Hands a job on to the children of a worker.
void ThreadPool::begin(int worker, uint32_t number) {
  int last = std::min(children * (worker + 1), job.participants - 1);
  for (int child = children * worker + 1; child <= last; ++child)
    post(seats[child].begun, number);
}

/// Waits until the children of a worker have done a job.
void ThreadPool::finish(int worker, uint32_t number, Prefetch &prefetch) {
  int last = std::min(children * (worker + 1), job.participants - 1);
  for (int child = children * worker + 1; child <= last; ++child) {
    Signal &done = seats[child].done;
    for (uint32_t seen = done.value.load(std::memory_order_acquire); seen != number;)
      seen = wait(done, seen, prefetch);
  }
}

void ThreadPool::doShare(int worker) noexcept {
  const ThreadPool *outerPool = std::exchange(currentPool, this);
  int outerWorker = std::exchange(currentWorker, worker);
  try {
    if (!job.dynamic) {
      // 128-bit: count * participants may not fit.
      auto cut = [&](int share) {
        return int64_t(__int128(job.count) * share / job.participants);
      };
      job.body(job.context, cut(worker), cut(worker + 1), worker);
    } else {
      while (true) {
        int64_t begin = next.fetch_add(job.grain, std::memory_order_relaxed);
        if (begin >= job.count)
          break;
        job.body(job.context, begin, begin + std::min(job.grain, job.count - begin), worker);
      }
    }
  } catch (...) {
    // What is left of a dynamic job is not begun.
    next.store(job.count, std::memory_order_relaxed);
    std::lock_guard lock(failureMutex);
    if (!failure)
      failure = std::current_exception();
  }
  currentPool = outerPool;
  currentWorker = outerWorker;
}

void ThreadPool::run(Job wanted) {
  if (wanted.count <= 0)
    return;
  if (currentPool == this)
    return wanted.body(wanted.context, 0, wanted.count, currentWorker);
  wanted.grain = std::clamp<int64_t>(wanted.grain, 1, wanted.count);
  int64_t pieces = wanted.dynamic ? (wanted.count - 1) / wanted.grain + 1 : wanted.count;
  wanted.participants = int(std::min<int64_t>(pieces, size()));
  std::lock_guard lock(callMutex);
  job = wanted;
  failure = nullptr;
  next.store(0, std::memory_order_relaxed);
  if (job.participants > 1) {
    ++jobs;
    begin(0, jobs);
    doShare(0);
    Prefetch prefetch(job.ahead, 0, size());
    finish(0, jobs, prefetch);
  } else {
    // One piece, in one call.
    job.dynamic = false;
    doShare(0);
  }
  if (failure)
    std::rethrow_exception(std::exchange(failure, nullptr));
}
