//===- DeviceSampling.h - How a device chooses tokens -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace mlsys::rt {

/// How the next token of a request is chosen, as `sampling` of device/mlsys/sample.cuh, which has
/// the same layout. The meaning is that of SamplerOptions.
struct DeviceSampling {
  float temperature = 0;
  int32_t topK = 0;
  float topP = 1, minP = 0;
  uint64_t seed = 0;
  /// Draws before this one.
  uint64_t draws = 0;
};
static_assert(sizeof(DeviceSampling) == 32);

} // namespace mlsys::rt
