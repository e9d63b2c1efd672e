//===- Interrupt.h - Ctrl-C as a flag ---------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <atomic>

namespace mlsys::rt {

/// The exit code of a program that Ctrl-C stopped.
inline constexpr int interruptedExitCode = 130;

/// From now on the first Ctrl-C sets the flag that is returned; a second one ends
/// the process.
const std::atomic<bool> &catchInterrupt();

} // namespace mlsys::rt
