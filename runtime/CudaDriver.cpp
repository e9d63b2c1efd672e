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
  library.find(driverGetVersion, "cuDriverGetVersion");
  check(driverGetVersion(&version), "cuDriverGetVersion");
  // Before the functions that an older driver lacks.
  if (version < oldestVersion)
    throw Error("the NVIDIA driver is too old: it runs CUDA {}, and mlsys needs {} or later; update the driver",
                cudaVersionText(version), cudaVersionText(oldestVersion));
  library.find(init, "cuInit");
  library.find(getErrorString, "cuGetErrorString");
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
  library.find(memGetInfo, "cuMemGetInfo_v2");
  library.find(memHostAlloc, "cuMemHostAlloc");
  library.find(memFreeHost, "cuMemFreeHost");
  library.find(deviceGetDefaultMemPool, "cuDeviceGetDefaultMemPool");
  library.find(memPoolSetAttribute, "cuMemPoolSetAttribute");
  library.find(memPoolTrimTo, "cuMemPoolTrimTo");
  library.find(memAllocAsync, "cuMemAllocAsync");
  library.find(memFreeAsync, "cuMemFreeAsync");
  library.find(eventCreate, "cuEventCreate");
  library.find(eventDestroy, "cuEventDestroy_v2");
  library.find(eventRecord, "cuEventRecord");
  library.find(eventSynchronize, "cuEventSynchronize");
  library.find(eventElapsedTime, "cuEventElapsedTime");
  library.find(streamBeginCapture, "cuStreamBeginCapture_v2");
  library.find(streamEndCapture, "cuStreamEndCapture");
  library.find(graphInstantiate, "cuGraphInstantiateWithFlags");
  library.find(graphDestroy, "cuGraphDestroy");
  library.find(graphUpload, "cuGraphUpload");
  library.find(graphLaunch, "cuGraphLaunch");
  library.find(graphExecDestroy, "cuGraphExecDestroy");
  library.find(moduleLoadData, "cuModuleLoadData");
  library.find(moduleUnload, "cuModuleUnload");
  library.find(moduleGetFunction, "cuModuleGetFunction");
  library.find(funcSetAttribute, "cuFuncSetAttribute");
  library.find(launchKernelEx, "cuLaunchKernelEx");
  if (version >= cuda::functionLoadVersion)
    library.findOptional(functionLoad, "cuFuncLoad");
  library.findOptional(tensorMapEncodeTiled, "cuTensorMapEncodeTiled");
}

void CudaDriver::check(int status, const std::string &what) const {
  if (status == 0)
    return;
  const char *text = nullptr;
  if (!getErrorString || getErrorString(status, &text) != 0 || !text)
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
        int status = opened->init(0), count = 0;
        if (status != cuda::noDevice) {
          opened->check(status, "starting the NVIDIA driver");
          opened->check(opened->deviceGetCount(&count), "cuDeviceGetCount");
        }
        if (count > 0) {
          driver = std::move(opened);
          return;
        }
        // The driver hides the GPUs that the variable does not name.
        const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
        reason = visible ? fmt::format("there is no GPU that CUDA_VISIBLE_DEVICES ('{}') names", visible)
                         : "there is no NVIDIA GPU";
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

std::string mlsys::rt::cudaVersionText(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

bool mlsys::rt::cudaAvailable() { return CudaDriver::get() != nullptr; }
