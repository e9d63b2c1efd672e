//===- StepInputs.cpp - The inputs of a step function ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/StepInputs.h"

#include "runtime/Program.h"

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;
using program::Role;

StepInputs::StepInputs(const program::Function &function, const StepBatch &batch, int64_t tokens, int64_t requests)
    : tokenShape{tokens}, startShape{requests + 1}, requestShape{requests}, tableShape{requests, batch.maxPages} {
  inputs.reserve(length(function.inputs()));
  for (const program::Port *port : *function.inputs()) {
    switch (port->role()) {
    case Role::TokenIds:
      inputs.push_back({DType::I64, tokenShape, batch.ids.data()});
      break;
    case Role::Positions:
      inputs.push_back({DType::I32, tokenShape, batch.positions.data()});
      break;
    case Role::Slots:
      inputs.push_back({DType::I64, tokenShape, batch.slots.data()});
      break;
    case Role::QueryStart:
      inputs.push_back({DType::I32, startShape, batch.queryStart.data()});
      break;
    case Role::ContextLength:
      inputs.push_back({DType::I32, requestShape, batch.contextLength.data()});
      break;
    case Role::BlockTable:
      inputs.push_back({DType::I32, tableShape, batch.blockTable.data()});
      break;
    case Role::TokenTypes:
      noTypes.assign(batch.tokenTypes.empty() ? size_t(tokens) : 0, 0);
      inputs.push_back(
          {DType::I64, tokenShape, batch.tokenTypes.empty() ? noTypes.data() : batch.tokenTypes.data()});
      break;
    case Role::KvCache:
    case Role::Tensor:
    case Role::Logits:
      // The pages are a buffer of their own; the port only names them.
      inputs.push_back({port->dtype(), {}, nullptr});
      break;
    }
  }
}

std::optional<uint32_t> rt::findInput(const program::Function &function, Role role) {
  for (uint32_t i = 0; i < length(function.inputs()); ++i)
    if (function.inputs()->Get(i)->role() == role)
      return i;
  return std::nullopt;
}
