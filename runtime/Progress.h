//===- Progress.h - How far long work has come ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

namespace mlsys::rt {

/// Shows work that takes a while: a bar on a terminal, a plain line now and
/// then in a log, nothing when it is quick.
class Progress {
public:
  /// `out` is a terminal when `terminal` is set.
  Progress(std::ostream &out, bool terminal, std::string label)
      : out(out), terminal(terminal), label(std::move(label)) {}
  /// On standard error.
  explicit Progress(std::string label);
  /// Removes the bar.
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// `done` of `total` units are done.
  void update(uint64_t done, uint64_t total);

  /// How long work must take before it is shown; tests set it to 0.
  std::chrono::milliseconds patience{300};

private:
  std::ostream &out;
  bool terminal;
  std::string label;
  bool shown = false;
  int lastShown = -1;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

/// True when standard error is a terminal.
bool standardErrorIsTerminal();

/// "270.0 MiB", "1.5 GiB", ...
std::string formatBytes(uint64_t bytes);

} // namespace mlsys::rt
