//===- ProgramDecodeLoop.cpp - Decoding on the device ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ProgramDecodeLoop.h"

#include "runtime/CheckedMath.h"
#include "runtime/DeviceKernels.h"
#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Program.h"

using namespace mlsys;
using namespace mlsys::rt;
using program::BufferKind;
using program::Role;

/// What the sampling kernel reads and writes of a step's inputs, in the order of its parameters.
static constexpr Role sampledRoles[] = {Role::TokenIds, Role::Positions, Role::Slots, Role::ContextLength,
                                        Role::BlockTable};

std::optional<SampleKernels> SampleKernels::find(const program::TargetProgram &program) {
  std::optional<uint32_t> part = findKernel(program, samplePartKind), step = findKernel(program, sampleKind);
  if (!part || !step)
    return std::nullopt;
  return SampleKernels{*part, *step};
}

/// Logits of a request; nothing when their number is not fixed.
static std::optional<int64_t> vocabularyOf(const program::Function &function) {
  return asConstant(*function.outputs()->Get(0)->shape()->Get(1));
}

namespace {
/// Where things are in the memory of a loop.
struct Layout {
  Layout(int64_t requests, int64_t vocabulary)
      : chosen(size_t(requests) * sizeof(DeviceSampling)), parts(chosen + size_t(requests) * sizeof(int64_t)),
        bytes(parts + size_t(checkedMul(requests, sampleParts(vocabulary))) * samplePartBytes) {}
  size_t chosen, parts, bytes;
};
} // namespace

size_t ProgramDecodeLoop::memoryBytes(const program::Function &function, int64_t requests) {
  return Layout(requests, *vocabularyOf(function)).bytes;
}

bool ProgramDecodeLoop::supports(const program::Function &function) {
  for (Role role : sampledRoles)
    if (!findInput(function, role))
      return false;
  const program::Port &logits = *function.outputs()->Get(0);
  std::optional<int64_t> vocabulary = vocabularyOf(function);
  // The ids of a step are one download; requests are blocks along y.
  return logits.dtype() == program::DType::F32 && vocabulary && *vocabulary <= INT32_MAX / 2 &&
         function.bucket() <= 512 && !findInput(function, Role::TokenTypes);
}

/// The launches behind a decode function that choose the tokens of its requests.
static std::vector<TailLaunch> sampling(const program::Function &decode, int64_t requests, SampleKernels kernels,
                                        int64_t maxPages, int64_t pageSize, void *memory) {
  int64_t vocabulary = *vocabularyOf(decode);
  Layout layout(requests, vocabulary);
  auto at = [&](size_t offset) {
    return TailLaunch::Argument{BufferKind::Temporary, 0, static_cast<char *>(memory) + offset};
  };
  TailLaunch::Argument logits = {BufferKind::Output, 0, nullptr};
  TailLaunch part, step;
  part.kernel = kernels.part;
  part.buffers = {logits, {BufferKind::Input, *findInput(decode, Role::ContextLength), nullptr}, at(0),
                  at(layout.parts)};
  part.symbols = {vocabulary};
  constexpr int64_t warps = samplePartThreads / 32;
  part.grid[0] = (sampleParts(vocabulary) + warps - 1) / warps;
  part.grid[1] = requests;
  part.threads = samplePartThreads;
  step.kernel = kernels.step;
  step.buffers = {logits};
  for (Role role : sampledRoles)
    step.buffers.push_back({BufferKind::Input, *findInput(decode, role), nullptr});
  step.buffers.insert(step.buffers.end(), {at(0), at(layout.parts), at(layout.chosen)});
  step.symbols = {vocabulary, maxPages, pageSize};
  step.grid[0] = requests;
  step.threads = sampleThreads;
  step.sharedBytes = sampleSharedBytes;
  return {part, step};
}

void ProgramDecodeLoop::prepare(Executor &executor, uint32_t function, int64_t requests, SampleKernels kernels,
                                int64_t pageSize, void *memory, int64_t maxPages) {
  const program::Function &decode = executor.function(function);
  StepBatch shapes;
  shapes.maxPages = maxPages;
  StepInputs inputs(decode, shapes, requests, requests);
  executor.prepare(function, inputs.get(), sampling(decode, requests, kernels, maxPages, pageSize, memory));
}

ProgramDecodeLoop::ProgramDecodeLoop(Device &device, Executor &executor, uint32_t function, SampleKernels kernels,
                                     int64_t pageSize, void *memory, const StepBatch &first,
                                     std::span<const DeviceSampling> how)
    : device(device), executor(executor), index(function), requests(first.requests()), maxPages(first.maxPages),
      tail(sampling(executor.function(function), requests, kernels, maxPages, pageSize, memory)),
      chosen(static_cast<char *>(memory) + Layout(requests, *vocabularyOf(executor.function(function))).chosen) {
  device.upload(memory, how.data(), how.size_bytes());
  run(first);
}

ProgramDecodeLoop::~ProgramDecodeLoop() {
  std::vector<int64_t> ids(static_cast<size_t>(requests));
  for (uint64_t ticket : tickets)
    try {
      device.finishDownload(ticket, ids.data());
    } catch (const Error &) {
      // Whoever waited for this step before has been told.
    }
}

void ProgramDecodeLoop::run(const StepBatch &batch) {
  StepInputs inputs(executor.function(index), batch, requests, requests);
  executor.start(index, inputs.get(), tail);
  tickets.push_back(device.startDownload(chosen, size_t(requests) * sizeof(int64_t)));
}

void ProgramDecodeLoop::start(std::span<const int32_t> blockTable, int64_t width) {
  if (!blockTable.empty())
    maxPages = tail.back().symbols[1] = width;
  StepBatch batch;
  batch.blockTable = blockTable;
  batch.maxPages = maxPages;
  run(batch);
}

void ProgramDecodeLoop::finish(std::span<int64_t> ids) {
  if (tickets.empty() || int64_t(ids.size()) != requests)
    throw Error("a decode step that was not started");
  uint64_t ticket = tickets.front();
  tickets.pop_front();
  device.finishDownload(ticket, ids.data());
  for (int64_t id : ids)
    if (id < 0)
      throw Error("the logit of token {} is NaN or infinite: the model's numbers overflow in this precision, or its "
                  "weights are broken",
                  -1 - id);
}
