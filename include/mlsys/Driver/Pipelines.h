//===- Pipelines.h - The stages of a compilation ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <optional>
#include <string>
#include <vector>

namespace mlsys {

/// The stages in order. The IR after each can be printed and compilation resumes from it.
enum class Stage { Import, Decompose, Cache, Fuse, Kernel, Emit };

/// All stages, first to last.
llvm::ArrayRef<Stage> allStages();
/// "import", "decompose", "cache", "fuse", "kernel", "emit".
llvm::StringRef stringifyStage(Stage stage);
std::optional<Stage> symbolizeStage(llvm::StringRef name);
/// True from the stage on that differs between targets.
bool isTargetStage(Stage stage);

/// What the passes of all stages are told.
struct PipelineOptions {
  /// "cpu" or "cuda".
  std::string target = "cpu";
  /// CPU: the instruction set, as in Program.fbs; empty: this machine's.
  std::string isa;
  /// CUDA: the GPU that kernels are planned for, such as "sm_90a"; empty: any from 8.0 on.
  std::string arch;
  /// Worker threads that kernels for the CPU are planned for; 0: those of `isa`.
  int64_t threads = 0;
  /// A file with measured tile sizes, or empty, and which variation of sizes is tried.
  std::string tiles;
  int64_t candidate = 0;
  /// Numbers of requests that decode functions are made for.
  std::vector<int64_t> decodeBuckets = {1, 2, 4, 8};
  /// Tokens of a page of the KV cache.
  int64_t pageSize = 64;
  /// The most tokens of one prefill step.
  int64_t prefillChunk = 512;
  /// Element type of the KV cache: "f32", "bf16", "f16", or "auto", the model's.
  std::string kvType = "auto";
};

/// The passes of a stage as text, e.g. "builtin.module(mlsys-decompose,...)".
std::string getPipelineText(Stage stage, const PipelineOptions &options);

/// Adds the passes of a stage to a pass manager of modules.
mlir::LogicalResult buildPipeline(Stage stage, const PipelineOptions &options,
                                  mlir::OpPassManager &passes);

/// Registers every pass of the project, and --mlsys-<stage>-pipeline for each stage. Once per process
/// is enough, more do no harm.
void registerPasses();

/// The last stage that a module has been through, judged by what it contains.
Stage detectStage(mlir::ModuleOp module);

} // namespace mlsys
