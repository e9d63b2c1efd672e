//===- Device.h - What the executor asks of a device ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"
#include "runtime/FunctionRef.h"
#include "runtime/TensorMap.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// One kernel launch with everything evaluated.
struct LaunchArgs {
  /// Index into the kernels that were given to Device::load.
  uint32_t kernel = 0;
  /// One device address for each buffer parameter of the kernel.
  std::span<void *const> buffers;
  /// One value for each symbol parameter.
  std::span<const int64_t> symbols;
  /// CUDA: one for each tensor map, which follow the symbols.
  std::span<const TensorMapArgument> tensorMaps;
  /// CPU: the task count is the product. CUDA: the grid in blocks.
  int64_t grid[3] = {1, 1, 1};
  /// CUDA: threads per block.
  int block[3] = {1, 1, 1};
  /// CUDA: dynamic shared memory in bytes.
  uint32_t sharedBytes = 0;
  program::Schedule schedule = program::Schedule::Static;
  int64_t grain = 1;
  /// CPU: packed weights that the tasks stream through in order; may be empty.
  std::span<const std::byte> stream;
};

/// What memory is for, for the message when there is too little.
enum class MemoryUse { Temporaries, Weights, Cache };

/// What a device keeps of a list of launches from one run to the next, e.g. a CUDA graph.
/// Ends before its device.
class LaunchRecording {
public:
  virtual ~LaunchRecording() = default;
};

/// Memory and kernels of one processor. Work is issued in order; `download` and
/// `synchronize` wait for it. Implementations: CpuDevice (threads), CudaDevice
/// (driver API), HostCudaDevice (the CUDA text compiled for the CPU). Every
/// function throws rt::Error on failure.
class Device {
public:
  virtual ~Device() = default;

  /// For messages and `mlsys devices`, e.g. "cpu (AMD EPYC, avx512bf16, 2 threads)".
  virtual std::string description() const = 0;
  /// Which TargetProgram it runs: "cpu" or "cuda".
  virtual std::string target() const = 0;
  /// CUDA: the architecture that it is, e.g. "sm_86", "sm_90a"; empty when it runs the text of any.
  virtual std::string arch() const { return ""; }
  /// True when device addresses can be read and written by the host.
  virtual bool hostAccessible() const = 0;

  /// Memory aligned to 256 bytes at least, not initialized. Never null unless bytes is 0.
  virtual void *allocate(size_t bytes) = 0;
  /// As allocate; the message of a failure says what the memory was for.
  virtual void *allocateFor(MemoryUse, size_t bytes) { return allocate(bytes); }
  virtual void free(void *address) = 0;
  virtual void upload(void *destination, const void *source, size_t bytes) = 0;
  virtual void download(void *destination, const void *source, size_t bytes) = 0;
  virtual void zero(void *destination, size_t bytes) = 0;

  /// Writes the piece of a buffer that begins at `offset`.
  using FillFunction = FunctionRef<void(size_t offset, std::span<std::byte> piece)>;
  /// Fills device memory piece by piece, from its start to its end; a piece may still be
  /// on its way when the next is asked for. The memory is complete after synchronize(). All
  /// pieces but the last are multiples of 64 KiB.
  virtual void fill(void *destination, size_t bytes, FillFunction write) {
    write(0, {static_cast<std::byte *>(destination), bytes});
  }

  /// Starts to copy up to 4 KiB to the host and returns its ticket; at most 16 copies are under way.
  virtual uint64_t startDownload(const void *source, size_t bytes) {
    download(downloads.emplace_back(bytes).data(), source, bytes);
    return firstDownload + downloads.size() - 1;
  }
  /// Waits for the oldest copy, whose ticket this is, and writes it to `destination`.
  virtual void finishDownload(uint64_t ticket, void *destination);

  /// Makes the kernels of `program` ready; `program` outlives the device. Once
  /// per device. Memory may be allocated and filled on another thread meanwhile.
  virtual void load(const program::TargetProgram &program) = 0;
  virtual void launch(const LaunchArgs &args) = 0;
  /// Launches one after the other.
  virtual void launchAll(std::span<const LaunchArgs> launches) {
    for (const LaunchArgs &args : launches)
      launch(args);
  }
  /// As launchAll, of a list that is run again and again. `recording` is null the first time and
  /// whenever the list has changed; the device may leave in it what makes the next run faster.
  virtual void replay(std::span<const LaunchArgs> launches, std::unique_ptr<LaunchRecording> &) {
    launchAll(launches);
  }
  /// Gets ready for the first replay() of such a list, without running it; work that has been issued goes on
  /// meanwhile.
  virtual void prepare(std::span<const LaunchArgs>, std::unique_ptr<LaunchRecording> &) {}
  /// Runs the launches one after the other and waits for them: the seconds that each took.
  virtual std::vector<double> timeLaunches(std::span<const LaunchArgs> launches);
  virtual void synchronize() = 0;

private:
  /// Copies of devices that copy at once.
  std::deque<std::vector<std::byte>> downloads;
  uint64_t firstDownload = 0;
};

/// How a device is asked for on the command line.
struct DeviceOptions {
  /// "auto" (CUDA where there is a GPU, else the CPU), "cpu", "cuda", "cuda:N", "host-cuda",
  /// "host-cuda:sm_90a" (what is compiled for that architecture).
  std::string device = "auto";
  /// Worker threads of the CPU; 0: one a core.
  int threads = 0;
};

} // namespace mlsys::rt
