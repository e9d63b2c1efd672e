//===- Devices.cpp - The devices that there are -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Devices.h"

#include "runtime/CpuDevice.h"
#include "runtime/CudaDevice.h"
#include "runtime/Error.h"
#include "runtime/HostCudaDevice.h"
#include "runtime/Program.h"

#include <chrono>
#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;

void Device::finishDownload(uint64_t ticket, void *destination) {
  if (ticket != firstDownload || downloads.empty())
    throw Error("download {} is finished out of turn", ticket);
  std::memcpy(destination, downloads.front().data(), downloads.front().size());
  downloads.pop_front();
  ++firstDownload;
}

std::vector<double> Device::timeLaunches(std::span<const LaunchArgs> launches) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  synchronize();
  for (const LaunchArgs &args : launches) {
    Clock::time_point start = Clock::now();
    launch(args);
    synchronize();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return seconds;
}

std::unique_ptr<Device> rt::createDevice(const DeviceOptions &options) {
  const std::string &name = options.device;
  if (name == "cpu" || (name == "auto" && !cudaAvailable()))
    return createCpuDevice(options);
  if (name == "host-cuda" || name.starts_with("host-cuda:sm_"))
    return createHostCudaDevice(options);
  if (name == "cuda" || name.starts_with("cuda:") || name == "auto")
    return createCudaDevice(options);
  throw Error("unknown device '{}'; expected auto, cpu, cuda, cuda:N, host-cuda or host-cuda:sm_NN", name);
}

std::string rt::resolveDevice(const std::string &name, const LoadedProgram &program) {
  if (name != "auto")
    return name;
  bool cpu = false, cuda = false;
  for (const program::TargetProgram *target : *program->targets()) {
    cpu |= text(target->target()) == "cpu";
    cuda |= text(target->target()) == "cuda";
  }
  if (cuda && cudaAvailable())
    return "cuda";
  if (!cpu && cuda)
    throw Error("{} was compiled for cuda only, and there is no NVIDIA GPU here; compile it with "
                "--target cpu, or try --device host-cuda",
                program.name());
  return "cpu";
}
