//===- Process.h - Runs tools as a user does --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdio>
#include <string>

#include <sys/wait.h>

namespace mlsys::test {

struct Outcome {
  /// The exit code, or minus the signal that ended the process.
  int code;
  /// Standard output and error.
  std::string output;
};

/// Runs a command line of the shell.
inline Outcome runShell(const std::string &words) {
  std::string command = "( " + words + " ) 2>&1";
  FILE *pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (size_t count = fread(buffer, 1, sizeof(buffer), pipe))
    output.append(buffer, count);
  int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), output};
}

} // namespace mlsys::test
