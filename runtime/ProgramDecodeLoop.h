//===- ProgramDecodeLoop.h - Decoding on the device -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/StepInputs.h"

#include <deque>
#include <optional>
#include <vector>

namespace mlsys::rt {

/// The kernels of a program that choose tokens; see DeviceKernels.h.
struct SampleKernels {
  uint32_t part, step;

  /// Those of a program; nothing when it has none.
  static std::optional<SampleKernels> find(const program::TargetProgram &program);
};

/// Decode steps of a program whose sampling kernels choose each token and make it the
/// input of the next step: a step is a decode function and these kernels, one graph of launches on a
/// GPU, and only the chosen ids come back.
class ProgramDecodeLoop : public DecodeLoop {
public:
  /// Bytes of device memory that so many requests of a decode function need.
  static size_t memoryBytes(const program::Function &function, int64_t requests);
  /// Whether a loop can be made of a decode function.
  static bool supports(const program::Function &function);

  /// Gets ready for a loop of a decode function, while the device does other work.
  static void prepare(Executor &executor, uint32_t function, int64_t requests, SampleKernels kernels, int64_t pageSize,
                      void *memory, int64_t maxPages);

  /// Starts the first step. `memory` is device memory of memoryBytes() that nobody else uses.
  /// `device` and `executor` outlive this object.
  ProgramDecodeLoop(Device &device, Executor &executor, uint32_t function, SampleKernels kernels, int64_t pageSize,
                    void *memory, const StepBatch &first, std::span<const DeviceSampling> how);
  /// Waits for the steps that have begun.
  ~ProgramDecodeLoop() override;

  void start(std::span<const int32_t> blockTable, int64_t maxPages) override;
  void finish(std::span<int64_t> ids) override;

private:
  void run(const StepBatch &batch);

  Device &device;
  Executor &executor;
  uint32_t index;
  int64_t requests, maxPages;
  std::vector<TailLaunch> tail;
  void *chosen;
  std::deque<uint64_t> tickets;
};

} // namespace mlsys::rt
