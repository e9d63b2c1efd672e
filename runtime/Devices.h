//===- Devices.h - The devices that there are -------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Device.h"

#include <string>

namespace mlsys::rt {

class LoadedProgram;

/// The device that `options` name ("auto": CUDA where there is a GPU, else the
/// CPU). Throws when it is unknown or absent.
std::unique_ptr<Device> createDevice(const DeviceOptions &options);

/// The device that "auto" means for a program, given what it was compiled for
/// and what this machine has; other names are returned as they are.
std::string resolveDevice(const std::string &name, const LoadedProgram &program);

} // namespace mlsys::rt
