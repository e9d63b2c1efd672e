//===- CudaDriver.cpp -----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDriver.h"

#include <cstdlib>
#include <memory>

using namespace mlsys::rt;

CudaDriver::CudaDriver(SharedLibrary opened) : library(std::move(opened)) {
  library.find(init, "cuInit");
  library.find(getErrorString, "cuGetErrorString");
  library.find(driverGetVersion, "cuDriverGetVersion");
  library.find(deviceGetCount, "cuDeviceGetCount");
  library.find(deviceGet, "cuDeviceGet");
  library.find(deviceGetName, "cuDeviceGetName");
  library.find(deviceGetAttribute, "cuDeviceGetAttribute");
  library.find(deviceTotalMem, "cuDeviceTotalMem_v2");
  library.find(primaryCtxRetain, "cuDevicePrimaryCtxRetain");
  library.find(primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  library.find(ctxSetCurrent, "cuCtxSetCurrent");
  library.find(streamCreate, "cuStreamCreate");
  library.find(streamDestroy, "cuStreamDestroy_v2");
  library.find(streamSynchronize, "cuStreamSynchronize");
  library.find(memAlloc, "cuMemAlloc_v2");
  library.find(memFree, "cuMemFree_v2");
  library.find(memcpyHtoD, "cuMemcpyHtoDAsync_v2");
  library.find(memcpyDtoH, "cuMemcpyDtoHAsync_v2");
  library.find(memsetD8, "cuMemsetD8Async");
  library.find(moduleLoadData, "cuModuleLoadData");
  library.find(moduleUnload, "cuModuleUnload");
  library.find(moduleGetFunction, "cuModuleGetFunction");
  library.find(funcSetAttribute, "cuFuncSetAttribute");
  library.find(launchKernelEx, "cuLaunchKernelEx");
}

void CudaDriver::check(int status, const std::string &what) const {
  if (status == 0)
    return;
  const char *text = nullptr;
  if (getErrorString(status, &text) != 0 || !text)
    text = "unknown error";
  throw Error("CUDA: {} failed: {} (error {})", what, text, status);
}

const CudaDriver *CudaDriver::get(std::string *reason) {
  struct Opened {
    std::unique_ptr<CudaDriver> driver;
    std::string reason;
    Opened() {
      const char *given = std::getenv("MLSYS_CUDA_DRIVER");
      std::string name = given && *given ? given : "libcuda.so.1";
      SharedLibrary library = SharedLibrary::openFirst({name});
      if (!library) {
        reason = "the NVIDIA driver (" + name + ") is not installed";
        return;
      }
      try {
        std::unique_ptr<CudaDriver> opened(new CudaDriver(std::move(library)));
        opened->check(opened->init(0), "cuInit");
        int count = 0;
        opened->check(opened->deviceGetCount(&count), "cuDeviceGetCount");
        if (count > 0)
          driver = std::move(opened);
        else
          reason = "there is no GPU";
      } catch (const Error &error) {
        reason = error.what();
      }
    }
  };
  static const Opened opened;
  if (reason)
    *reason = opened.reason;
  return opened.driver.get();
}

std::string GpuInfo::arch() const { return fmt::format("sm_{}{}{}", major, minor, major >= 9 ? "a" : ""); }

std::vector<GpuInfo> mlsys::rt::listGpus() {
  std::vector<GpuInfo> gpus;
  const CudaDriver *driver = CudaDriver::get();
  if (!driver)
    return gpus;
  int count = 0;
  driver->check(driver->deviceGetCount(&count), "cuDeviceGetCount");
  for (int i = 0; i < count; ++i) {
    GpuInfo gpu;
    gpu.index = i;
    cuda::Device device;
    driver->check(driver->deviceGet(&device, i), "cuDeviceGet");
    char name[256] = {};
    driver->check(driver->deviceGetName(name, sizeof(name) - 1, device), "cuDeviceGetName");
    gpu.name = name;
    auto attribute = [&](int id) {
      int value = 0;
      driver->check(driver->deviceGetAttribute(&value, id, device), "cuDeviceGetAttribute");
      return value;
    };
    gpu.major = attribute(cuda::deviceAttributeComputeMajor);
    gpu.minor = attribute(cuda::deviceAttributeComputeMinor);
    gpu.multiprocessors = attribute(cuda::deviceAttributeMultiprocessors);
    gpu.maxSharedBytes = static_cast<size_t>(attribute(cuda::deviceAttributeMaxSharedPerBlock));
    driver->check(driver->deviceTotalMem(&gpu.memoryBytes, device), "cuDeviceTotalMem");
    gpus.push_back(gpu);
  }
  return gpus;
}

bool mlsys::rt::cudaAvailable() { return CudaDriver::get() != nullptr; }
