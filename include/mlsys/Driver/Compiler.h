//===- Compiler.h - From a model to a program -------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "mlsys/Driver/Pipelines.h"

#include "runtime/ModelHandle.h"
#include "runtime/ProgramModel.h"
#include "llvm/Support/Error.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlsys {

/// What a program is compiled for.
struct CompileTarget {
  /// "cpu" or "cuda".
  std::string device = "cpu";
  /// CPU: an instruction set of Program.fbs, or empty for this machine's. CUDA: an
  /// architecture such as "sm_90a", or empty for text alone.
  std::string variant;
  /// CUDA: kernels are compiled for `variant`; otherwise it only says what GPU they are planned for.
  bool cubins = true;

  /// Reads "cpu", "cpu:amx", "cuda", "cuda:sm_90a".
  static llvm::Expected<CompileTarget> parse(llvm::StringRef text);
  std::string str() const;
};

/// Everything that a compilation depends on.
struct CompileRequest {
  /// A Hugging Face folder, a .gguf file, or IR of the graph dialect at any stage (.mlir).
  std::string model;
  /// F32, BF16 or F16; nothing: the model's own.
  std::optional<program::DType> dtype;
  /// None: what IR is for, or the CPU.
  std::vector<CompileTarget> targets;
  std::vector<int64_t> decodeBuckets = {1, 2, 4, 8};
  /// The most tokens of one prefill step, and what it is planned for.
  int64_t prefillChunk = 512;
  /// Element type of the KV cache: "f32", "bf16", "f16", or "auto", the model's.
  std::string kvType = "auto";
  /// A file with measured tile sizes (TileTable.h); empty: sizes by rule; "auto": the file
  /// of `getTilesPath`, where there is one.
  std::string tiles;
  /// Which variation of tile sizes is tried; 0: none.
  int64_t candidate = 0;
  /// Weights are random numbers; only the configuration is read.
  bool randomWeights = false;
  /// What of a language model is compiled: all of it, its plain functions (tensors in, tensors
  /// out), or its steps (prefill and decode). A model without steps keeps its plain functions.
  enum class Functions { All, Plain, Steps } functions = Functions::All;
  /// When not empty, the IR after each stage is written there as NN-stage.mlir.
  std::string dumpDir;
  /// Called when a stage begins, with what it does ("importing", "fuse for cpu").
  std::function<void(const std::string &what)> progress;

  /// How often `progress` is called at most.
  uint64_t countSteps() const { return 4 + 3 * std::max<uint64_t>(targets.size(), 1); }
};

/// What tables of tiles are for: the CPU's instruction set, or the GPU's family ("sm_80", "sm_90a").
std::string getTilesIsa(const CompileTarget &target);
/// Where `mlsys tune` puts what it has measured for one of these: in the folder of the kernel
/// cache. Empty when there is no such folder.
std::string getTilesPath(llvm::StringRef isa);

/// What to compile for in order to run on a device of rt::DeviceOptions.
CompileTarget getDeviceTarget(llvm::StringRef device);

/// A program in memory. Paths of weight files in it are relative to the current folder, or absolute.
struct CompiledModel {
  std::unique_ptr<program::ProgramT> program;
  /// What the compiler found worth saying, such as why a model has no KV cache.
  std::vector<std::string> warnings;
};

/// Compiles a model for every target. An error is one message in the user's words.
llvm::Expected<CompiledModel> compileModel(const CompileRequest &request);

/// The IR after `stage`. From Stage::Fuse on the request must have one target.
llvm::Expected<std::string> compileToStage(const CompileRequest &request, Stage stage);

/// The program as a FlatBuffer.
std::vector<uint8_t> packProgram(const program::ProgramT &program);

/// Writes a .mlsys file, whole or not at all. Weight paths in it become relative to its folder;
/// with `appendWeights` the weights themselves go into the file.
llvm::Error writeProgramFile(CompiledModel model, const std::string &path, bool appendWeights);

/// What text generation needs of a model, without compiling it.
llvm::Expected<rt::TextMaterial> loadTextMaterial(const std::string &model);

/// Opens a model on the interpreter: `--device reference`. `contextTokens` is the size of the KV
/// cache; 0: the model's context.
llvm::Expected<rt::ModelHandle> openReference(const CompileRequest &request,
                                              int64_t contextTokens);

/// A model that is ready to run, and what the compiler found worth saying.
struct OpenedModel {
  rt::ModelHandle handle;
  std::vector<std::string> warnings;
};

/// Opens a model on a device: "reference", or one of rt::DeviceOptions, which it is compiled for
/// first. The targets and functions of `request` follow from `options`.
llvm::Expected<OpenedModel> openModel(CompileRequest request, const rt::OpenOptions &options);

} // namespace mlsys
