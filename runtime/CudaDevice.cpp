//===- CudaDevice.cpp -----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDevice.h"

#include "runtime/Error.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;

/// Slots of page-locked memory for inputs, and for weights.
static constexpr size_t uploadSlots = 4, uploadSlotBytes = size_t(1) << 20;
static constexpr size_t fillSlots = 4, fillSlotBytes = size_t(16) << 20;
static constexpr size_t downloadBytes = size_t(4) << 20;

//===----------------------------------------------------------------------===//
// Which GPU
//===----------------------------------------------------------------------===//

static const CudaDriver &requireDriver() {
  std::string reason;
  if (const CudaDriver *driver = CudaDriver::get(&reason))
    return *driver;
  throw Error("--device cuda: {}; use --device cpu, or --device host-cuda to run CUDA kernels on the CPU", reason);
}

/// The GPU of that index; throws when there is none or it is too old.
static GpuInfo requireGpu(int index) {
  requireDriver();
  std::vector<GpuInfo> gpus = listGpus();
  if (index < 0 || index >= static_cast<int>(gpus.size()))
    throw Error("--device cuda:{}: this machine has {} GPU{}, numbered from 0", index, gpus.size(),
                gpus.size() == 1 ? "" : "s");
  const GpuInfo &info = gpus[static_cast<size_t>(index)];
  if (info.major < 8)
    throw Error("--device cuda:{}: {} has compute capability {}.{}, and the kernels need 8.0 (Ampere) or later; use "
                "--device cpu",
                index, info.name, info.major, info.minor);
  return info;
}

/// N of "cuda:N"; 0 for other names.
static int indexOf(const std::string &device) {
  int index = 0;
  if (device.starts_with("cuda:")) {
    const char *begin = device.data() + 5, *end = device.data() + device.size();
    auto [rest, failure] = std::from_chars(begin, end, index);
    if (failure != std::errc() || rest != end)
      throw Error("--device {}: expected cuda or cuda:N", device);
  }
  return index;
}

void mlsys::rt::checkCudaDevice(const std::string &device) {
  if (device == "cuda" || device.starts_with("cuda:"))
    requireGpu(indexOf(device));
}

std::unique_ptr<Device> mlsys::rt::createCudaDevice(const DeviceOptions &options) {
  return std::make_unique<CudaDevice>(indexOf(options.device));
}

//===----------------------------------------------------------------------===//
// Beginning and end
//===----------------------------------------------------------------------===//

CudaDevice::CudaDevice(int index) : driver(requireDriver()), info(requireGpu(index)) {
  driver.check(driver.deviceGet(&device, index), "cuDeviceGet");
  driver.check(driver.primaryCtxRetain(&context, device), "starting " + info.name);
  try {
    makeCurrent();
    driver.check(driver.streamCreate(&stream, cuda::streamNonBlocking), "cuStreamCreate");
    driver.check(driver.streamCreate(&copyStream, cuda::streamNonBlocking), "cuStreamCreate");
    allocator.emplace(driver, info, device, stream);
    uploads.emplace(driver, stream, uploadSlots, uploadSlotBytes);
    downloads.emplace(driver, stream);
  } catch (...) {
    release();
    throw;
  }
  const char *graphs = std::getenv("MLSYS_CUDA_GRAPHS");
  useGraphs = !graphs || std::string_view(graphs) != "0";
}

CudaDevice::~CudaDevice() {
  // Errors here have been reported by the call that caused them.
  driver.ctxSetCurrent(context);
  driver.streamSynchronize(stream);
  driver.streamSynchronize(copyStream);
  for (Kernel &kernel : kernels)
    if (kernel.module)
      driver.moduleUnload(kernel.module);
  if (downloadMemory)
    driver.memFreeHost(downloadMemory);
  timingState.reset();
  release();
}

void CudaDevice::release() {
  fills.reset();
  uploads.reset();
  downloads.reset();
  if (copyStream)
    driver.streamDestroy(copyStream);
  if (stream)
    driver.streamDestroy(stream);
  driver.primaryCtxRelease(device);
}

void CudaDevice::makeCurrent() const { driver.check(driver.ctxSetCurrent(context), "cuCtxSetCurrent"); }

std::string CudaDevice::description() const {
  return fmt::format("cuda:{} ({}, {}, {:.1f} GiB)", info.index, info.name, info.arch(),
                     static_cast<double>(info.memoryBytes) / (1 << 30));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void *CudaDevice::allocateFor(MemoryUse use, size_t bytes) {
  if (bytes == 0)
    return nullptr;
  makeCurrent();
  return allocator->allocate(use, bytes);
}

void CudaDevice::free(void *address) {
  if (!address)
    return;
  makeCurrent();
  allocator->free(address);
}

void CudaDevice::upload(void *destination, const void *source, size_t bytes) {
  makeCurrent();
  for (size_t done = 0; done < bytes;) {
    size_t count = std::min(bytes - done, uploads->slotSize());
    std::byte *piece = uploads->take(count);
    std::memcpy(piece, static_cast<const std::byte *>(source) + done, count);
    driver.check(driver.memcpyHtoD(addressOf(destination) + done, piece, count, stream), "copying to the GPU");
    done += count;
  }
}

void CudaDevice::download(void *destination, const void *source, size_t bytes) {
  if (bytes == 0)
    return;
  makeCurrent();
  if (!downloadMemory)
    driver.check(driver.memHostAlloc(&downloadMemory, downloadBytes, 0), "allocating page-locked memory");
  for (size_t done = 0; done < bytes;) {
    size_t count = std::min(bytes - done, downloadBytes);
    driver.check(driver.memcpyDtoH(downloadMemory, addressOf(source) + done, count, stream), "copying from the GPU");
    driver.check(driver.streamSynchronize(stream), "running kernels");
    std::memcpy(static_cast<std::byte *>(destination) + done, downloadMemory, count);
    done += count;
  }
}

void CudaDevice::zero(void *destination, size_t bytes) {
  if (bytes == 0)
    return;
  makeCurrent();
  driver.check(driver.memsetD8(addressOf(destination), 0, bytes, stream), "cuMemsetD8Async");
}

void CudaDevice::fill(void *destination, size_t bytes, FillFunction write) {
  makeCurrent();
  if (!fills)
    fills.emplace(driver, copyStream, fillSlots, fillSlotBytes);
  for (size_t done = 0; done < bytes;) {
    size_t count = std::min(bytes - done, fills->slotSize());
    std::byte *piece = fills->take(count);
    write(done, {piece, count});
    driver.check(driver.memcpyHtoD(addressOf(destination) + done, piece, count, copyStream), "copying to the GPU");
    done += count;
  }
}

uint64_t CudaDevice::startDownload(const void *source, size_t bytes) {
  makeCurrent();
  return downloads->start(source, bytes);
}

void CudaDevice::finishDownload(uint64_t ticket, void *destination) {
  makeCurrent();
  downloads->finish(ticket, destination);
}

void CudaDevice::synchronize() {
  makeCurrent();
  driver.check(driver.streamSynchronize(stream), "running kernels");
  if (!fills)
    return;
  driver.check(driver.streamSynchronize(copyStream), "copying to the GPU");
  fills.reset();
}
