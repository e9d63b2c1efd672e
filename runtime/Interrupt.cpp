//===- Interrupt.cpp - Ctrl-C as a flag -------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Interrupt.h"

#include <csignal>

using namespace mlsys;

static std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

const std::atomic<bool> &rt::catchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted.store(true); };
  // Back to the default after the first signal; system calls go on.
  action.sa_flags = int(SA_RESETHAND) | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  return interrupted;
}
