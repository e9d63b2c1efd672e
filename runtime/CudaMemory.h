//===- CudaMemory.h - Memory of a GPU and ways to it ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/CudaDriver.h"
#include "runtime/Device.h"

#include <span>
#include <unordered_set>
#include <vector>

namespace mlsys::rt {

/// Page-locked memory of the host that copies to the GPU go through. The memory is a ring of
/// slots, each of which is used again when the copies out of it have ended, so that the host
/// fills one while others travel.
class PinnedRing {
public:
  /// `stream` is where the copies run. Memory is allocated at first use.
  PinnedRing(const CudaDriver &driver, cuda::Stream stream, size_t slotCount, size_t slotBytes)
      : driver(driver), stream(stream), slotBytes(slotBytes), slots(slotCount) {}
  ~PinnedRing();
  PinnedRing(const PinnedRing &) = delete;
  PinnedRing &operator=(const PinnedRing &) = delete;

  /// Host memory for `bytes`, at most slotSize(), for one copy that is put into the stream before
  /// the next take().
  std::byte *take(size_t bytes);
  size_t slotSize() const { return slotBytes; }

private:
  struct Slot {
    std::byte *memory = nullptr;
    cuda::Event event = nullptr;
    /// The event marks the end of copies that have begun.
    bool pending = false;
  };

  const CudaDriver &driver;
  cuda::Stream stream;
  size_t slotBytes;
  std::vector<Slot> slots;
  size_t current = 0, used = 0;
};

/// Small copies from the GPU to page-locked memory, each with an event that says when it has
/// ended.
class PinnedDownloads {
public:
  static constexpr size_t slotCount = 16, slotBytes = 4096;

  PinnedDownloads(const CudaDriver &driver, cuda::Stream stream) : driver(driver), stream(stream) {}
  ~PinnedDownloads();
  PinnedDownloads(const PinnedDownloads &) = delete;
  PinnedDownloads &operator=(const PinnedDownloads &) = delete;

  uint64_t start(const void *source, size_t bytes);
  void finish(uint64_t ticket, void *destination);

private:
  struct Slot {
    cuda::Event event = nullptr;
    size_t bytes = 0;
  };

  const CudaDriver &driver;
  cuda::Stream stream;
  std::byte *memory = nullptr;
  Slot slots[slotCount];
  uint64_t started = 0, finished = 0;
};

/// Allocates memory of one GPU: weights and the KV cache directly, temporaries from the driver's
/// pool in the order of a stream, so that neither allocating nor freeing them waits for kernels.
class CudaAllocator {
public:
  CudaAllocator(const CudaDriver &driver, const GpuInfo &info, cuda::Device device, cuda::Stream stream);

  /// Throws an rt::Error that says what the memory was for, how much is free and what to do.
  void *allocate(MemoryUse use, size_t bytes);
  void free(void *address);

private:
  [[noreturn]] void reportFull(MemoryUse use, size_t bytes) const;

  const CudaDriver &driver;
  const GpuInfo &info;
  cuda::Stream stream;
  /// Null when the driver has no pools.
  cuda::MemoryPool pool = nullptr;
  /// Addresses that are not from the pool.
  std::unordered_set<void *> direct;
};

/// The driver's name of a pointer.
inline cuda::Address addressOf(const void *pointer) { return reinterpret_cast<cuda::Address>(pointer); }

} // namespace mlsys::rt
