//===- Parallel.h - Independent jobs on all cores ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <functional>

namespace mlsys::rt {

/// Calls `job(i)` for every i in [0, count), each once, on as many threads as there are cores.
/// When a job throws, no further one begins, and the first exception is thrown again. For
/// long jobs such as compilations; kernels run on a ThreadPool.
void forEachInParallel(size_t count, const std::function<void(size_t)> &job);

} // namespace mlsys::rt
