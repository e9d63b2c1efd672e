//===- DeviceLibrary.h - The device library as embedded text ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <vector>

namespace mlsys::rt {

/// One file of runtime/device, by the name that an `#include` uses for it
/// ("mlsys/matmul.cuh").
struct DeviceLibraryFile {
  std::string name;
  std::string text;
};

/// All files of runtime/device/mlsys. Emitted CUDA text includes nothing else.
const std::vector<DeviceLibraryFile> &deviceLibraryFiles();

} // namespace mlsys::rt
