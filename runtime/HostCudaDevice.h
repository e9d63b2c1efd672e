//===- HostCudaDevice.h - CUDA programs on the CPU --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Device.h"
#include "runtime/HostExecutor.h"

#include <filesystem>
#include <map>

namespace mlsys::rt {

/// A device that runs the CUDA text of a program with the host executor: all
/// kernels and the device library are compiled to one shared object by the
/// system's C++ compiler and kept in the kernel cache. For tests; slow.
class HostCudaDevice : public Device {
public:
  /// One kernel's name and CUDA text.
  struct Source {
    std::string name, text;
  };

  /// `arch`: the GPU whose program it runs; any when empty.
  HostCudaDevice(int threads, HostSchedule schedule, std::string arch = "");
  ~HostCudaDevice() override;

  std::string description() const override;
  std::string target() const override { return "cuda"; }
  std::string arch() const override { return architecture; }
  bool hostAccessible() const override { return true; }

  /// The memory ends at a guard page, up to 255 bytes of padding before it; the
  /// padding is checked after each launch.
  void *allocate(size_t bytes) override;
  void free(void *address) override;
  void upload(void *destination, const void *source, size_t bytes) override;
  void download(void *destination, const void *source, size_t bytes) override;
  void zero(void *destination, size_t bytes) override;

  void load(const program::TargetProgram &program) override;
  /// As load, from texts.
  void loadSources(const std::vector<Source> &sources);
  void launch(const LaunchArgs &args) override;
  void synchronize() override {}

private:
  struct Allocation {
    unsigned char *region;
    size_t regionBytes, bytes;
  };
  struct Kernel {
    std::string name;
    void (*entry)(host::Context *, void *const *);
    int parameters;
    /// Of __cluster_dims__; 1 without.
    int cluster;
  };

  std::string nearestAllocation(const void *address) const;
  void checkPadding(const std::string &kernel) const;

  HostExecutor executor;
  std::string architecture;
  std::map<uintptr_t, Allocation> allocations;
  std::vector<Kernel> kernels;
  void *library = nullptr;
};

/// The C++ compiler for the host executor: MLSYS_HOST_CXX, else the first that PATH has of
/// clang++ and g++ and their numbered names. Throws rt::Error when there is none.
std::string findHostCompiler();

/// Runs a program with its output going to a file; returns the output, and the exit
/// status in `status`.
std::string runProcess(const std::vector<std::string> &arguments, int &status);

std::unique_ptr<Device> createHostCudaDevice(const DeviceOptions &options);

} // namespace mlsys::rt
