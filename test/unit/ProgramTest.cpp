//===- ProgramTest.cpp - Compiled models in memory and on disk --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Program.h"
#include "TestPrograms.h"
#include "runtime/AtomicFile.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

using namespace mlsys;
using namespace mlsys::program;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

std::vector<uint8_t> readBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void writeBytes(const std::string &path, const std::vector<uint8_t> &bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
}

/// What is wrong with a program after `change`; empty when nothing is.
std::string problem(const std::function<void(ProgramT &)> &change, bool language = false) {
  ProgramT program = language ? languageProgram() : scaleProgram();
  change(program);
  try {
    LoadedProgram::fromBytes(pack(program), "");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(Program, RoundTripsThroughAFile) {
  TempFolder folder;
  std::vector<std::byte> first(100, std::byte{1}), second(50, std::byte{2});
  std::span<const std::byte> parts[] = {first, second};
  writeProgramFile(folder / "m.mlsys", pack(scaleProgram()), parts);
  LoadedProgram program = LoadedProgram::fromFile(folder / "m.mlsys");
  EXPECT_EQ(text(program->model_name()), "scale");
  EXPECT_EQ(program.baseDir(), folder.path());
  ASSERT_EQ(program.appendedData().size(), 150u);
  EXPECT_EQ(program.appendedData()[99], std::byte{1});
  EXPECT_EQ(program.appendedData()[149], std::byte{2});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(program.appendedData().data()) % 4096, 0u);
  EXPECT_EQ(text(program.target("cpu").target()), "cpu");
  try {
    program.target("cuda");
    FAIL();
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("was compiled for cpu, not for cuda"),
              std::string::npos);
  }
}

TEST(Program, NamesTheMissingFile) {
  try {
    LoadedProgram::fromFile("/nonexistent/x.mlsys");
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "cannot open '/nonexistent/x.mlsys': No such file or directory");
  }
  EXPECT_THROW(LoadedProgram::fromFile("/"), Error);
}

TEST(Program, RefusesDamagedFiles) {
  TempFolder folder;
  std::string path = folder / "m.mlsys";
  std::vector<std::byte> data(5000, std::byte{7});
  std::span<const std::byte> parts[] = {data};
  writeProgramFile(path, pack(scaleProgram()), parts);
  std::vector<uint8_t> good = readBytes(path);
  // The FlatBuffer ends where the padding begins; a change anywhere in it is seen.
  size_t programBytes = pack(scaleProgram()).size();
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    std::vector<uint8_t> bad = good;
    bad[random() % programBytes] ^= uint8_t(1 + random() % 255);
    writeBytes(path, bad);
    EXPECT_THROW(LoadedProgram::fromFile(path), Error);
  }
  for (int i = 0; i < 300; ++i) {
    std::vector<uint8_t> bad = good;
    bad.resize(random() % good.size());
    writeBytes(path, bad);
    EXPECT_THROW(LoadedProgram::fromFile(path), Error);
  }
  for (size_t i = good.size() - 40; i < good.size(); ++i) {
    std::vector<uint8_t> bad = good;
    bad[i] ^= 0x41;
    writeBytes(path, bad);
    EXPECT_THROW(LoadedProgram::fromFile(path), Error);
  }
  std::vector<uint8_t> longer = good;
  longer.push_back(0);
  writeBytes(path, longer);
  EXPECT_THROW(LoadedProgram::fromFile(path), Error);
}

/// Flips bytes and words of a FlatBuffer: verification either throws rt::Error
/// or yields a program that every table of can be read.
TEST(Program, SurvivesThousandsOfMutations) {
  ProgramT program = languageProgram();
  // Kernel code is opaque bytes; small stand-ins leave more mutations for the rest.
  program.targets[0]->cpu_libraries[0]->data.assign(64, 1);
  program.targets[0]->constants = std::move(scaleProgram().targets[0]->constants);
  std::vector<uint8_t> good = pack(program);
  ASSERT_NO_THROW(LoadedProgram::fromBytes(good, ""));
  std::mt19937_64 random(2);
  int refused = 0;
  for (int i = 0; i < 6000; ++i) {
    std::vector<uint8_t> bad = good;
    for (int changes = 1 + int(random() % 3); changes > 0; --changes) {
      size_t position = random() % bad.size();
      switch (random() % 4) {
      case 0:
        bad[position] ^= uint8_t(1u << random() % 8);
        break;
      case 1:
        bad[position] = uint8_t(random());
        break;
      case 2: {
        uint32_t word = random() % 2 ? ~0u >> random() % 32 : uint32_t(random() % 64);
        position = position / 4 * 4;
        std::memcpy(&bad[position], &word, std::min<size_t>(4, bad.size() - position));
        break;
      }
      case 3:
        if (random() % 8 == 0)
          bad.resize(position);
        break;
      }
      if (bad.empty())
        break;
    }
    try {
      LoadedProgram loaded = LoadedProgram::fromBytes(std::move(bad), "");
      std::unique_ptr<ProgramT> everything(loaded->UnPack());
      EXPECT_EQ(everything->format_version, 1u);
    } catch (const Error &) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 600);
}

TEST(Program, NamesWhatIsWrong) {
  EXPECT_EQ(problem([](ProgramT &) {}), "");
  EXPECT_EQ(problem([](ProgramT &) {}, true), "");
  auto cpu = [](ProgramT &program) -> TargetProgramT & { return *program.targets[0]; };
  auto forward = [&](ProgramT &program) -> FunctionT & { return *cpu(program).functions[0]; };
  struct Case {
    const char *expected;
    std::function<void(ProgramT &)> change;
    bool language = false;
  };
  const Case cases[] = {
      {"format version 2", [&](ProgramT &p) { p.format_version = 2; }},
      {"it has no target", [&](ProgramT &p) { p.targets.clear(); }},
      {"expected cpu or cuda", [&](ProgramT &p) { cpu(p).target = "tpu"; }},
      {"its name is not an identifier", [&](ProgramT &p) { cpu(p).kernels[0]->name = "a b"; }},
      {"kernel 'scale': defined twice", [&](ProgramT &p) { cpu(p).kernels[0]->name = "scale"; }},
      {"too much scratch memory",
       [&](ProgramT &p) { cpu(p).kernels[0]->scratch_bytes = 1ull << 40; }},
      {"unknown instruction set", [&](ProgramT &p) { cpu(p).cpu_libraries[0]->isa = "z80"; }},
      {"it has kernels and no library", [&](ProgramT &p) { cpu(p).cpu_libraries.clear(); }},
      {"constant 'w': 15 bytes, but f32 [4] needs 16",
       [&](ProgramT &p) { cpu(p).constants[0]->bytes = 15; }},
      {"negative dimension", [&](ProgramT &p) { cpu(p).constants[0]->shape = {-4}; }},
      {"does not fit 64 bits",
       [&](ProgramT &p) { cpu(p).constants[0]->shape = {1ll << 40, 1ll << 40}; }},
      {"it holds 3 bytes of 16", [&](ProgramT &p) { cpu(p).constants[0]->data.resize(3); }},
      {"unknown value 77 of an enumeration",
       [&](ProgramT &p) { cpu(p).constants[0]->dtype = DType(77); }},
      {"a block type is only for tensors in files",
       [&](ProgramT &p) { cpu(p).constants[0]->dtype = DType::Q4_0; }},
      {"no input has it as a dimension",
       [&](ProgramT &p) {
         auto extra = std::make_unique<SymbolT>();
         extra->name = "M";
         extra->max = -1;
         forward(p).symbols.push_back(std::move(extra));
       }},
      {"symbol 'N': its range is empty", [&](ProgramT &p) { forward(p).symbols[0]->max = 0; }},
      {"uses symbol 3 of 1",
       [&](ProgramT &p) { forward(p).buffers[0]->bytes = expr({Sym, 3}); }},
      {"buffer 2: index 9 of 1", [&](ProgramT &p) { forward(p).buffers[2]->index = 9; }},
      {"more slots than buffers", [&](ProgramT &p) { forward(p).slots = 4000000000u; }},
      {"the program has no KV cache",
       [&](ProgramT &p) { forward(p).buffers[2]->kind = BufferKind::Cache; }},
      {"output 0 has no buffer",
       [&](ProgramT &p) { forward(p).buffers[1]->kind = BufferKind::Input; }},
      {"launch 0: kernel 7 of 2", [&](ProgramT &p) { forward(p).launches[0]->kernel = 7; }},
      {"launch 1: buffer 8 of 4",
       [&](ProgramT &p) { forward(p).launches[1]->args[0]->buffer = 8; }},
      {"offset 17 is beyond its buffer",
       [&](ProgramT &p) { forward(p).launches[1]->args[1]->offset = 17; }},
      {"its kernel has other arguments in another launch",
       [&](ProgramT &p) { forward(p).launches[2]->args.pop_back(); }},
      {"wrong number of threads", [&](ProgramT &p) { forward(p).launches[0]->block = {2048}; }},
      {"function 'forward': defined twice",
       [&](ProgramT &p) {
         cpu(p).functions.push_back(std::make_unique<FunctionT>(forward(p)));
       }},
      {"Slots: missing", [&](ProgramT &p) { forward(p).inputs[2]->role = Role::Tensor; }, true},
      {"Positions: expected i32 with 1 dimensions",
       [&](ProgramT &p) { forward(p).inputs[1]->dtype = DType::I64; }, true},
      {"wrong bucket", [&](ProgramT &p) { cpu(p).functions[1]->bucket = 0; }, true},
      {"does not hold its 32 bytes", [&](ProgramT &p) { cpu(p).cache->page_bytes = 31; }, true},
      {"negative window", [&](ProgramT &p) { cpu(p).cache->window = -1; }, true},
      {"an encoder has no decode functions",
       [&](ProgramT &p) { cpu(p).functions[1]->bidirectional = true; }, true},
      {"negative eos id", [&](ProgramT &p) { p.text->eos_ids = {-2}; }, true},
  };
  for (const Case &test : cases) {
    std::string message = problem(test.change, test.language);
    EXPECT_NE(message.find(test.expected), std::string::npos)
        << "expected: " << test.expected << "\nmessage: " << message;
  }
}

/// A constant that is read from a file, with one thing wrong.
std::string sourceProblem(const std::function<void(ProgramT &, WeightSourceT &)> &change) {
  return problem([&](ProgramT &program) {
    program.weight_files.push_back(std::make_unique<WeightFileT>());
    program.weight_files[0]->path = "w.safetensors";
    program.weight_files[0]->size = 100;
    ConstantT &constant = *program.targets[0]->constants[0];
    constant.data.clear();
    constant.sources.push_back(std::make_unique<WeightSourceT>());
    constant.sources[0]->offset = 92;
    constant.sources[0]->bytes = 8;
    constant.sources[0]->dtype = DType::F16;
    constant.sources[0]->shape = {4};
    change(program, *constant.sources[0]);
  });
}

TEST(Program, ChecksWeightSources) {
  EXPECT_EQ(sourceProblem([](ProgramT &, WeightSourceT &) {}), "");
  auto expect = [](const char *expected,
                   const std::function<void(ProgramT &, WeightSourceT &)> &change) {
    std::string message = sourceProblem(change);
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  };
  expect("beyond the 100 bytes", [](ProgramT &, WeightSourceT &s) { s.offset = 93; });
  expect("beyond the 100 bytes", [](ProgramT &, WeightSourceT &s) { s.offset = ~0ull - 3; });
  expect("beyond the 0 bytes", [](ProgramT &, WeightSourceT &s) { s.file = -1; });
  expect("weight file 1 of 1", [](ProgramT &, WeightSourceT &s) { s.file = 1; });
  expect("weight file -3 of 1", [](ProgramT &, WeightSourceT &s) { s.file = -3; });
  EXPECT_EQ(sourceProblem([](ProgramT &, WeightSourceT &s) { s.file = -2; }), "");
  expect("wrong random source", [](ProgramT &, WeightSourceT &s) {
    s.file = -2;
    s.shape = {2, 2};
  });
  expect("its source has 9 bytes", [](ProgramT &, WeightSourceT &s) { s.bytes = 9; });
  expect("not whole blocks of 32", [](ProgramT &, WeightSourceT &s) { s.dtype = DType::Q8_0; });
  expect("wrong row permutation", [](ProgramT &, WeightSourceT &s) { s.unpermute_rows = 3; });
  expect("wrong path", [](ProgramT &p, WeightSourceT &) { p.weight_files[0]->path = ""; });
  expect("both data and a source",
         [](ProgramT &p, WeightSourceT &) { p.targets[0]->constants[0]->data.resize(16); });
}

TEST(Program, SizesOfTensorsAndPanels) {
  int64_t shape[] = {3, 64};
  EXPECT_EQ(tensorBytes(DType::BF16, shape), 384u);
  EXPECT_EQ(tensorBytes(DType::Q4_0, shape), 108u);
  EXPECT_EQ(tensorBytes(DType::Q8_0, shape), 204u);
  EXPECT_EQ(tensorBytes(DType::F32, {}), 4u);
  flatbuffers::FlatBufferBuilder builder;
  std::vector<int64_t> dims = {33, 5};
  builder.Finish(CreateConstantDirect(builder, "w", DType::BF16, &dims, Layout::Panels, 16, 2));
  EXPECT_EQ(constantBytes(*flatbuffers::GetRoot<Constant>(builder.GetBufferPointer())),
            48u * 6 * 2);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  TempFolder folder;
  {
    AtomicFile file(folder / "a");
    file.write("text");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  {
    AtomicFile file(folder / "a");
    file.write("text");
    file.commit();
  }
  EXPECT_EQ(readBytes(folder / "a").size(), 4u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(AtomicFile, SaysWhyItFails) {
  TempFolder folder;
  EXPECT_THROW(AtomicFile("/nonexistent/folder/file"), Error);
  EXPECT_THROW(AtomicFile(folder.path()), Error);
  // A disk that is always full.
  try {
    writeProgramFile("/dev/full", pack(scaleProgram()));
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "cannot write '/dev/full': No space left on device");
  }
}

} // namespace
