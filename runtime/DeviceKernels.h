//===- DeviceKernels.h - Kernels that the runtime launches ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace mlsys::rt {

/// Tokens are chosen by two kernels, one behind the other: see sample_part_of and sample_step in
/// device/mlsys/sample.cuh, whose parameters theirs are. The first has a warp for each part of a request's
/// logits, the requests along y; the second has one block a request.
inline constexpr int samplePartThreads = 128, sampleThreads = 512;
/// Dynamic shared memory of the second.
inline constexpr uint32_t sampleSharedBytes = (33 * 16 + 1024) * 4;
/// Bytes of what is known of a part, and how many parts there are.
inline constexpr size_t samplePartBytes = 24;
constexpr int64_t sampleParts(int64_t vocabulary) {
  constexpr int64_t most = 1024, least = 256;
  int64_t size = (vocabulary + most * least - 1) / (most * least) * least;
  return (vocabulary + size - 1) / size;
}
/// Threads of a block of the kernel that makes random weights; see random_fill in
/// device/mlsys/random.cuh.
inline constexpr int randomThreads = 256;

/// Kernel.kind of them.
inline constexpr std::string_view samplePartKind = "sample_part", sampleKind = "sample_step", randomKind = "random";

/// Adds to a CUDA program the kernels that no launch of it names but that the runtime launches by
/// itself: to choose tokens after a decode step, and to make random weights.
void addRuntimeKernels(program::TargetProgramT &program);

/// The index of the kernel of a kind; nothing when the program has none.
std::optional<uint32_t> findKernel(const program::TargetProgram &program, std::string_view kind);

} // namespace mlsys::rt
