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

} // namespace

std::vector<double> CudaDevice::timeLaunches(std::span<const LaunchArgs> launches) {
  synchronize();
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
