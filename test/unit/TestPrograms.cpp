//===- TestPrograms.cpp - Small programs for runtime tests ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "TestPrograms.h"

#include "runtime/DeviceKernels.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>

using namespace mlsys;
using namespace mlsys::program;
using namespace mlsys::test;

std::vector<uint8_t> test::compileC(const std::string &text) {
  static std::map<std::string, std::vector<uint8_t>> compiled;
  if (auto found = compiled.find(text); found != compiled.end())
    return found->second;
  TempFolder folder;
  std::string source = folder / "kernels.c", object = folder / "kernels.so";
  std::ofstream(source) << text;
  std::string command =
      std::string(MLSYS_C_COMPILER) + " -shared -fPIC -O1 -o '" + object + "' '" + source + "'";
  if (std::system(command.c_str()) != 0)
    throw std::runtime_error("the test's kernels do not compile");
  std::ifstream file(object, std::ios::binary);
  return compiled[text] = {std::istreambuf_iterator<char>(file), {}};
}

std::unique_ptr<ExprT> test::expr(std::vector<int64_t> code) {
  auto result = std::make_unique<ExprT>();
  result->code = std::move(code);
  return result;
}

std::vector<uint8_t> test::pack(const ProgramT &program) {
  flatbuffers::FlatBufferBuilder builder;
  FinishProgramBuffer(builder, Program::Pack(builder, &program));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

static std::vector<std::unique_ptr<ExprT>> shape(std::vector<std::vector<int64_t>> codes) {
  std::vector<std::unique_ptr<ExprT>> result;
  for (auto &code : codes)
    result.push_back(expr(code));
  return result;
}

static std::unique_ptr<SymbolT> symbol(std::string name, int64_t min, int64_t max, int64_t hint) {
  auto result = std::make_unique<SymbolT>();
  result->name = name;
  result->min = min;
  result->max = max;
  result->hint = hint;
  return result;
}

static std::unique_ptr<PortT> port(std::string name, Role role, DType dtype,
                                   std::vector<std::vector<int64_t>> dims,
                                   std::vector<std::string> names = {}) {
  auto result = std::make_unique<PortT>();
  result->name = name;
  result->role = role;
  result->dtype = dtype;
  result->shape = shape(dims);
  result->dims = names;
  return result;
}

static std::unique_ptr<BufferT> buffer(BufferKind kind, uint32_t index, DType dtype,
                                       std::vector<int64_t> bytes) {
  auto result = std::make_unique<BufferT>();
  result->name = "b";
  result->kind = kind;
  result->index = index;
  result->dtype = dtype;
  result->bytes = expr(bytes);
  return result;
}

static std::unique_ptr<LaunchT> launch(uint32_t kernel, std::vector<uint32_t> args,
                                       std::vector<std::vector<int64_t>> symbols,
                                       std::vector<int64_t> grid, std::string label) {
  auto result = std::make_unique<LaunchT>();
  result->kernel = kernel;
  for (uint32_t arg : args) {
    result->args.push_back(std::make_unique<BufferRefT>());
    result->args.back()->buffer = arg;
  }
  result->symbols = shape(symbols);
  result->grid.push_back(expr(grid));
  result->bytes = expr({Const, 100});
  result->flops = expr({Const, 50});
  result->label = label;
  return result;
}

static std::unique_ptr<KernelT> kernel(std::string name, uint64_t scratch = 0) {
  auto result = std::make_unique<KernelT>();
  result->name = name;
  result->kind = "loop";
  result->scratch_bytes = scratch;
  return result;
}

static std::unique_ptr<TargetProgramT> cpuTarget(const std::string &text) {
  auto target = std::make_unique<TargetProgramT>();
  target->target = "cpu";
  target->dtype = DType::F32;
  target->cpu_libraries.push_back(std::make_unique<CpuLibraryT>());
  target->cpu_libraries[0]->isa = "x86-64-v3";
  target->cpu_libraries[0]->data = compileC(text);
  return target;
}

ProgramT test::scaleProgram() {
  static const char *text = R"(
#include <stdint.h>
// t = 2 * x, through the scratch memory.
void twice(void *const *b, const int64_t *s, void *scratch, int64_t begin, int64_t end) {
  const float *x = b[0];
  float *t = b[1], *private = scratch;
  for (int64_t i = begin; i < end; ++i) {
    private[0] = 2 * x[i];
    t[i] = private[0];
  }
}
// y = t * w[i % s[0]]
void scale(void *const *b, const int64_t *s, void *scratch, int64_t begin, int64_t end) {
  const float *t = b[0], *w = b[1];
  float *y = b[2];
  for (int64_t i = begin; i < end; ++i)
    y[i] = t[i] * w[i % s[0]];
}
)";
  ProgramT program;
  program.format_version = 1;
  program.producer = "test";
  program.model_name = "scale";
  program.parameters = 4;
  program.targets.push_back(cpuTarget(text));
  TargetProgramT &target = *program.targets[0];
  target.kernels.push_back(kernel("twice", 100));
  target.kernels.push_back(kernel("scale"));
  target.constants.push_back(std::make_unique<ConstantT>());
  ConstantT &constant = *target.constants[0];
  constant.name = "w";
  constant.dtype = DType::F32;
  constant.shape = {4};
  constant.bytes = 16;
  float values[4] = {1, 2, 3, 4};
  constant.data.resize(16);
  std::memcpy(constant.data.data(), values, 16);
  target.functions.push_back(std::make_unique<FunctionT>());
  FunctionT &function = *target.functions[0];
  function.name = "forward";
  function.symbols.push_back(symbol("N", 1, 100, 10));
  function.inputs.push_back(port("x", Role::Tensor, DType::F32, {{Sym, 0}}, {"N"}));
  function.outputs.push_back(port("y", Role::Tensor, DType::F32, {{Sym, 0}}, {"N"}));
  std::vector<int64_t> bytes = {Sym, 0, Const, 4, Mul};
  function.buffers.push_back(buffer(BufferKind::Input, 0, DType::F32, bytes));
  function.buffers.push_back(buffer(BufferKind::Output, 0, DType::F32, bytes));
  function.buffers.push_back(buffer(BufferKind::Temporary, 0, DType::F32, bytes));
  function.buffers.push_back(buffer(BufferKind::Constant, 0, DType::F32, {Const, 16}));
  function.slots = 1;
  function.launches.push_back(launch(0, {0, 2}, {}, {Sym, 0}, "twice"));
  function.launches.push_back(launch(1, {2, 3, 1}, {{Const, 4}}, {Sym, 0}, "scale"));
  // Never runs: its grid is 0.
  function.launches.push_back(launch(0, {0, 1}, {}, {Sym, 0, Const, 0, Mul}, "nothing"));
  return program;
}

/// One step function of the language program.
static std::unique_ptr<FunctionT> stepFunction(std::string name, Phase phase, int64_t bucket) {
  auto function = std::make_unique<FunctionT>();
  function->name = name;
  function->phase = phase;
  function->bucket = bucket;
  std::vector<int64_t> tokens = {Sym, 1}, requests = {Sym, 2};
  function->symbols.push_back(symbol("P", 1, -1, 4));
  if (phase == Phase::Decode) {
    tokens = requests = {Const, bucket};
  } else {
    function->symbols.push_back(symbol("T", 1, 8, 8));
    function->symbols.push_back(symbol("R", 1, 8, 1));
  }
  auto plus = [](std::vector<int64_t> code, std::vector<int64_t> tail) {
    code.insert(code.end(), tail.begin(), tail.end());
    return code;
  };
  std::vector<int64_t> starts = plus(requests, {Const, 1, Add});
  std::vector<int64_t> table = plus(requests, {Sym, 0, Mul, Const, 4, Mul});
  function->inputs.push_back(port("ids", Role::TokenIds, DType::I64, {tokens}));
  function->inputs.push_back(port("positions", Role::Positions, DType::I32, {tokens}));
  function->inputs.push_back(port("slots", Role::Slots, DType::I64, {tokens}));
  function->inputs.push_back(port("query_start", Role::QueryStart, DType::I32, {starts}));
  function->inputs.push_back(port("context", Role::ContextLength, DType::I32, {requests}));
  function->inputs.push_back(
      port("block_table", Role::BlockTable, DType::I32, {requests, {Sym, 0}}));
  function->outputs.push_back(port("logits", Role::Logits, DType::F32, {requests, {Const, 16}}));
  auto times = [&](std::vector<int64_t> code, int64_t size) {
    return plus(code, {Const, size, Mul});
  };
  function->buffers.push_back(buffer(BufferKind::Input, 0, DType::I64, times(tokens, 8)));
  function->buffers.push_back(buffer(BufferKind::Input, 2, DType::I64, times(tokens, 8)));
  function->buffers.push_back(buffer(BufferKind::Input, 4, DType::I32, times(requests, 4)));
  function->buffers.push_back(buffer(BufferKind::Input, 5, DType::I32, table));
  function->buffers.push_back(buffer(BufferKind::Cache, 0, DType::F32, {Const, 0}));
  function->buffers.push_back(buffer(BufferKind::Output, 0, DType::F32, times(requests, 64)));
  function->launches.push_back(launch(0, {0, 1, 4}, {}, tokens, "write"));
  function->launches.push_back(
      launch(1, {2, 3, 4, 5}, {{Sym, 0}}, requests, "logits"));
  return function;
}

ProgramT test::languageProgram(int64_t contextLength) {
  static const char *text = R"(
#include <stdint.h>
// A page is 4 floats of keys and 4 of values.
void write_cache(void *const *b, const int64_t *s, void *scratch, int64_t begin, int64_t end) {
  const int64_t *ids = b[0], *slots = b[1];
  float *cache = b[2];
  for (int64_t t = begin; t < end; ++t)
    if (slots[t] >= 0)
      cache[slots[t] / 4 * 8 + slots[t] % 4] = ids[t];
}
void next_token(void *const *b, const int64_t *s, void *scratch, int64_t begin, int64_t end) {
  const int32_t *context = b[0], *table = b[1];
  const float *cache = b[2];
  float *logits = b[3];
  for (int64_t r = begin; r < end; ++r) {
    int64_t sum = context[r];
    for (int64_t i = 0; i < context[r]; ++i)
      sum += (int64_t)cache[table[r * s[0] + i / 4] * 8 + i % 4];
    for (int64_t v = 0; v < 16; ++v)
      logits[r * 16 + v] = v == sum % 16;
  }
}
void plain(void *const *b, const int64_t *s, void *scratch, int64_t begin, int64_t end) {
  const int64_t *ids = b[0];
  float *logits = b[1];
  for (int64_t r = begin; r < end; ++r) {
    int64_t sum = 0;
    for (int64_t i = 0; i < s[0]; ++i) {
      sum += ids[r * s[0] + i];
      for (int64_t v = 0; v < 16; ++v)
        logits[(r * s[0] + i) * 16 + v] = v == (sum + i + 1) % 16;
    }
  }
}
)";
  ProgramT program;
  program.format_version = 1;
  program.producer = "test";
  program.model_name = "sum";
  program.architecture = "SumForCausalLM";
  program.parameters = 0;
  program.text = std::make_unique<TextModelT>();
  program.text->context_length = contextLength;
  program.text->vocab_size = 16;
  program.targets.push_back(cpuTarget(text));
  TargetProgramT &target = *program.targets[0];
  target.kernels.push_back(kernel("write_cache"));
  target.kernels.push_back(kernel("next_token"));
  target.kernels.push_back(kernel("plain"));
  target.cache = std::make_unique<CacheSpecT>();
  target.cache->layers = target.cache->kv_heads = target.cache->head_dim = 1;
  target.cache->page_size = 4;
  target.cache->dtype = DType::F32;
  target.cache->page_bytes = 32;
  target.functions.push_back(stepFunction("prefill", Phase::Prefill, 0));
  target.functions.push_back(stepFunction("decode_1", Phase::Decode, 1));
  target.functions.push_back(stepFunction("decode_4", Phase::Decode, 4));
  auto forward = std::make_unique<FunctionT>();
  forward->name = "forward";
  forward->symbols.push_back(symbol("B", 1, -1, 1));
  forward->symbols.push_back(symbol("S", 1, contextLength, 8));
  forward->inputs.push_back(
      port("input_ids", Role::TokenIds, DType::I64, {{Sym, 0}, {Sym, 1}}, {"B", "S"}));
  forward->outputs.push_back(port("logits", Role::Tensor, DType::F32,
                                  {{Sym, 0}, {Sym, 1}, {Const, 16}}, {"B", "S", "16"}));
  forward->buffers.push_back(
      buffer(BufferKind::Input, 0, DType::I64, {Sym, 0, Sym, 1, Mul, Const, 8, Mul}));
  forward->buffers.push_back(
      buffer(BufferKind::Output, 0, DType::F32, {Sym, 0, Sym, 1, Mul, Const, 64, Mul}));
  forward->launches.push_back(launch(2, {0, 1}, {{Sym, 1}}, {Sym, 0}, "plain"));
  target.functions.push_back(std::move(forward));
  return program;
}

ProgramT test::cudaLanguageProgram(int64_t contextLength) {
  static const char *const texts[] = {R"(#include "mlsys/types.cuh"
extern "C" __global__ void write_cache(const i64 *ids, const i64 *slots, f32 *cache) {
  pdl_wait();
  i64 t = block_x();
  if (thread_x() == 0 && slots[t] >= 0)
    cache[slots[t] / 4 * 8 + slots[t] % 4] = (f32)ids[t];
}
)",
                                      R"(#include "mlsys/types.cuh"
extern "C" __global__ void next_token(const i32 *context, const i32 *table, const f32 *cache, f32 *logits,
                                      long long pages) {
  pdl_wait();
  i64 r = block_x();
  if (thread_x() >= 16)
    return;
  i64 sum = context[r];
  for (i64 i = 0; i < context[r]; ++i)
    sum += (i64)cache[table[r * pages + i / 4] * 8 + i % 4];
  logits[r * 16 + thread_x()] = thread_x() == sum % 16 ? 1.0f : 0.0f;
}
)"};
  ProgramT program = languageProgram(contextLength);
  TargetProgramT &target = *program.targets[0];
  target.target = "cuda";
  target.arch = "sm_80";
  target.cpu_libraries.clear();
  // "forward" and its kernel.
  target.functions.pop_back();
  target.kernels.pop_back();
  for (size_t i = 0; i < target.kernels.size(); ++i)
    target.kernels[i]->cuda_text = texts[i];
  for (auto &function : target.functions)
    for (auto &launch : function->launches)
      launch->block = {32, 1, 1};
  rt::addRuntimeKernels(target);
  return program;
}
