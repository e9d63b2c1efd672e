//===- CpuDevice.h - Kernels of a CPU program on threads --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Device.h"
#include "runtime/ThreadPool.h"

#include <span>
#include <string_view>

namespace mlsys::rt {

/// Whether this machine and its kernel can run code for an instruction set
/// ("x86-64-v3", "x86-64-v4", "avx512bf16", "amx"). For "amx" it also asks the
/// operating system for the tile registers, for all threads started later.
bool cpuSupports(std::string_view isa);

/// The best instruction set of this machine that a CpuLibrary can be for; empty
/// when it has none of them.
std::string bestCpuIsa();

/// The program with code for the best instruction set that this machine has; the first
/// when none has any.
const program::TargetProgram *
bestCpuProgram(std::span<const program::TargetProgram *const> programs);

/// The processor's name, e.g. "AMD EPYC".
std::string cpuModelName();

/// The device "cpu", whose memory is the host's.
std::unique_ptr<Device> createCpuDevice(const DeviceOptions &options);

} // namespace mlsys::rt
