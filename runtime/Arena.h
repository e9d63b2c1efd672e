//===- Arena.h - Numbered pieces of device memory ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Device.h"

#include <algorithm>
#include <vector>

namespace mlsys::rt {

/// Slots of device memory that grow and are kept between calls. Each slot is an
/// allocation of its own, so that a device with guard pages sees overruns.
class Arena {
public:
  explicit Arena(Device &device) : device(&device) {}
  ~Arena() {
    for (Slot &slot : slots)
      if (slot.address)
        device->free(slot.address);
  }
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  /// Makes slot `index` at least `bytes` large; its contents are lost when it moves.
  void reserve(size_t index, size_t bytes) {
    if (slots.size() <= index)
      slots.resize(index + 1);
    Slot &slot = slots[index];
    bytes = std::max<size_t>(bytes, 1);
    if (slot.bytes >= bytes)
      return;
    if (slot.address)
      device->free(slot.address);
    slot = {};
    ++moves;
    slot.address = device->allocate(bytes);
    slot.bytes = bytes;
  }

  /// Whether reserve() of that would move nothing.
  bool holds(size_t index, size_t bytes) const {
    return index < slots.size() && slots[index].bytes >= std::max<size_t>(bytes, 1);
  }

  void *address(size_t index) const { return slots[index].address; }
  /// Grows whenever an address changes.
  uint64_t generation() const { return moves; }
  /// Bytes of all slots.
  size_t totalBytes() const {
    size_t total = 0;
    for (const Slot &slot : slots)
      total += slot.bytes;
    return total;
  }

private:
  struct Slot {
    void *address = nullptr;
    size_t bytes = 0;
  };

  Device *device;
  std::vector<Slot> slots;
  uint64_t moves = 0;
};

} // namespace mlsys::rt
