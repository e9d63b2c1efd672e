//===- ProgramModel.h - Models that run a compiled program ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Device.h"
#include "runtime/ModelHandle.h"
#include "runtime/Program.h"

#include <functional>

namespace mlsys::rt {

/// What a program is opened for; only the weights for that are loaded. Any: for text when it has
/// step functions, and else for tensors.
enum class Purpose { Text, Tensors, Any };

/// How to open a program.
struct OpenOptions {
  DeviceOptions device;
  Purpose purpose = Purpose::Text;
  /// Tokens that the KV cache holds; 0: the model's context, or what of it fits
  /// into 4 GiB.
  int64_t contextTokens = 0;
  /// Called with bytes loaded and bytes in all while weights are loaded.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

/// The text material of a program; nothing when it has none.
std::optional<TextMaterial> textMaterial(const program::Program &program);

/// Loads weights and kernels onto a device. Throws rt::Error. For
/// Purpose::Text the program must have step functions (prefill or decode).
ModelHandle openProgram(LoadedProgram program, const OpenOptions &options);

} // namespace mlsys::rt
