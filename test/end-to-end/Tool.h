//===- Tool.h - Runs mlsys as a user does -----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "test/support/Process.h"

namespace mlsys::test {

/// Runs mlsys with the words of a shell.
inline Outcome runTool(const std::string &arguments) {
  return runShell(std::string(MLSYS_TOOL) + " " + arguments);
}

} // namespace mlsys::test
