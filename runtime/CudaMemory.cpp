//===- CudaMemory.cpp - Memory of a GPU and ways to it --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/CudaMemory.h"

#include "runtime/Error.h"

#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;

/// Pieces of a slot begin at multiples of this.
static constexpr size_t pieceAlignment = 256;

//===----------------------------------------------------------------------===//
// Copies to the GPU
//===----------------------------------------------------------------------===//

PinnedRing::~PinnedRing() {
  // Errors here have been reported by the call that caused them.
  for (Slot &slot : slots) {
    if (slot.event) {
      if (slot.pending)
        driver.eventSynchronize(slot.event);
      driver.eventDestroy(slot.event);
    }
    if (slot.memory)
      driver.memFreeHost(slot.memory);
  }
}

std::byte *PinnedRing::take(size_t bytes) {
  if (bytes > slotBytes)
    throw Error("a piece of {} bytes for page-locked slots of {}", bytes, slotBytes);
  if (slots[current].memory && used + bytes > slotBytes) {
    driver.check(driver.eventRecord(slots[current].event, stream), "cuEventRecord");
    slots[current].pending = true;
    current = (current + 1) % slots.size();
    used = 0;
  }
  Slot &slot = slots[current];
  if (!slot.memory) {
    void *memory = nullptr;
    driver.check(driver.memHostAlloc(&memory, slotBytes, 0),
                 fmt::format("allocating {} bytes of page-locked memory", slotBytes));
    slot.memory = static_cast<std::byte *>(memory);
    driver.check(driver.eventCreate(&slot.event, cuda::eventDisableTiming), "cuEventCreate");
  }
  if (slot.pending) {
    driver.check(driver.eventSynchronize(slot.event), "copying to the GPU");
    slot.pending = false;
  }
  std::byte *piece = slot.memory + used;
  used += (bytes + pieceAlignment - 1) / pieceAlignment * pieceAlignment;
  return piece;
}

//===----------------------------------------------------------------------===//
// Copies from the GPU
//===----------------------------------------------------------------------===//

PinnedDownloads::~PinnedDownloads() {
  for (Slot &slot : slots)
    if (slot.event)
      driver.eventDestroy(slot.event);
  if (memory)
    driver.memFreeHost(memory);
}

uint64_t PinnedDownloads::start(const void *source, size_t bytes) {
  if (bytes > slotBytes || started - finished >= slotCount)
    throw Error("a download of {} bytes with {} under way", bytes, started - finished);
  if (!memory) {
    void *allocated = nullptr;
    driver.check(driver.memHostAlloc(&allocated, slotCount * slotBytes, 0), "allocating page-locked memory");
    memory = static_cast<std::byte *>(allocated);
  }
  Slot &slot = slots[started % slotCount];
  if (!slot.event)
    driver.check(driver.eventCreate(&slot.event, cuda::eventDisableTiming), "cuEventCreate");
  slot.bytes = bytes;
  driver.check(driver.memcpyDtoH(memory + started % slotCount * slotBytes, addressOf(source), bytes, stream),
               "copying from the GPU");
  driver.check(driver.eventRecord(slot.event, stream), "cuEventRecord");
  return started++;
}

void PinnedDownloads::finish(uint64_t ticket, void *destination) {
  if (ticket != finished || finished == started)
    throw Error("download {} is finished out of turn", ticket);
  Slot &slot = slots[ticket % slotCount];
  ++finished;
  driver.check(driver.eventSynchronize(slot.event), "running kernels");
  std::memcpy(destination, memory + ticket % slotCount * slotBytes, slot.bytes);
}

//===----------------------------------------------------------------------===//
// Allocation
//===----------------------------------------------------------------------===//

CudaAllocator::CudaAllocator(const CudaDriver &driver, const GpuInfo &info, cuda::Device device, cuda::Stream stream)
    : driver(driver), info(info), stream(stream) {
  int hasPools = 0;
  driver.check(driver.deviceGetAttribute(&hasPools, cuda::deviceAttributeMemoryPools, device), "cuDeviceGetAttribute");
  if (!hasPools)
    return;
  driver.check(driver.deviceGetDefaultMemPool(&pool, device), "cuDeviceGetDefaultMemPool");
  // What is freed stays in the pool, for the next allocation.
  uint64_t all = UINT64_MAX;
  driver.check(driver.memPoolSetAttribute(pool, cuda::poolAttributeReleaseThreshold, &all), "cuMemPoolSetAttribute");
}

void *CudaAllocator::allocate(MemoryUse use, size_t bytes) {
  bool pooled = pool && use == MemoryUse::Temporaries;
  auto tryOnce = [&](cuda::Address &address) {
    return pooled ? driver.memAllocAsync(&address, bytes, stream) : driver.memAlloc(&address, bytes);
  };
  cuda::Address address = 0;
  int status = tryOnce(address);
  if (status == cuda::outOfMemory && pool) {
    // The pool may hold memory that was freed.
    driver.check(driver.streamSynchronize(stream), "running kernels");
    driver.check(driver.memPoolTrimTo(pool, 0), "cuMemPoolTrimTo");
    status = tryOnce(address);
  }
  if (status == cuda::outOfMemory)
    reportFull(use, bytes);
  driver.check(status, fmt::format("allocating {} bytes on {}", bytes, info.name));
  void *result = reinterpret_cast<void *>(address);
  if (!pooled)
    direct.insert(result);
  return result;
}

void CudaAllocator::free(void *address) {
  if (direct.erase(address) == 0) {
    driver.check(driver.memFreeAsync(addressOf(address), stream), "cuMemFreeAsync");
    return;
  }
  // Kernels that still use the memory end first.
  driver.check(driver.streamSynchronize(stream), "the kernels before a free");
  driver.check(driver.memFree(addressOf(address)), "cuMemFree");
}

static std::string sizeText(size_t bytes) {
  if (bytes < size_t(1) << 20)
    return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / (1 << 30);
  return value < 0.1 ? fmt::format("{:.1f} MiB", value * 1024) : fmt::format("{:.1f} GiB", value);
}

void CudaAllocator::reportFull(MemoryUse use, size_t bytes) const {
  size_t free = 0, total = 0;
  driver.check(driver.memGetInfo(&free, &total), "cuMemGetInfo");
  const char *what = "", *advice = "";
  switch (use) {
  case MemoryUse::Weights:
    what = "the model's weights";
    advice = "use --device cpu, another GPU with --device cuda:N, or a smaller model";
    break;
  case MemoryUse::Cache:
    what = "the KV cache";
    advice = "use a smaller --ctx-size, a smaller --kv-type, or --device cpu";
    break;
  case MemoryUse::Temporaries:
    what = "the temporaries of a step";
    advice = "use a smaller --chunk or --ctx-size, or --device cpu";
    break;
  }
  throw Error("not enough memory on {} (cuda:{}): {} need{} {} and {} of {} are free; {}", info.name, info.index, what,
              use == MemoryUse::Cache ? "s" : "", sizeText(bytes), sizeText(free), sizeText(total), advice);
}
