//===- ProgramErrorsTest.cpp - What the verifier of programs refuses ------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "TestPrograms.h"
#include "runtime/Error.h"
#include "runtime/Program.h"

#include <fstream>

#include <functional>

using namespace mlsys;
using namespace mlsys::program;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

struct Case {
  const char *expected;
  std::function<void(ProgramT &)> change;
};

TargetProgramT &cpu(ProgramT &program) { return *program.targets[0]; }
FunctionT &first(ProgramT &program) { return *cpu(program).functions[0]; }
ConstantT &weights(ProgramT &program) { return *cpu(program).constants[0]; }

void expectProblems(const ProgramT &good, std::initializer_list<Case> cases) {
  for (const Case &test : cases) {
    ProgramT program = good;
    test.change(program);
    EXPECT_ERROR(LoadedProgram::fromBytes(pack(program), ""), test.expected);
  }
}

std::vector<std::unique_ptr<ExprT>> ones(size_t count) {
  std::vector<std::unique_ptr<ExprT>> shape;
  for (size_t i = 0; i < count; ++i)
    shape.push_back(expr({Const, 1}));
  return shape;
}

/// Gives the first launch tensor maps of its first argument; returns the last.
TensorMapT *addTensorMaps(ProgramT &program, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    auto map = std::make_unique<TensorMapT>();
    map->extents = ones(2);
    map->strides = ones(1);
    map->tile = {64, 8};
    first(program).launches[0]->tensor_maps.push_back(std::move(map));
  }
  return first(program).launches[0]->tensor_maps.back().get();
}

/// The constant reads a file of 100 bytes instead of holding its elements.
void readFromFile(ProgramT &program) {
  program.weight_files.push_back(std::make_unique<WeightFileT>());
  program.weight_files[0]->path = "w.safetensors";
  program.weight_files[0]->size = 100;
  ConstantT &constant = weights(program);
  constant.data.clear();
  constant.sources.push_back(std::make_unique<WeightSourceT>());
  constant.sources[0]->bytes = 16;
  constant.sources[0]->dtype = DType::F32;
  constant.sources[0]->shape = {4};
}

TEST(ProgramErrors, NamesAndSizes) {
  ProgramT good = scaleProgram();
  const std::string longName(100000, 'a');
  expectProblems(
      good,
      {
          {"kernel: it has no name", [](ProgramT &p) { cpu(p).kernels[0]->name = ""; }},
          {"constant: it has no name", [](ProgramT &p) { weights(p).name = ""; }},
          {"kernel: its name is too long", [&](ProgramT &p) { cpu(p).kernels[0]->name = longName; }},
          {"constant 'w': too many dimensions",
           [](ProgramT &p) { weights(p).shape = std::vector<int64_t>(40, 1); }},
          {"too many dimensions", [](ProgramT &p) { first(p).inputs[0]->shape = ones(40); }},
          {"symbol 'N': its minimum is negative",
           [](ProgramT &p) { first(p).symbols[0]->min = -1; }},
          {"as many dimension names as dimensions expected",
           [](ProgramT &p) { first(p).inputs[0]->dims = {"N", "M"}; }},
          {"it does not have the size of its constant",
           [](ProgramT &p) { first(p).buffers[3]->bytes = expr({Const, 17}); }},
          {"constant 'w': panels have two or three dimensions",
           [](ProgramT &p) { weights(p).layout = Layout::Panels; }},
          {"constant 'w': wrong panel size",
           [](ProgramT &p) {
             weights(p).layout = Layout::Panels;
             weights(p).shape = {2, 2};
             weights(p).block = 0;
             weights(p).pair = 1;
           }},
          {"constant 'w': 20 bytes, but f32 [4] needs 16", [](ProgramT &p) { weights(p).bytes = 20; }},
          {"target: given twice",
           [](ProgramT &p) { p.targets.push_back(std::make_unique<TargetProgramT>(cpu(p))); }},
          {"CPU library 1: instruction set given twice",
           [](ProgramT &p) {
             cpu(p).cpu_libraries.push_back(
                 std::make_unique<CpuLibraryT>(*cpu(p).cpu_libraries[0]));
           }},
          {"CPU library 0: it is empty", [](ProgramT &p) { cpu(p).cpu_libraries[0]->data.clear(); }},
          {"kernel 'twice': it has neither text nor a cubin",
           [](ProgramT &p) { cpu(p).target = "cuda"; }},
          {"kernel 'twice': empty cubin",
           [](ProgramT &p) {
             cpu(p).target = "cuda";
             for (auto &kernel : cpu(p).kernels)
               kernel->cubins.push_back(std::make_unique<CubinT>());
           }},
      });
  EXPECT_ERROR(LoadedProgram::fromBytes({}, ""), "wrong size: 0 bytes");
  EXPECT_ERROR(LoadedProgram::fromBytes(std::vector<uint8_t>(15), ""), "wrong size: 15 bytes");
  EXPECT_ERROR(LoadedProgram::fromBytes(std::vector<uint8_t>(64), ""),
               "the compiled model is not valid: its structure is damaged");
}

TEST(ProgramErrors, Launches) {
  ProgramT good = scaleProgram();
  expectProblems(
      good,
      {
          {"launch 0: too many arguments",
           [](ProgramT &p) {
             for (int i = 0; i < 100000; ++i)
               first(p).launches[0]->symbols.push_back(expr({Const, 1}));
           }},
          {"launch 0: a grid has up to three dimensions",
           [](ProgramT &p) { first(p).launches[0]->grid = ones(4); }},
          {"launch 0: a block has up to three dimensions",
           [](ProgramT &p) { first(p).launches[0]->block = {1, 1, 1, 1}; }},
          {"launch 0: wrong number of threads",
           [](ProgramT &p) { first(p).launches[0]->block = {64, 64}; }},
          {"launch 0: wrong number of threads",
           [](ProgramT &p) { first(p).launches[0]->block = {-1}; }},
          {"launch 0: too much shared memory",
           [](ProgramT &p) { first(p).launches[0]->shared_bytes = 1u << 30; }},
          {"launch 0 shared memory", [](ProgramT &p) { first(p).launches[0]->shared = expr({Sym, 99}); }},
          {"launch 0: negative grain", [](ProgramT &p) { first(p).launches[0]->grain = -1; }},
          {"launch 0: too many tensor maps", [](ProgramT &p) { addTensorMaps(p, 17); }},
          {"launch 0 tensor map 0: wrong argument", [](ProgramT &p) { addTensorMaps(p, 1)->argument = 99; }},
          {"launch 0 tensor map 1: wrong number of dimensions",
           [](ProgramT &p) { addTensorMaps(p, 2)->strides.clear(); }},
          {"launch 0 tensor map 0: wrong number of dimensions",
           [](ProgramT &p) { addTensorMaps(p, 1)->extents = ones(6); }},
          {"launch 0 tensor map 0: wrong tile", [](ProgramT &p) { addTensorMaps(p, 1)->tile = {64, 257}; }},
      });
}

TEST(ProgramErrors, Sources) {
  ProgramT good = scaleProgram();
  readFromFile(good);
  EXPECT_NO_THROW(LoadedProgram::fromBytes(pack(good), ""));
  expectProblems(good, {
                           {"constant 'w': too many dimensions in its source",
                            [](ProgramT &p) {
                              weights(p).sources[0]->shape = std::vector<int64_t>(40, 1);
                            }},
                           {"constant 'w': the name of its source is too long",
                            [](ProgramT &p) {
                              weights(p).sources[0]->name = std::string(100000, 'n');
                            }},
                       });
}

TEST(ProgramErrors, LanguageModels) {
  ProgramT good = languageProgram();
  expectProblems(
      good, {
                {"KV cache: wrong extent", [](ProgramT &p) { cpu(p).cache->page_size = 0; }},
                {"KV cache: wrong extent", [](ProgramT &p) { cpu(p).cache->kv_heads = 1 << 30; }},
                {"text model: wrong bos id", [](ProgramT &p) { p.text->bos_id = -2; }},
                {"text model: too many eos ids",
                 [](ProgramT &p) { p.text->eos_ids = std::vector<int64_t>(5000, 1); }},
                {"text model: negative size", [](ProgramT &p) { p.text->context_length = -1; }},
                {"text model: size beyond 31 bits",
                 [](ProgramT &p) { p.text->vocab_size = 1ll << 40; }},
                {"TokenIds: given twice",
                 [](ProgramT &p) { first(p).inputs[2]->role = Role::TokenIds; }},
            });
}

/// Files: too short, without an end, with a wrong sum.
TEST(ProgramErrors, Files) {
  rt::test::TempFolder folder;
  std::string path = folder.path("m.mlsys");
  writeProgramFile(path, pack(scaleProgram()));
  std::ifstream file(path, std::ios::binary);
  std::string good{std::istreambuf_iterator<char>(file), {}};
  auto read = [&](const std::string &bytes) {
    LoadedProgram::fromFile(folder.write("bad.mlsys", bytes));
  };
  EXPECT_NO_THROW(read(good));
  EXPECT_ERROR(read(""), "it has only 0 bytes");
  EXPECT_ERROR(read("GGUF"), "is not a compiled model: it has only 4 bytes");
  EXPECT_ERROR(read(good.substr(0, good.size() - 1)), "its end is missing; compile the model again");
  std::string changed = good;
  changed[100] = static_cast<char>(changed[100] ^ 1);
  EXPECT_ERROR(read(changed), "is damaged: wrong checksum; compile the model again");
  std::string longer = good;
  longer.insert(longer.size() - 40, 4096, '\0');
  EXPECT_ERROR(read(longer), "its parts do not add up to the");
}

} // namespace
