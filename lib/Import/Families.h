//===- Families.h - The model families ----------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What varies from family to family is data: which keys mean what, and what the
// tensors are called. docs/AddingAModel.md shows how one is added.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ModelConfig.h"

#include "llvm/ADT/ArrayRef.h"

#include <string>

namespace mlsys::importer {

/// The tensors of a transformer; each may have a weight and a bias.
enum class Module {
  Embedding,
  Positions,
  TokenTypes,
  EmbeddingNorm,
  AttentionNorm,
  Query,
  Key,
  Value,
  Output,
  QueryNorm,
  KeyNorm,
  AttentionPostNorm,
  MlpNorm,
  Gate,
  Up,
  Down,
  Router,
  ExpertGate,
  ExpertUp,
  ExpertDown,
  SharedRouter,
  SharedGate,
  SharedUp,
  SharedDown,
  MlpPostNorm,
  FinalNorm,
  // From here on the names do not begin with the family's base.
  Head,
  HeadDense,
  HeadNorm,
  Classifier,
  ClassifierDense
};

/// Which rows of a stored matrix a module is.
enum class Pick {
  Whole,
  // Of query, key and value one after another.
  FusedQuery,
  FusedKey,
  FusedValue,
  // Of groups that each hold the query heads of one key head, its key and its value.
  GroupedQuery,
  GroupedKey,
  GroupedValue,
  // Of two equal parts.
  FirstHalf,
  SecondHalf,
  // The table without the rows before ModelConfig.firstPosition.
  FromFirstPosition
};

/// What a module is called in a checkpoint: without ".weight". {0} is the layer, {1} the expert
/// or the head of tensors that are stacked.
struct ModuleName {
  Module module;
  const char *name;
  Pick pick = Pick::Whole;
  /// The stored matrix is [in, out].
  bool transposed = false;
};

struct Family {
  /// model_type of config.json.
  const char *type;
  /// general.architecture of GGUF files; null when llama.cpp has none.
  const char *gguf;
  /// What class names begin with, such as "Llama"; the rest says the head.
  const char *classPrefix;
  /// What names of tensors begin with, "model.".
  const char *base;
  /// Reads what the family has beyond readCommonConfig.
  void (*configure)(ConfigFields &fields, ModelConfig &config);
  /// Names that differ from the common ones, in safetensors and in GGUF.
  llvm::ArrayRef<ModuleName> names, ggufNames;
  /// Pairs of rotated dimensions are neighbours, in safetensors and in GGUF.
  bool interleaved = false, interleavedGguf = false;
};

/// The families: Llama, Qwen, Gemma and the like; GPT-2, GPT-NeoX and the like; encoders.
llvm::ArrayRef<Family> getDecoderFamilies();
llvm::ArrayRef<Family> getGptFamilies();
llvm::ArrayRef<Family> getEncoderFamilies();

/// The family of a model_type or of a GGUF architecture; null when unknown.
const Family *findFamily(llvm::StringRef type);
const Family *findGgufFamily(llvm::StringRef architecture);

/// All types, or all GGUF architectures, by commas.
std::string listFamilies();
std::string listGgufFamilies();

/// The name of a module in the files that `config` describes. Null when the family
/// has none.
const ModuleName *findModuleName(const ModelConfig &config, Module module);

} // namespace mlsys::importer
