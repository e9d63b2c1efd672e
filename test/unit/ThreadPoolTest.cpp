//===- ThreadPoolTest.cpp - Fork and join -----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ThreadPool.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <numeric>

using namespace mlsys::rt;
using mlsys::program::Schedule;

namespace {

/// How often each task ran.
std::vector<int> runCounts(ThreadPool &pool, int64_t count, Schedule schedule, int64_t grain) {
  std::vector<std::atomic<int>> counts(count);
  pool.parallelFor(count, schedule, grain, [&](int64_t begin, int64_t end, int worker) {
    EXPECT_GE(worker, 0);
    EXPECT_LT(worker, pool.size());
    EXPECT_LE(begin, end);
    for (int64_t i = begin; i < end; ++i)
      ++counts[size_t(i)];
  });
  return {counts.begin(), counts.end()};
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int64_t count : {0, 1, 2, 5, 64, 1001})
      for (auto schedule : {Schedule::Static, Schedule::Dynamic})
        for (int64_t grain : {0, 1, 3, 5000})
          EXPECT_EQ(runCounts(pool, count, schedule, grain), std::vector<int>(count, 1));
  }
}

TEST(ThreadPool, GrainsAreWhole) {
  ThreadPool pool(3);
  std::atomic<int> pieces{0};
  pool.parallelFor(10, Schedule::Dynamic, 4, [&](int64_t begin, int64_t end, int) {
    EXPECT_EQ(begin % 4, 0);
    EXPECT_EQ(end, std::min<int64_t>(begin + 4, 10));
    ++pieces;
  });
  EXPECT_EQ(pieces, 3);
}

TEST(ThreadPool, ThrowsTheFirstExceptionAndStaysUsable) {
  ThreadPool pool(2);
  for (auto schedule : {Schedule::Static, Schedule::Dynamic}) {
    EXPECT_THROW(pool.parallelFor(100, schedule, 1,
                                  [](int64_t begin, int64_t end, int) {
                                    if (begin <= 99 && 99 < end)
                                      throw Error("task 99");
                                  }),
                 Error);
    EXPECT_EQ(runCounts(pool, 8, schedule, 1), std::vector<int>(8, 1));
  }
}

TEST(ThreadPool, NestedCallsRunOnTheirWorker) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  pool.parallelFor(4, Schedule::Static, 1, [&](int64_t begin, int64_t end, int outer) {
    pool.parallelFor(10 * (end - begin), Schedule::Dynamic, 1,
                     [&](int64_t first, int64_t last, int inner) {
                       EXPECT_EQ(inner, outer);
                       sum += last - first;
                     });
  });
  EXPECT_EQ(sum, 40);
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool(2);
  runCounts(pool, 4, Schedule::Static, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(runCounts(pool, 4, Schedule::Static, 1), std::vector<int>(4, 1));
}

TEST(ThreadPool, ManyShortJobsAllFinish) {
  ThreadPool pool(2);
  int64_t total = 0;
  for (int i = 0; i < 20000; ++i) {
    std::atomic<int64_t> sum{0};
    pool.parallelFor(2, Schedule::Static, 1,
                     [&](int64_t begin, int64_t end, int) { sum += end - begin; });
    total += sum;
  }
  EXPECT_EQ(total, 40000);
}

TEST(ThreadPool, CallersFromOtherThreadsTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat)
        pool.parallelFor(10, Schedule::Dynamic, 1,
                         [&](int64_t begin, int64_t end, int) { sum += end - begin; });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(sum, 4 * 200 * 10);
}

TEST(ThreadPool, RefusesWrongSizes) {
  EXPECT_THROW(ThreadPool(-1), Error);
  EXPECT_THROW(ThreadPool(100000), Error);
}

TEST(CpuTopology, FindsACore) {
  CpuTopology topology = CpuTopology::detect();
  EXPECT_GE(topology.cores.size(), 1u);
  EXPECT_GE(topology.defaultThreads(), 1);
}

} // namespace
