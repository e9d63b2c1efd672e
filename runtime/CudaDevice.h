//===- CudaDevice.h - Runs programs on an NVIDIA GPU ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/CudaMemory.h"

#include <optional>

namespace mlsys::rt {

/// One GPU through the driver: its primary context, one stream for kernels and one for weights,
/// the kernels of a program. Kernels come from the program's cubins where one fits the GPU, the
/// others from NVRTC by way of the kernel cache.
class CudaDevice : public Device {
public:
  /// Throws rt::Error when there is no driver or no GPU of that index.
  explicit CudaDevice(int index);
  ~CudaDevice() override;

  std::string description() const override;
  std::string target() const override { return "cuda"; }
  std::string arch() const override { return info.arch(); }
  bool hostAccessible() const override { return false; }

  void *allocate(size_t bytes) override { return allocateFor(MemoryUse::Temporaries, bytes); }
  void *allocateFor(MemoryUse use, size_t bytes) override;
  void free(void *address) override;
  /// Returns when `source` may be changed; the copy itself takes its turn in the stream.
  void upload(void *destination, const void *source, size_t bytes) override;
  void download(void *destination, const void *source, size_t bytes) override;
  void zero(void *destination, size_t bytes) override;
  /// Through page-locked memory, on a stream of its own.
  void fill(void *destination, size_t bytes, FillFunction write) override;
  uint64_t startDownload(const void *source, size_t bytes) override;
  void finishDownload(uint64_t ticket, void *destination) override;

  void load(const program::TargetProgram &program) override;
  void launch(const LaunchArgs &args) override;
  /// Captures the list as a CUDA graph, once, and launches it. Where the driver cannot load kernels ahead
  /// the first run is plain. MLSYS_CUDA_GRAPHS=0 turns graphs off.
  void replay(std::span<const LaunchArgs> launches, std::unique_ptr<LaunchRecording> &recording) override;
  void prepare(std::span<const LaunchArgs> launches, std::unique_ptr<LaunchRecording> &recording) override;
  /// By events between the launches, so that the host's part is not in it. A single launch is
  /// repeated, back to back.
  std::vector<double> timeLaunches(std::span<const LaunchArgs> launches) override;
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

  /// What timeLaunches() keeps.
  struct Timing;

  void makeCurrent() const;
  void release();
  Timing &timing();
  void loadModule(Kernel &kernel, std::string_view cubin, bool fromProgram) const;
  Kernel &readyFor(const LaunchArgs &args);
  void launch(const LaunchArgs &args, bool early);
  cuda::GraphExec capture(std::span<const LaunchArgs> launches, bool early);
  cuda::GraphExec tryCapture(std::span<const LaunchArgs> launches, bool early, std::string &problem);

  const CudaDriver &driver;
  GpuInfo info;
  cuda::Device device = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr, copyStream = nullptr;
  std::optional<CudaAllocator> allocator;
  /// For inputs, and for weights while they are loaded.
  std::optional<PinnedRing> uploads, fills;
  std::optional<PinnedDownloads> downloads;
  /// Page-locked memory for download().
  void *downloadMemory = nullptr;
  bool useGraphs = true;
  std::vector<Kernel> kernels;
  std::shared_ptr<Timing> timingState;
};

/// True when a cubin for `arch` ("sm_80", "sm_90a") runs on the GPU: the same major
/// version and no higher minor one; with an "a", exactly the same version.
bool cubinRunsOn(const std::string &arch, const GpuInfo &gpu);

/// Throws unless `device`, a name such as cuda or cuda:N, is a GPU that this machine has and that
/// kernels run on; does nothing for names of other devices. For checks before long work.
void checkCudaDevice(const std::string &device);

/// The GPU that `options.device` names: "cuda" or "auto" the first one, "cuda:N" number N.
std::unique_ptr<Device> createCudaDevice(const DeviceOptions &options);

} // namespace mlsys::rt
