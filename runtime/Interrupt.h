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

/// Ctrl-C in a dialogue, where it ends what is being done and not the process.
class Interrupts {
public:
  /// From now on Ctrl-C sets the flag. One that comes while the flag is set ends the process.
  static Interrupts &watch();

  const std::atomic<bool> &flag() const;
  /// Takes note of what came; the next Ctrl-C is a first one again.
  void clear();
  /// A file descriptor that can be read from while the flag is set, for poll().
  int descriptor() const;

private:
  Interrupts() = default;
};

} // namespace mlsys::rt
