//===- Kernels.h - Loops that show what a machine can do --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mlsys::bench {

/// What one thread gets: two blocks of memory of its own, aligned to 4096.
struct Task {
  char *source, *destination;
  size_t bytes;
};

/// A loop for one thread.
struct Loop {
  /// "read", "copy", "copy_non_temporal", "write_non_temporal", "f32_fma", "bf16_dot", "amx_bf16",
  /// "i8_dot", "i8_pairs" (widened to 16 bits), "amx_i8".
  std::string name;
  /// Does the work once. The result depends on all of it.
  float (*run)(const Task &task);
  /// Bytes moved for each byte of a block; 0 for arithmetic.
  double bytesPerByte;
  /// Operations, a multiply-add being two; 0 for memory.
  double flops;
};

/// The loops that this processor can run, in the widest form it has.
std::vector<Loop> availableLoops();

} // namespace mlsys::bench
