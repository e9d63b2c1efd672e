//===- CudaTiming.cpp - What kernels take on a GPU ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDevice.h"

using namespace mlsys::rt;

namespace {

/// Events that are destroyed at the end.
class Events {
public:
  Events(const CudaDriver &driver, size_t count) : driver(driver), events(count) {
    for (cuda::Event &event : events)
      driver.check(driver.eventCreate(&event, 0), "cuEventCreate");
  }
  ~Events() {
    for (cuda::Event event : events)
      if (event)
        driver.eventDestroy(event);
  }
  Events(const Events &) = delete;
  Events &operator=(const Events &) = delete;

  void record(size_t index, cuda::Stream stream) {
    driver.check(driver.eventRecord(events[index], stream), "cuEventRecord");
  }
  /// Between event `index` and the next.
  double seconds(size_t index) const {
    float milliseconds = 0;
    driver.check(driver.eventElapsedTime(&milliseconds, events[index], events[index + 1]), "cuEventElapsedTime");
    return double(milliseconds) * 1e-3;
  }

private:
  const CudaDriver &driver;
  std::vector<cuda::Event> events;
};

/// Work that takes about 0.1 ms, so that the host has put the first launches into the stream before
/// they may begin: what they take is then theirs alone. Where there is no memory for it, none.
class HeadStart {
public:
  explicit HeadStart(const CudaDriver &driver) : driver(driver) {
    if (driver.memAlloc(&memory, bytes) != 0)
      memory = 0;
  }
  ~HeadStart() {
    if (memory)
      driver.memFree(memory);
  }
  HeadStart(const HeadStart &) = delete;
  HeadStart &operator=(const HeadStart &) = delete;

  void enqueue(cuda::Stream stream) {
    for (int i = 0; memory && i < 4; ++i)
      driver.check(driver.memsetD8(memory, 0, bytes, stream), "cuMemsetD8Async");
  }

private:
  static constexpr size_t bytes = size_t(64) << 20;
  const CudaDriver &driver;
  cuda::Address memory = 0;
};

/// A kernel that is timed alone is launched so often between two events, behind one launch that is
/// not timed.
constexpr int timedTogether = 10;

} // namespace

struct CudaDevice::Timing {
  explicit Timing(const CudaDriver &driver) : headStart(driver) {}
  HeadStart headStart;
};

CudaDevice::Timing &CudaDevice::timing() {
  if (!timingState)
    timingState = std::make_shared<Timing>(driver);
  return *timingState;
}

std::vector<double> CudaDevice::timeLaunches(std::span<const LaunchArgs> launches) {
  synchronize();
  timing().headStart.enqueue(stream);
  if (launches.size() == 1) {
    Events events(driver, 2);
    launch(launches[0]);
    events.record(0, stream);
    for (int i = 0; i < timedTogether; ++i)
      launch(launches[0]);
    events.record(1, stream);
    synchronize();
    return {events.seconds(0) / timedTogether};
  }
  Events events(driver, launches.size() + 1);
  events.record(0, stream);
  for (size_t i = 0; i < launches.size(); ++i) {
    launch(launches[i]);
    events.record(i + 1, stream);
  }
  synchronize();
  std::vector<double> seconds;
  for (size_t i = 0; i < launches.size(); ++i)
    seconds.push_back(events.seconds(i));
  return seconds;
}
