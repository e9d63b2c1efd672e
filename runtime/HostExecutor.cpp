//===- HostExecutor.cpp ---------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/HostExecutor.h"

#include "runtime/Error.h"
#include "runtime/HostBlock.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

using namespace mlsys;
using namespace mlsys::rt;

/// The most dynamic shared memory that a block of an H100 may have.
static constexpr size_t maxSharedBytes = 227 * 1024;

/// The threads besides the caller's, and the launch they work on.
struct HostExecutor::Workers {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake, finished;
  uint64_t generation = 0;
  int busy = 0;
  bool stop = false;

  const HostLaunch *launch = nullptr;
  HostSchedule schedule = HostSchedule::Forward;
  /// Clusters of blocks.
  int64_t clusters = 0;
  std::atomic<int64_t> next{0};
  std::string error;
  bool accessFault = false;
  const void *faultAddress = nullptr;
  HostBlock callers;

  void work(HostBlock &runner) {
    try {
      runner.prepare(*launch, schedule);
      HostSignalStack signalStack;
      const int rowClusters = launch->grid.x / launch->cluster;
      for (int64_t i = next++; i < clusters; i = next++) {
        host::Dim3 index;
        index.x = static_cast<int>(i % rowClusters) * launch->cluster;
        index.y = static_cast<int>(i / rowClusters % launch->grid.y);
        index.z = static_cast<int>(i / rowClusters / launch->grid.y);
        runner.error.clear();
        runner.run(index);
        if (!runner.error.empty())
          return report(runner.error, runner.isAccessFault(), runner.faultAddress);
      }
    } catch (const std::exception &failure) {
      report(failure.what(), false, nullptr);
    }
  }

  void report(const std::string &message, bool badAccess, const void *address) {
    std::lock_guard lock(mutex);
    next = clusters;
    if (error.empty()) {
      error = message;
      accessFault = badAccess;
      faultAddress = address;
    }
  }

  void loop() {
    HostBlock runner;
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stop || generation != seen; });
      if (stop)
        return;
      seen = generation;
      lock.unlock();
      work(runner);
      lock.lock();
      if (--busy == 0)
        finished.notify_one();
    }
  }
};

HostSchedule mlsys::rt::hostScheduleFromEnvironment() {
  const char *value = std::getenv("MLSYS_HOST_SCHEDULE");
  std::string_view name = value ? value : "";
  if (name.empty() || name == "forward")
    return HostSchedule::Forward;
  if (name == "reverse")
    return HostSchedule::Reverse;
  if (name == "random")
    return HostSchedule::Random;
  throw Error("MLSYS_HOST_SCHEDULE is '{}'; expected forward, reverse or random", name);
}

HostExecutor::HostExecutor(int threads, HostSchedule schedule)
    : workers(std::make_unique<Workers>()), schedule(schedule) {
  if (threads <= 0)
    threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  threads = std::min(threads, 16);
  installHostFaultHandler();
  for (int i = 1; i < threads; ++i)
    workers->threads.emplace_back([state = workers.get()] { state->loop(); });
}

HostExecutor::~HostExecutor() {
  {
    std::lock_guard lock(workers->mutex);
    workers->stop = true;
  }
  workers->wake.notify_all();
  for (std::thread &thread : workers->threads)
    thread.join();
}

int HostExecutor::threads() const { return static_cast<int>(workers->threads.size()) + 1; }

void HostExecutor::launch(const HostLaunch &launch) {
  int64_t blockThreads = int64_t(launch.block.x) * launch.block.y * launch.block.z;
  if (launch.block.x < 1 || launch.block.y < 1 || launch.block.z < 1 || blockThreads > HostBlock::maxThreads)
    throw Error("kernel '{}': a block of {} x {} x {} threads; a GPU takes 1 to {}", launch.name, launch.block.x,
                launch.block.y, launch.block.z, HostBlock::maxThreads);
  if (launch.grid.x < 1 || launch.grid.y < 1 || launch.grid.z < 1 || launch.grid.y > 65535 || launch.grid.z > 65535)
    throw Error("kernel '{}': a grid of {} x {} x {} blocks; a GPU takes 1 to 65535 in y and z", launch.name,
                launch.grid.x, launch.grid.y, launch.grid.z);
  if (launch.sharedBytes > maxSharedBytes)
    throw Error("kernel '{}': {} bytes of shared memory; a GPU has {}", launch.name, launch.sharedBytes,
                maxSharedBytes);
  if (launch.cluster < 1 || launch.cluster > HostBlock::maxCluster || launch.grid.x % launch.cluster)
    throw Error("kernel '{}': a grid of {} blocks in clusters of {}; a GPU takes clusters of 1 to {}, and whole ones",
                launch.name, launch.grid.x, launch.cluster, HostBlock::maxCluster);
  Workers &state = *workers;
  state.launch = &launch;
  state.schedule = schedule;
  state.clusters = int64_t(launch.grid.x / launch.cluster) * launch.grid.y * launch.grid.z;
  state.next = 0;
  state.error.clear();
  state.accessFault = false;
  bool shareWork = state.clusters > 1 && !state.threads.empty();
  if (shareWork) {
    {
      std::lock_guard lock(state.mutex);
      state.busy = static_cast<int>(state.threads.size());
      ++state.generation;
    }
    state.wake.notify_all();
  }
  state.work(state.callers);
  if (shareWork) {
    std::unique_lock lock(state.mutex);
    state.finished.wait(lock, [&] { return state.busy == 0; });
  }
  if (state.error.empty())
    return;
  if (state.accessFault) {
    std::string near = describeAddress ? describeAddress(state.faultAddress) : "";
    throw Error("{}access to {}, {}", state.error, state.faultAddress,
                near.empty() ? "which is no memory of the kernel" : near);
  }
  throw Error("{}", state.error);
}
