//===- ProgramDecodeLoop.cpp - Decoding on the device ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ProgramDecodeLoop.h"

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

bool ProgramDecodeLoop::supports(const program::Function &function) {
  for (Role role : sampledRoles)
    if (!findInput(function, role))
      return false;
  const program::Port &logits = *function.outputs()->Get(0);
  std::optional<int64_t> vocabulary = asConstant(*logits.shape()->Get(1));
  return logits.dtype() == program::DType::F32 && vocabulary && *vocabulary <= INT32_MAX &&
         !findInput(function, Role::TokenTypes);
}

ProgramDecodeLoop::ProgramDecodeLoop(Device &device, Executor &executor, uint32_t function, uint32_t kernel,
                                     int64_t pageSize, void *memory, const StepBatch &first,
                                     std::span<const DeviceSampling> how)
    : device(device), executor(executor), index(function), requests(first.requests()), maxPages(first.maxPages) {
  const program::Function &decode = executor.function(function);
  chosen = static_cast<char *>(memory) + how.size_bytes();
  tail.kernel = kernel;
  tail.buffers.push_back({BufferKind::Output, 0, nullptr});
  for (Role role : sampledRoles)
    tail.buffers.push_back({BufferKind::Input, *findInput(decode, role), nullptr});
  tail.buffers.push_back({BufferKind::Temporary, 0, memory});
  tail.buffers.push_back({BufferKind::Temporary, 0, chosen});
  tail.symbols = {*asConstant(*decode.outputs()->Get(0)->shape()->Get(1)), maxPages, pageSize};
  tail.blocks = requests;
  tail.threads = sampleThreads;
  tail.sharedBytes = sampleSharedBytes;
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
    maxPages = tail.symbols[1] = width;
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
