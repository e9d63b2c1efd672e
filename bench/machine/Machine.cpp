//===- Machine.cpp - Memory bandwidth and arithmetic peak, as JSON --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "bench/machine/Kernels.h"

#include "runtime/CpuDevice.h"
#include "runtime/Error.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <iostream>
#include <sys/mman.h>
#include <thread>

using namespace mlsys;
using namespace mlsys::bench;

static constexpr size_t largePage = size_t(2) << 20;

/// Memory on large pages where the system gives them; never freed.
static char *allocate(size_t bytes) {
  void *address = ::mmap(nullptr, bytes + largePage, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    throw rt::Error("no memory for blocks of {} bytes", bytes);
  uintptr_t aligned = (reinterpret_cast<uintptr_t>(address) + largePage - 1) / largePage * largePage;
  ::madvise(reinterpret_cast<void *>(aligned), bytes, MADV_HUGEPAGE);
  std::memset(reinterpret_cast<void *>(aligned), 0, bytes);
  return reinterpret_cast<char *>(aligned);
}

/// Seconds of each repetition; the first, which warms up, is left out.
static std::vector<double> measure(const Loop &loop, std::vector<Task> &tasks, int repetitions) {
  std::barrier meeting(std::ptrdiff_t(tasks.size()));
  std::vector<double> seconds;
  static std::atomic<float> sink;
  auto work = [&](size_t thread) {
    for (int i = 0; i <= repetitions; ++i) {
      meeting.arrive_and_wait();
      auto start = std::chrono::steady_clock::now();
      sink.store(loop.run(tasks[thread]), std::memory_order_relaxed);
      meeting.arrive_and_wait();
      if (thread == 0 && i > 0)
        seconds.push_back(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < tasks.size(); ++i)
    threads.emplace_back(work, i);
  work(0);
  for (std::thread &thread : threads)
    thread.join();
  return seconds;
}

/// One measurement of everything.
static nlohmann::ordered_json measureAll(std::vector<Task> &tasks, int repetitions) {
  size_t threads = tasks.size();
  nlohmann::ordered_json result = {{"processor", rt::cpuModelName()},
                                   {"isa", rt::bestCpuIsa()},
                                   {"threads", threads},
                                   {"block_bytes", tasks[0].bytes}};
  for (const Loop &loop : availableLoops()) {
    std::vector<double> rates;
    double bytes = loop.bytesPerByte * double(tasks[0].bytes);
    double amount = double(threads) * (loop.flops > 0 ? loop.flops * 1e-12 : bytes * 1e-9);
    for (double seconds : measure(loop, tasks, repetitions))
      rates.push_back(amount / seconds);
    std::vector<double> sorted = rates;
    std::sort(sorted.begin(), sorted.end());
    result[loop.name] = {{"unit", loop.flops > 0 ? "TFLOP/s" : "GB/s"},
                         {"median", sorted[sorted.size() / 2]},
                         {"best", sorted.back()},
                         {"samples", rates}};
  }
  return result;
}

int main(int argc, char **argv) try {
  CLI::App app{"Measures memory bandwidth (GB/s) and arithmetic peak (TFLOP/s) and prints JSON"};
  int threads = int(std::max(1u, std::thread::hardware_concurrency())), repetitions = 7;
  int megabytes = 256, rounds = 0;
  app.add_option("-t,--threads", threads, "Threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("-r,--repetitions", repetitions, "Measurements of each loop")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("-m,--megabytes", megabytes, "Memory of each thread's two blocks")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  app.add_option("--rounds", rounds, "Measure everything so often, and print each time a line")
      ->check(CLI::Range(1, 1 << 20));
  CLI11_PARSE(app, argc, argv);
  std::vector<Task> tasks;
  for (int i = 0; i < threads; ++i) {
    size_t bytes = (size_t(megabytes) << 20) / largePage * largePage;
    tasks.push_back({allocate(bytes), allocate(bytes), bytes});
  }
  for (int round = 0; round < rounds && std::cout.good(); ++round)
    std::cout << measureAll(tasks, repetitions).dump() << std::endl;
  if (rounds == 0)
    std::cout << measureAll(tasks, repetitions).dump(2) << "\n";
  return std::cout.good() ? 0 : 1;
} catch (const std::exception &error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
