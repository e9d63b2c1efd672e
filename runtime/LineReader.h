//===- LineReader.h - Lines of a terminal or pipe ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Interrupt.h"

#include <string>

namespace mlsys::rt {

/// Reads lines from a file descriptor, which stays the caller's. Ctrl-C ends the wait.
class LineReader {
public:
  /// `interrupts` may be null.
  LineReader(int descriptor, const Interrupts *interrupts)
      : descriptor(descriptor), interrupts(interrupts) {}

  enum class Status { Line, End, Interrupted };

  /// The next line, without its end; the last one needs none. Throws rt::Error.
  Status read(std::string &line);

private:
  int descriptor;
  const Interrupts *interrupts;
  std::string buffer;
  bool ended = false;
};

} // namespace mlsys::rt
