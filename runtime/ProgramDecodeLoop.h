//===- ProgramDecodeLoop.h - Decoding on the device -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/StepInputs.h"

#include <deque>

namespace mlsys::rt {

/// Decode steps of a program whose kernel of kind "sample" chooses each token and makes it the
/// input of the next step: a step is a decode function and that kernel, one graph of launches on a
/// GPU, and only the chosen ids come back.
class ProgramDecodeLoop : public DecodeLoop {
public:
  /// Bytes of device memory that `requests` requests need.
  static size_t memoryBytes(int64_t requests) { return size_t(requests) * (sizeof(DeviceSampling) + sizeof(int64_t)); }
  /// Whether a loop can be made of a decode function.
  static bool supports(const program::Function &function);

  /// Starts the first step. `memory` is device memory of memoryBytes() that nobody else uses;
  /// `kernel` is the sampling kernel. `device` and `executor` outlive this object.
  ProgramDecodeLoop(Device &device, Executor &executor, uint32_t function, uint32_t kernel, int64_t pageSize,
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
  TailLaunch tail;
  void *chosen;
  std::deque<uint64_t> tickets;
};

} // namespace mlsys::rt
