//===- CudaDevice.h - Runs programs on an NVIDIA GPU ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/CudaDriver.h"
#include "runtime/Device.h"

namespace mlsys::rt {

/// One GPU through the driver: its primary context, one stream, the kernels of a
/// program. Kernels come from the program's cubins where one fits the GPU, the others
/// from NVRTC by way of the kernel cache.
class CudaDevice : public Device {
public:
  /// Throws rt::Error when there is no driver or no GPU of that index.
  explicit CudaDevice(int index);
  ~CudaDevice() override;

  std::string description() const override;
  std::string target() const override { return "cuda"; }
  std::string arch() const override { return info.arch(); }
  bool hostAccessible() const override { return false; }

  void *allocate(size_t bytes) override;
  void free(void *address) override;
  /// Returns when `source` may be changed.
  void upload(void *destination, const void *source, size_t bytes) override;
  void download(void *destination, const void *source, size_t bytes) override;
  void zero(void *destination, size_t bytes) override;

  void load(const program::TargetProgram &program) override;
  void launch(const LaunchArgs &args) override;
  void synchronize() override;

  const GpuInfo &gpu() const { return info; }

private:
  struct Kernel {
    std::string name;
    cuda::Module module = nullptr;
    cuda::Function function = nullptr;
    /// The text waits for earlier kernels itself, so it may be launched early.
    bool waits = false;
    uint32_t allowedShared = 48 * 1024;
  };

  void makeCurrent() const;

  const CudaDriver &driver;
  GpuInfo info;
  cuda::Device device = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
  std::vector<Kernel> kernels;
};

/// True when a cubin for `arch` ("sm_80", "sm_90a") runs on the GPU: the same major
/// version and no higher minor one; with an "a", exactly the same version.
bool cubinRunsOn(const std::string &arch, const GpuInfo &gpu);

/// The GPU that `options.device` names: "cuda" or "auto" the first one, "cuda:N" number N.
std::unique_ptr<Device> createCudaDevice(const DeviceOptions &options);

} // namespace mlsys::rt
