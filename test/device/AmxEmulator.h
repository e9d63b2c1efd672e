//===- AmxEmulator.h - AMX instructions without AMX -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A processor without AMX refuses its instructions, and the signal's handler carries them out: compiled
// kernels run as they are, with their own configuration of tiles, addresses and loops.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <csignal>
#include <cstdint>

namespace mlsys::test {

/// While one exists, AMX instructions of this process are carried out by software: LDTILECFG,
/// STTILECFG, TILERELEASE, TILEZERO, TILELOADD(T1), TILESTORED and TDPBF16PS. Each thread has tiles of its
/// own. What a processor would refuse (a tile without configuration, shapes that do not fit each other, ...)
/// is printed and ends the process. On a processor with AMX nothing comes here. At most one at a time.
class AmxEmulator {
public:
  AmxEmulator();
  ~AmxEmulator();
  AmxEmulator(const AmxEmulator &) = delete;
  AmxEmulator &operator=(const AmxEmulator &) = delete;

  /// How many instructions were carried out so far, of all and of those that multiply.
  static int64_t instructions();
  static int64_t products();

private:
  struct sigaction previous;
};

} // namespace mlsys::test
