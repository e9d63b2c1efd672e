//===- Devices.cpp - The devices that there are -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Devices.h"

#include "runtime/CpuDevice.h"
#include "runtime/Error.h"
#include "runtime/HostCudaDevice.h"
#include "runtime/Program.h"
#if __has_include("runtime/CudaDevice.h")
#include "runtime/CudaDevice.h"
#define MLSYS_HAS_CUDA 1
#endif

using namespace mlsys;
using namespace mlsys::rt;

static bool gpuAvailable() {
#ifdef MLSYS_HAS_CUDA
  return cudaAvailable();
#else
  return false;
#endif
}

std::unique_ptr<Device> rt::createDevice(const DeviceOptions &options) {
  const std::string &name = options.device;
  if (name == "cpu" || (name == "auto" && !gpuAvailable()))
    return createCpuDevice(options);
  if (name == "host-cuda")
    return createHostCudaDevice(options);
  if (name == "cuda" || name == "auto") {
    if (!gpuAvailable())
      throw Error("no CUDA device: there is no NVIDIA GPU or no driver; use --device cpu");
#ifdef MLSYS_HAS_CUDA
    return createCudaDevice(options);
#endif
  }
  throw Error("unknown device '{}'; expected auto, cpu, cuda or host-cuda", name);
}

std::string rt::resolveDevice(const std::string &name, const LoadedProgram &program) {
  if (name != "auto")
    return name;
  bool cpu = false, cuda = false;
  for (const program::TargetProgram *target : *program->targets()) {
    cpu |= text(target->target()) == "cpu";
    cuda |= text(target->target()) == "cuda";
  }
  if (cuda && gpuAvailable())
    return "cuda";
  if (!cpu && cuda)
    throw Error("{} was compiled for cuda only, and there is no NVIDIA GPU here; compile it with "
                "--target cpu, or try --device host-cuda",
                program.name());
  return "cpu";
}
