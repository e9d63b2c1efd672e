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

/// Threads of a block of the sampling kernel, which has one block a request, and its dynamic
/// shared memory. Its parameters are those of sample_step in device/mlsys/sample.cuh.
inline constexpr int sampleThreads = 512;
inline constexpr uint32_t sampleSharedBytes = 33 * 16 * 4;
/// Threads of a block of the kernel that makes random weights; see random_fill in
/// device/mlsys/random.cuh.
inline constexpr int randomThreads = 256;

/// Kernel.kind of them.
inline constexpr std::string_view sampleKind = "sample", randomKind = "random";

/// Adds to a CUDA program the kernels that no launch of it names but that the runtime launches by
/// itself: to choose tokens after a decode step, and to make random weights.
void addRuntimeKernels(program::TargetProgramT &program);

/// The index of the kernel of a kind; nothing when the program has none.
std::optional<uint32_t> findKernel(const program::TargetProgram &program, std::string_view kind);

} // namespace mlsys::rt
