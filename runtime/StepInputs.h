//===- StepInputs.h - The inputs of a step function -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Executor.h"
#include "runtime/LanguageModel.h"

#include <optional>

namespace mlsys::rt {

/// A batch in the order of a function's inputs. Spans that are empty become inputs without data,
/// except for token types, which are zeros then. Refers to the batch's arrays and to itself.
class StepInputs {
public:
  /// `tokens` and `requests` say the shapes, also where spans are empty.
  StepInputs(const program::Function &function, const StepBatch &batch, int64_t tokens, int64_t requests);
  StepInputs(const StepInputs &) = delete;
  StepInputs &operator=(const StepInputs &) = delete;

  std::span<const InputTensor> get() const { return inputs; }

private:
  int64_t tokenShape[1], startShape[1], requestShape[1], tableShape[2];
  std::vector<int64_t> noTypes;
  std::vector<InputTensor> inputs;
};

/// The index of the input of a function that has a role, if any.
std::optional<uint32_t> findInput(const program::Function &function, program::Role role);

} // namespace mlsys::rt
