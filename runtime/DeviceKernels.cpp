//===- DeviceKernels.cpp - Kernels that the runtime launches --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/DeviceKernels.h"

#include "runtime/Program.h"
#include "runtime/WeightLoader.h"

#include <algorithm>

using namespace mlsys;
using namespace mlsys::rt;

static const char *const samplePartText = R"(#include "mlsys/sample.cuh"

extern "C" __global__ void __launch_bounds__(128, 1)
mlsys_sample_part(const f32 *logits, const i32 *context_length, const sampling *how, sample_part *parts,
                  long long vocabulary) {
  pdl_wait();
  sample_part_of(logits, context_length, how, parts, vocabulary);
}
)";

static const char *const sampleText = R"(#include "mlsys/sample.cuh"

extern "C" __global__ void __launch_bounds__(512, 1)
mlsys_sample_step(const f32 *logits, i64 *ids, i32 *positions, i64 *slots, i32 *context_length, const i32 *block_table,
                  sampling *how, const sample_part *parts, i64 *chosen, long long vocabulary, long long pages,
                  long long page_size) {
  pdl_wait();
  sample_step(logits, {ids, positions, slots, context_length, block_table}, how, parts, chosen, vocabulary, pages,
              page_size);
}
)";

static const char *const randomText = R"(#include "mlsys/random.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
mlsys_random(void *out, long long type, long long count, long long seed, long long mean, long long spread) {
  pdl_wait();
  random_fill(out, type, count, seed, mean, spread);
}
)";

void rt::addRuntimeKernels(program::TargetProgramT &program) {
  auto add = [&](const char *name, std::string_view kind, const char *text) {
    auto kernel = std::make_unique<program::KernelT>();
    kernel->name = name;
    kernel->kind = kind;
    kernel->cuda_text = text;
    program.kernels.push_back(std::move(kernel));
  };
  if (std::any_of(program.functions.begin(), program.functions.end(),
                  [](const auto &function) { return function->phase == program::Phase::Decode; })) {
    add("mlsys_sample_part", samplePartKind, samplePartText);
    add("mlsys_sample_step", sampleKind, sampleText);
  }
  if (std::any_of(program.constants.begin(), program.constants.end(), [](const auto &constant) {
        return constant->sources.size() == 1 && constant->sources[0]->file == randomWeightsFile;
      }))
    add("mlsys_random", randomKind, randomText);
}

std::optional<uint32_t> rt::findKernel(const program::TargetProgram &program, std::string_view kind) {
  for (uint32_t i = 0; i < length(program.kernels()); ++i)
    if (text(program.kernels()->Get(i)->kind()) == kind)
      return i;
  return std::nullopt;
}
