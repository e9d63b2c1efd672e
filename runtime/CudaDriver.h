//===- CudaDriver.h - The CUDA driver, opened at run time -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/SharedLibrary.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mlsys::rt {

/// Types of the driver's interface, as far as it is used. Their layout is fixed by
/// the driver.
namespace cuda {
using Device = int;
using Address = unsigned long long;
using Context = struct ContextState *;
using Stream = struct StreamState *;
using Module = struct ModuleState *;
using Event = struct EventState *;
using Graph = struct GraphState *;
using GraphExec = struct GraphExecState *;
using MemoryPool = struct MemoryPoolState *;
using Function = struct FunctionState *;

struct LaunchAttribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    int programmaticStreamSerializationAllowed;
  } value;
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};
static_assert(sizeof(LaunchConfig) == 56);

constexpr int launchAttributeProgrammaticStreamSerialization = 6;
constexpr int deviceAttributeMultiprocessors = 16;
constexpr int deviceAttributeComputeMajor = 75;
constexpr int deviceAttributeComputeMinor = 76;
constexpr int deviceAttributeMaxSharedPerBlock = 97;
constexpr int functionAttributeMaxDynamicShared = 8;
/// From this driver on there is cuFuncLoad.
constexpr int functionLoadVersion = 12040;
constexpr int deviceAttributeMemoryPools = 115;
constexpr int poolAttributeReleaseThreshold = 4;
constexpr unsigned streamNonBlocking = 1;

/// What cuTensorMapEncodeTiled fills.
struct alignas(64) TensorMap {
  char bytes[128];
};
constexpr int tensorMapU8 = 0, tensorMapF16 = 6, tensorMapF32 = 7, tensorMapBf16 = 9;
constexpr int tensorMapSwizzle128 = 3, tensorMapPromotion256 = 3;
constexpr unsigned eventDisableTiming = 2;
constexpr int captureThreadLocal = 1;

/// Status codes that have messages of their own.
constexpr int outOfMemory = 2;
constexpr int noDevice = 100;
constexpr int invalidImage = 200;
constexpr int noBinaryForGpu = 209;
constexpr int invalidPtx = 218;
constexpr int unsupportedPtxVersion = 222;
} // namespace cuda

/// The functions of libcuda.so.1 that mlsys uses. Opened once per process.
class CudaDriver {
public:
  /// The oldest driver that has every function below, as driverGetVersion counts: 12.0.
  static constexpr int oldestVersion = 12000;

  /// Opens MLSYS_CUDA_DRIVER (a file) or libcuda.so.1 and starts it. Null when there is
  /// no driver, when it is too old, or when it shows no GPU; `reason` then says which.
  static const CudaDriver *get(std::string *reason = nullptr);

  /// The newest CUDA that the driver runs: 1000 * major + 10 * minor.
  int version = 0;

  /// Throws rt::Error with the driver's words when `status` is a failure of `what`.
  void check(int status, const std::string &what) const;

  int (*init)(unsigned);
  int (*getErrorString)(int, const char **) = nullptr;
  int (*driverGetVersion)(int *);
  int (*deviceGetCount)(int *);
  int (*deviceGet)(cuda::Device *, int);
  int (*deviceGetName)(char *, int, cuda::Device);
  int (*deviceGetAttribute)(int *, int, cuda::Device);
  int (*deviceTotalMem)(size_t *, cuda::Device);
  int (*primaryCtxRetain)(cuda::Context *, cuda::Device);
  int (*primaryCtxRelease)(cuda::Device);
  int (*ctxSetCurrent)(cuda::Context);
  int (*streamCreate)(cuda::Stream *, unsigned);
  int (*streamDestroy)(cuda::Stream);
  int (*streamSynchronize)(cuda::Stream);
  int (*memAlloc)(cuda::Address *, size_t);
  int (*memFree)(cuda::Address);
  int (*memcpyHtoD)(cuda::Address, const void *, size_t, cuda::Stream);
  int (*memcpyDtoH)(void *, cuda::Address, size_t, cuda::Stream);
  int (*memsetD8)(cuda::Address, unsigned char, size_t, cuda::Stream);
  int (*memGetInfo)(size_t *free, size_t *total);
  int (*memHostAlloc)(void **, size_t, unsigned);
  int (*memFreeHost)(void *);
  int (*deviceGetDefaultMemPool)(cuda::MemoryPool *, cuda::Device);
  int (*memPoolSetAttribute)(cuda::MemoryPool, int, void *);
  int (*memPoolTrimTo)(cuda::MemoryPool, size_t);
  int (*memAllocAsync)(cuda::Address *, size_t, cuda::Stream);
  int (*memFreeAsync)(cuda::Address, cuda::Stream);
  int (*eventCreate)(cuda::Event *, unsigned);
  int (*eventDestroy)(cuda::Event);
  int (*eventRecord)(cuda::Event, cuda::Stream);
  int (*eventSynchronize)(cuda::Event);
  int (*eventElapsedTime)(float *, cuda::Event, cuda::Event);
  int (*streamBeginCapture)(cuda::Stream, int mode);
  int (*streamEndCapture)(cuda::Stream, cuda::Graph *);
  int (*graphInstantiate)(cuda::GraphExec *, cuda::Graph, unsigned long long flags);
  int (*graphDestroy)(cuda::Graph);
  int (*graphLaunch)(cuda::GraphExec, cuda::Stream);
  int (*graphExecDestroy)(cuda::GraphExec);
  int (*moduleLoadData)(cuda::Module *, const void *);
  int (*moduleUnload)(cuda::Module);
  int (*moduleGetFunction)(cuda::Function *, cuda::Module, const char *);
  int (*funcSetAttribute)(cuda::Function, int, int);
  /// Loads what the driver would load at the first launch. Null before functionLoadVersion.
  int (*functionLoad)(cuda::Function) = nullptr;
  int (*graphUpload)(cuda::GraphExec, cuda::Stream);
  /// Null in drivers before CUDA 12.
  int (*tensorMapEncodeTiled)(cuda::TensorMap *, int type, unsigned rank, void *base, const uint64_t *extents,
                              const uint64_t *strides, const uint32_t *box, const unsigned *elementStrides,
                              int interleave, int swizzle, int promotion, int fill);
  int (*launchKernelEx)(const cuda::LaunchConfig *, cuda::Function, void **, void **);

private:
  explicit CudaDriver(SharedLibrary library);
  SharedLibrary library;
};

/// What the driver says of one GPU.
struct GpuInfo {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;
  size_t memoryBytes = 0;
  int multiprocessors = 0;
  size_t maxSharedBytes = 0;

  /// What NVRTC compiles for: "sm_86", and with all the chip's features from 9.0 on:
  /// "sm_90a".
  std::string arch() const;
};

/// All GPUs, for `mlsys devices`; none without a driver.
std::vector<GpuInfo> listGpus();

/// True when there is a driver and at least one GPU.
bool cudaAvailable();

/// "12.4" for 12040.
std::string cudaVersionText(int version);

} // namespace mlsys::rt
