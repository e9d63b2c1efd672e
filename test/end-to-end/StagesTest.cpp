//===- StagesTest.cpp - Compilation stopped and resumed -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"
#include "Tool.h"

#include "test/support/TempFolder.h"

#include <gtest/gtest.h>

using namespace mlsys;
using namespace mlsys::test;

namespace {

struct Stop {
  std::string stage, target;
};

void PrintTo(const Stop &stop, std::ostream *os) { *os << stop.stage << " for " << stop.target; }

std::string nameOf(const testing::TestParamInfo<Stop> &info) {
  return info.param.stage + "_" + info.param.target;
}

using Stages = testing::TestWithParam<Stop>;

const std::string flags = " --decode-buckets 1 ";

/// The text that a compiled model writes on `device`.
Outcome generate(const std::string &file, const std::string &device) {
  return runTool("generate " + file + " --device " + device + " -p 'Once upon' -n 4 --temp 0 2>/dev/null");
}

TEST_P(Stages, AreAcceptedByMlsysOptAndResume) {
  const auto &[stage, target] = GetParam();
  TempFolder folder;
  std::string model = dataPath("models/stories260K"), ir = folder / "stopped.mlir";
  Outcome stopped = runTool("compile " + model + " --dtype f32 --target " + target + flags +
                            "--stop-after " + stage + " -o " + ir);
  ASSERT_EQ(stopped.code, 0) << stopped.output;

  // mlsys-opt reads it, prints the same, and the stage's own checks pass again.
  Outcome opt = runShell(std::string(MLSYS_OPT) + " " + ir + " -o " + (folder / "again.mlir"));
  ASSERT_EQ(opt.code, 0) << opt.output;
  if (stage != "emit") {
    Outcome verified = runShell(std::string(MLSYS_OPT) + " -mlsys-verify-stage=stage=" + stage +
                                " " + ir + " -o /dev/null");
    EXPECT_EQ(verified.code, 0) << verified.output;
  }

  Outcome resumed = runTool("compile " + (folder / "again.mlir") + " --target " + target + flags +
                            "-o " + (folder / "resumed.mlsys"));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  std::string device = target == "cuda" ? "host-cuda" : "cpu";
  Outcome text = generate(folder / "resumed.mlsys", device);
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.output, " a time, there\n");
}

INSTANTIATE_TEST_SUITE_P(EndToEnd, Stages,
                         testing::Values(Stop{"import", "cpu"}, Stop{"decompose", "cpu"},
                                         Stop{"cache", "cpu"}, Stop{"fuse", "cpu"},
                                         Stop{"kernel", "cpu"}, Stop{"emit", "cpu"},
                                         Stop{"fuse", "cuda"}, Stop{"kernel", "cuda"},
                                         Stop{"emit", "cuda"}),
                         nameOf);

TEST(Stages, AreDumped) {
  TempFolder folder;
  Outcome outcome = runTool("compile " + dataPath("models/llama") + flags + "--target cpu,cuda -o " +
                            (folder / "m.mlsys") + " --dump-dir " + (folder / "dump"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const char *name : {"01-import", "02-decompose", "03-cache", "04-fuse-cpu", "04-fuse-cuda",
                           "05-kernel-cpu", "05-kernel-cuda", "06-emit-cpu"})
    EXPECT_GT(std::filesystem::file_size(folder / ("dump/" + std::string(name) + ".mlir")), 1000u)
        << name;
}

TEST(Stages, AreNotGoneBackTo) {
  TempFolder folder;
  std::string ir = folder / "kernel.mlir";
  ASSERT_EQ(runTool("compile " + dataPath("models/llama") + flags + "--stop-after kernel -o " + ir).code, 0);
  struct Case {
    std::string arguments, expected;
  };
  const Case cases[] = {
      {"compile " + ir + " --stop-after fuse", "is past the stage 'fuse': it is IR after 'kernel'"},
      {"compile " + ir + " --target cuda -o " + (folder / "m.mlsys"), "is IR for cpu, not for cuda"},
      {"compile " + ir + " --dtype bf16 -o " + (folder / "m.mlsys"), "--dtype and --random-weights are for models"},
      {"generate " + ir + " --device reference -p a", "has kernels, which --device reference cannot run"},
  };
  for (const Case &test : cases) {
    Outcome outcome = runTool(test.arguments);
    EXPECT_EQ(outcome.code, 1) << test.arguments;
    EXPECT_PRED_FORMAT2(testing::IsSubstring, test.expected, outcome.output);
  }
}

} // namespace
