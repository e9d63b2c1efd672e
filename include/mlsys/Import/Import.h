//===- Import.h - From model files to the graph dialect ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "runtime/TextMaterial.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlsys {

/// What the user may choose about an import.
struct ImportOptions {
  /// F32, BF16 or F16: the type of weights and activations. Nothing: what the
  /// checkpoint says; BF16 for quantized ones, whose elements are rounded to
  /// bf16 with every type (see WeightLoader.h).
  std::optional<program::DType> dtype;
  /// Weights are random numbers; only the configuration is read.
  bool randomWeights = false;
};

/// A model as its authors wrote it: @forward takes input_ids [B, S] and gives
/// logits [B, S, V] in f32.
struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// The folder's or file's name.
  std::string name;
  /// "LlamaForCausalLM".
  std::string architecture;
  /// The files that `graph.weight` operations refer to, by index; the paths
  /// begin with the path given to importModel.
  std::vector<std::string> weightFiles;
  /// Elements of all weights.
  uint64_t parameters = 0;
  /// The type of weights and activations.
  program::DType dtype = program::DType::F32;
  /// What text generation needs besides the graph.
  rt::TextMaterial text;
};

/// Imports a Hugging Face folder or a GGUF file. Weights are checked but not
/// read. An error names file, tensor or key, and what was expected.
llvm::Expected<ImportedModel> importModel(mlir::MLIRContext &context, llvm::StringRef path,
                                          const ImportOptions &options = {});

} // namespace mlsys
