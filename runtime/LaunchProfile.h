//===- LaunchProfile.h - What each launch took ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstdint>
#include <map>
#include <vector>

namespace mlsys::rt {

/// The launches that an Executor ran while it had this profile, one by one. The pointers are
/// into the program.
struct LaunchProfile {
  struct Record {
    const program::Function *function;
    const program::Launch *launch;
    const program::Kernel *kernel;
    double seconds;
    /// What the compiler counts for the call's symbols: bytes read and written, and flops.
    int64_t bytes, flops;
  };
  std::vector<Record> records;
  /// How often each function was called.
  std::map<const program::Function *, int64_t> calls;
};

} // namespace mlsys::rt
