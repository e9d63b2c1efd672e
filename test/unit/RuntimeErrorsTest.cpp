//===- RuntimeErrorsTest.cpp - Messages of the runtime's smaller parts ----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "TestPrograms.h"
#include "runtime/Commands.h"
#include "runtime/Devices.h"
#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/KvCache.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"
#include "runtime/ProgramModel.h"
#include "runtime/Safetensors.h"
#include "runtime/Sampler.h"

#include <sstream>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;
using mlsys::rt::test::TempFolder;

namespace {

TEST(RuntimeErrors, Sizes) {
  EXPECT_ERROR(checkedAdd(INT64_MAX, 1),
               "size overflow: 9223372036854775807 + 1 does not fit 64 bits");
  EXPECT_ERROR(checkedMul(INT64_MAX, 2),
               "size overflow: 9223372036854775807 * 2 does not fit 64 bits");
  program::ProgramT source = scaleProgram();
  std::vector<int64_t> code;
  for (int i = 0; i < 80; ++i)
    code.insert(code.end(), {Const, 1});
  for (int i = 0; i < 79; ++i)
    code.push_back(Add);
  source.targets[0]->functions[0]->buffers[0]->bytes = expr(code);
  EXPECT_ERROR(LoadedProgram::fromBytes(pack(source), ""), "operands at once");
}

TEST(RuntimeErrors, Devices) {
  DeviceOptions options;
  options.device = "toaster";
  EXPECT_ERROR(createDevice(options),
               "unknown device 'toaster'; expected auto, cpu, cuda, cuda:N, host-cuda or host-cuda:sm_NN");
}

TEST(RuntimeErrors, Samplers) {
  SamplerOptions options;
  options.topK = -1;
  EXPECT_ERROR(Sampler{options}, "top-k must be 0 (all) or more, not -1");
}

TEST(RuntimeErrors, CacheSizes) {
  EXPECT_ERROR(KvCache(0, 4), "wrong KV cache of 4 pages of 0 tokens");
  EXPECT_ERROR(KvCache(16, int64_t(1) << 40), "wrong KV cache of 1099511627776 pages");
  KvCache cache(4, 2);
  EXPECT_ERROR(cache.pages(3), "no sequence 3 in the KV cache");
}

TEST(RuntimeErrors, Arrays) {
  TempFolder folder;
  std::string header = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n";
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size());
  bytes += '\0';
  EXPECT_ERROR(readNpy(folder.write("a.npy", bytes + header)),
               "holds records; only arrays of numbers are supported");
}

TEST(RuntimeErrors, Indexes) {
  TempFolder folder;
  std::string index = folder.write("model.safetensors.index.json", "{}");
  std::filesystem::resize_file(index, 150'000'000);
  EXPECT_ERROR(readSafetensorsFolder(folder.path()), "has 150000000 bytes; at most");
}

ModelHandle open(const program::ProgramT &source, Purpose purpose) {
  OpenOptions options;
  options.device = {"cpu", 1};
  options.purpose = purpose;
  return openProgram(LoadedProgram::fromBytes(pack(source), ""), options);
}

TEST(RuntimeErrors, Commands) {
  std::ostringstream out, log;
  BenchRequest bench;
  bench.generateLengths = {-3};
  EXPECT_ERROR(checkBench(bench), "-n -3: expected a number of tokens");
  TextMaterial material;
  material.tokenizerJson = R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})";
  EXPECT_ERROR(runDetokenize(material, R"({"ids":["a"]})", {}, {out, log}),
               "expected token ids, found \"a\"");
  // Text that cannot be written.
  program::ProgramT source = languageProgram();
  ModelHandle model = open(source, Purpose::Text);
  GenerateRequest request;
  request.promptIds = {1, 2};
  request.printIds = true;
  request.maxTokens = 2;
  std::ostream closed(nullptr);
  EXPECT_ERROR(runGenerate(model, request, {closed, log}), "cannot write the generated text");
  // A model whose every function works on text.
  ModelHandle text = open(source, Purpose::Text);
  EXPECT_ERROR(runTensors(text, {}, {out, log}), "has no functions on tensors");
}

} // namespace
