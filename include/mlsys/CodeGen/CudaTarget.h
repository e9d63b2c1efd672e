//===- CudaTarget.h - What code generation knows of a GPU -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <memory>
#include <string>

namespace mlsys {

struct TileTable;

/// A GPU as far as kernels are planned for it. Plans depend on the family and these numbers alone, so that a
/// program runs the same on every GPU of its family; other GPUs than the one named run it well, too.
struct CudaTarget {
  /// "sm_80" (mma.sync, cp.async; runs on every GPU from 8.0 on) or "sm_90a" (wgmma, TMA): rt::cudaFamily.
  std::string family = "sm_80";
  /// Streaming multiprocessors: 108 (A100) or 132 (H100, H200).
  int64_t multiprocessors = 108;
  /// Bytes of shared memory that one block may have, and that one multiprocessor has for all its blocks. In the
  /// portable family those of the smallest GPU, 8.6 and 8.9.
  int64_t blockSharedBytes = 99 << 10, sharedBytes = 100 << 10;
  /// 32-bit registers of a multiprocessor.
  int64_t registers = 65536;
  /// Measured tiles; null: by model.
  std::shared_ptr<const TileTable> tiles;
  /// Which of the best tiles by model is tried, from 1; 0: none.
  int64_t candidate = 0;

  /// The target for an architecture as NVRTC names it, or for the portable family when it is empty.
  static CudaTarget get(llvm::StringRef arch);
  bool isHopper() const { return family == "sm_90a"; }
};

} // namespace mlsys
