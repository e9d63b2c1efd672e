//===- ModelHandle.h - An opened model with all that it needs ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/LanguageModel.h"
#include "runtime/TensorModel.h"
#include "runtime/TextMaterial.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::rt {

/// A model that is ready to run, however it came about: a .mlsys file, a model
/// compiled just now, or the interpreter. The commands take one.
struct ModelHandle {
  /// The model's file or folder name, and its class, e.g. "LlamaForCausalLM".
  std::string name, architecture;
  /// Elements and bytes (in compute type) of all weights.
  uint64_t parameters = 0, weightBytes = 0;
  /// Compute type, e.g. "bf16".
  std::string dtype;
  /// What runs it: "CPU", "CUDA", "host-cuda", "reference".
  std::string backend;
  int threads = 1;
  double loadSeconds = 0, compileSeconds = 0;

  /// Absent when the model has no tokens.
  std::optional<TextMaterial> text;
  /// Null when the model is no causal language model, or was opened for tensors.
  std::unique_ptr<LanguageModel> language;
  /// Null when the model was opened for text.
  std::unique_ptr<TensorModel> tensors;
};

} // namespace mlsys::rt
