//===- HostExecutor.h - Runs CUDA kernels on the CPU ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// One OS thread runs a block; each CUDA thread of it is a fiber that runs until it
// has to wait for others. What a GPU leaves open is chosen so that mistakes show:
// the order of threads is forward, reverse or random, shared memory starts as NaN,
// an asynchronous copy makes its destination NaN and lands only when it is waited
// for, and memory ends at guard pages.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/device/mlsys/host.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace mlsys::rt {

/// In which order the threads of a block run.
enum class HostSchedule { Forward, Reverse, Random };

/// MLSYS_HOST_SCHEDULE: "forward" (also when unset), "reverse" or "random".
HostSchedule hostScheduleFromEnvironment();

/// One launch of a kernel.
struct HostLaunch {
  /// For messages.
  std::string name;
  /// Runs one CUDA thread; `context` is the calling OS thread's.
  void (*entry)(host::Context *context, void *const *arguments) = nullptr;
  /// One pointer to the value of each kernel parameter.
  void *const *arguments = nullptr;
  host::Dim3 grid, block;
  /// Blocks, neighbours in x, that run at the same time and see each other's shared memory.
  int cluster = 1;
  size_t sharedBytes = 0;
};

/// Runs launches, the blocks spread over OS threads.
class HostExecutor {
public:
  /// `threads` 0: one a core, 16 at most.
  HostExecutor(int threads, HostSchedule schedule);
  ~HostExecutor();

  /// Runs all blocks. Throws rt::Error that names kernel, block and thread when a
  /// thread touches memory it may not, when the threads wait for each other at
  /// different places, or when the launch exceeds what a GPU takes.
  void launch(const HostLaunch &launch);

  int threads() const;

  /// Says what an address is near to, for the message of a bad access.
  std::function<std::string(const void *)> describeAddress;

private:
  struct Workers;
  std::unique_ptr<Workers> workers;
  HostSchedule schedule;
};

} // namespace mlsys::rt
