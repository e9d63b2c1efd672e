//===- ToolTest.cpp - mlsys as a process ----------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"
#include "Tool.h"

#include "test/support/TempFolder.h"

#include "runtime/Npy.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace mlsys;
using namespace mlsys::test;

namespace {

const std::string stories = dataPath("models/stories260K");

TEST(Tool, TokenizesAndBack) {
  Outcome ids = runShell("printf 'Hello world' | " MLSYS_TOOL " tokenize --json " + stories);
  EXPECT_EQ(ids.code, 0);
  EXPECT_EQ(nlohmann::json::parse(ids.output),
            nlohmann::json::parse(R"({"ids": [1, 346, 306, 414, 263, 304, 341]})"));
  Outcome text = runShell("printf '" + ids.output + "' | " MLSYS_TOOL " detokenize --no-special " + stories);
  EXPECT_EQ(text.output, "Hello world");
}

TEST(Tool, RunsTensors) {
  TempFolder folder;
  Values<int64_t> ids = readInts(stories + "/expected_input_ids.npy");
  std::vector<int64_t> shape = {1, int64_t(ids.elements.size())};
  rt::writeNpy(folder / "ids.npy", program::DType::I64, shape, std::as_bytes(std::span(ids.elements)));
  for (const std::string &device : devices()) {
    Outcome outcome = runTool("run " + stories + " --device " + device + " --input input_ids=" +
                              (folder / "ids.npy") + " --output-dir " + (folder / device));
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_LE(relativeDifference(readFloats(folder / (device + "/logits.npy")).elements,
                                 readFloats(stories + "/expected_logits.npy").elements),
              1e-4)
        << device;
  }
  Outcome missing = runTool("run " + stories + " --device reference --input input_ids=" +
                            (folder / "none.npy") + " --output-dir " + (folder / "none"));
  EXPECT_EQ(missing.code, 1);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "none.npy", missing.output);
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
}

/// One file for several instruction sets runs with the best that the machine has.
TEST(Tool, CompilesForSeveralInstructionSets) {
  TempFolder folder;
  std::string file = folder / "m.mlsys";
  Outcome compiled = runTool("compile " + stories + " --dtype f32 --decode-buckets 1 -o " + file +
                             " --target cpu:amx,cpu:x86-64-v3,cpu:x86-64-v3");
  ASSERT_EQ(compiled.code, 0) << compiled.output;
  Outcome inspected = runTool("inspect " + file + " --json");
  ASSERT_EQ(inspected.code, 0) << inspected.output;
  EXPECT_EQ(nlohmann::json::parse(inspected.output)["targets"].size(), 2u);
  std::string prompt = " -p 'Once upon' -n 8 --temp 0 2>/dev/null";
  Outcome text = runTool("generate " + file + " --device cpu" + prompt);
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.output, runTool("generate " + stories + " --dtype f32 --device reference" + prompt).output);
}

TEST(Tool, InspectsAModelAndItsFile) {
  TempFolder folder;
  std::string file = folder / "m.mlsys";
  ASSERT_EQ(runTool("compile " + stories + " --target cpu,cuda --append-weights -o " + file).code, 0);
  Outcome outcome = runTool("inspect " + file + " --json");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  nlohmann::json all = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(all["model"], "stories260K");
  EXPECT_EQ(all["targets"].size(), 2u);
  EXPECT_TRUE(all["weight_files"].empty());
  for (const nlohmann::json &target : all["targets"]) {
    EXPECT_FALSE(target["kernels"].empty());
    EXPECT_EQ(target["functions"].size(), 6u);
  }
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "prefill",
                      runTool("inspect " + stories + " 2>/dev/null").output);
}

TEST(Tool, BenchesRandomWeights) {
  Outcome outcome = runTool("bench " + stories + " --random-weights --device cpu -p 8 -n 2 -r 1 -o json 2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  nlohmann::json rows = nlohmann::json::parse(outcome.output);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["test"], "pp8");
  EXPECT_GT(rows[1]["avg_ts"], 0.0);
}

TEST(Tool, SaysWhatIsWrongAndLeavesNothing) {
  TempFolder folder;
  std::string file = folder / "m.mlsys";
  std::ofstream(folder / "bad.mlir") << "func.func @f(";
  std::ofstream(folder / "odd.mlsys") << "MLSY";
  size_t entries = folder.entries();
  struct Case {
    std::string arguments, expected;
  };
  const Case cases[] = {
      {"", "subcommand is required"},
      {"generate " + stories + " --frobnicate", "--frobnicate"},
      {"generate " + stories + " --device toaster -p a",
       "toaster is no device; expected auto|cpu|cuda|host-cuda|reference or cuda:N"},
      {"generate " + stories + " --dtype f64 -p a", "f64"},
      {"generate " + stories + " --device cpu -c 100000 -p a", "--ctx-size 100000"},
      {"generate " + stories + " --device reference -c 100000 -p a", "--ctx-size 100000"},
      {"generate /nonexistent -p a", "cannot open /nonexistent: No such file or directory"},
      {"generate " + folder.path() + " -p a", "has no config.json"},
      {"generate " + (folder / "odd.mlsys") + " --device reference -p a", "--device reference runs the graph"},
      {"generate " + (folder / "odd.mlsys") + " -p a", "odd.mlsys"},
      {"bench " + (folder / "odd.mlsys") + " --random-weights", "--random-weights is for models"},
      {"inspect " + (folder / "odd.mlsys") + " --target cpu", "--target and --dtype are for models"},
      {"compile " + stories, "name it with -o MODEL.mlsys"},
      {"compile " + stories + " -o " + file + " --target tpu", "target 'tpu' is unknown; expected cpu"},
      {"compile " + stories + " -o " + file + " --target cpu:sse2", "target 'cpu:sse2' is unknown"},
      {"compile " + stories + " -o " + file + " --target cuda:90", "target 'cuda:90' is unknown"},
      {"compile " + stories + " --stop-after soon", "soon"},
      {"compile " + stories + " --target cpu,cuda --stop-after fuse", "differs between targets"},
      {"compile " + (folder / "odd.mlsys") + " -o " + file, "is compiled already"},
      {"compile " + (folder / "bad.mlir") + " -o " + file, "bad.mlir:1:13: "},
      {"compile " + stories + " -o /nonexistent/m.mlsys", "/nonexistent/m.mlsys"},
      {"compile " + stories + " -o /dev/full", "/dev/full"},
      {"compile " + stories + " --stop-after import -o /nonexistent/m.mlir", "/nonexistent/m.mlir"},
      {"compile " + stories + " --stop-after import > /dev/full", "cannot write to standard output"},
      {"compile " + stories + " --dump-dir /proc/nothing -o " + file, "/proc/nothing"},
  };
  for (const Case &test : cases) {
    Outcome outcome = runTool(test.arguments);
    EXPECT_GT(outcome.code, 0) << test.arguments;
    EXPECT_PRED_FORMAT2(testing::IsSubstring, test.expected, outcome.output) << test.arguments;
    EXPECT_EQ(folder.entries(), entries) << test.arguments;
  }
}

/// A file system of 64 KiB would need privileges; a limit on file sizes acts alike.
TEST(Tool, LeavesNoPartOfAFileThatDoesNotFit) {
  TempFolder folder;
  Outcome outcome = runShell("trap '' XFSZ; ulimit -f 64; " MLSYS_TOOL " compile " + stories +
                             " --target cuda --append-weights -o " + (folder / "m.mlsys"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "m.mlsys", outcome.output);
  EXPECT_EQ(folder.entries(), 0u);
}

} // namespace
