//===- Interrupt.cpp - Ctrl-C as a flag -------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Interrupt.h"

#include "runtime/Error.h"

#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;

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

/// What the handler writes to and poll() waits for: the flag alone could be set just before a
/// thread begins to wait.
static int wakeup[2] = {-1, -1};

Interrupts &Interrupts::watch() {
  static Interrupts only;
  if (wakeup[0] < 0 && pipe2(wakeup, O_CLOEXEC | O_NONBLOCK) != 0)
    throw Error("cannot make a pipe: {}", std::strerror(errno));
  struct sigaction action = {};
  action.sa_handler = [](int signal) {
    int error = errno;
    if (interrupted.exchange(true)) {
      struct sigaction byDefault = {};
      byDefault.sa_handler = SIG_DFL;
      sigaction(signal, &byDefault, nullptr);
      raise(signal);
    }
    // When the pipe is full, it can be read from already.
    [[maybe_unused]] ssize_t written = write(wakeup[1], "", 1);
    errno = error;
  };
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  return only;
}

const std::atomic<bool> &Interrupts::flag() const { return interrupted; }

void Interrupts::clear() {
  char byte;
  while (read(wakeup[0], &byte, 1) > 0)
    ;
  interrupted.store(false);
}

int Interrupts::descriptor() const { return wakeup[0]; }
