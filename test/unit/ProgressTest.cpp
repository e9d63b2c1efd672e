//===- ProgressTest.cpp - How far long work has come ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Progress.h"

#include <gtest/gtest.h>

#include <sstream>

using namespace mlsys::rt;

namespace {

TEST(Progress, WritesPlainLinesIntoALog) {
  std::ostringstream out;
  {
    Progress progress(out, false, "loading weights");
    progress.patience = {};
    for (uint64_t i = 0; i <= 1000; ++i)
      progress.update(i, 1000);
  }
  EXPECT_EQ(out.str(), "loading weights: 0%\nloading weights: 25%\nloading weights: 50%\n"
                       "loading weights: 75%\nloading weights: 100%\n");
}

TEST(Progress, DrawsABarOnATerminalAndRemovesIt) {
  std::ostringstream out;
  {
    Progress progress(out, true, "loading");
    progress.patience = {};
    progress.update(1, 2);
    progress.update(1, 2);
    EXPECT_EQ(out.str(), "\rloading [" + std::string(15, '#') + std::string(15, ' ') + "]  50%");
  }
  EXPECT_TRUE(out.str().ends_with("\r\033[K"));
}

TEST(Progress, SaysNothingWhenWorkIsQuick) {
  std::ostringstream out;
  {
    Progress progress(out, true, "loading");
    progress.update(1, 1);
    progress.update(0, 0);
  }
  EXPECT_EQ(out.str(), "");
}

TEST(Progress, FormatsBytes) {
  EXPECT_EQ(formatBytes(1000), "1000 B");
  EXPECT_EQ(formatBytes(1536), "1.5 KiB");
  EXPECT_EQ(formatBytes(283115520), "270.0 MiB");
}

} // namespace
