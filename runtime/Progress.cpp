//===- Progress.cpp - How far long work has come ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;

bool rt::standardErrorIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

std::string rt::formatBytes(uint64_t bytes) {
  static constexpr const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

Progress::Progress(std::string label)
    : Progress(std::cerr, standardErrorIsTerminal(), std::move(label)) {}

Progress::~Progress() {
  if (terminal && shown)
    out << "\r\033[K" << std::flush;
}

void Progress::update(uint64_t done, uint64_t total) {
  if (total == 0 || std::chrono::steady_clock::now() - start < patience)
    return;
  int percent = int(100 * (double(std::min(done, total)) / double(total)));
  if (terminal) {
    if (percent == lastShown)
      return;
    constexpr int width = 30;
    int filled = percent * width / 100;
    out << fmt::format("\r{} [{}{}] {:3}%", label, std::string(size_t(filled), '#'),
                       std::string(size_t(width - filled), ' '), percent)
        << std::flush;
  } else {
    // Every quarter.
    percent = percent / 25 * 25;
    if (percent <= lastShown)
      return;
    out << fmt::format("{}: {}%\n", label, percent) << std::flush;
  }
  shown = true;
  lastShown = percent;
}
