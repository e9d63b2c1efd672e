//===- Compilation.h - One model on its way through the stages --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Driver/Compiler.h"
#include "mlsys/Import/Import.h"

#include "mlir/IR/MLIRContext.h"

namespace mlsys {

/// A context, a module in it, and the passes that take it from stage to stage. What
/// they report is collected, not printed.
class Compilation {
public:
  explicit Compilation(const CompileRequest &request);

  /// Imports the model, or reads IR, and settles the targets.
  llvm::Error read();

  /// Runs the stages that all targets share, up to `last`, on what was read.
  llvm::Error prepare(Stage last = Stage::Cache);

  /// Runs one stage on `module`; `target` is that of the stages that differ. The stage Emit
  /// adds the code of CPU kernels as a module inside (see findCode).
  llvm::Error runStage(Stage stage, mlir::ModuleOp module, const CompileTarget &target);

  /// Runs `work`; when it fails, what was reported becomes the error.
  llvm::Error collect(llvm::function_ref<mlir::LogicalResult()> work);

  /// The file of measured tiles that a target takes; empty when there is none.
  std::string findTiles(const CompileTarget &target) const;

  /// The stage that the model was in when it was read: Import unless it is IR.
  Stage initialStage() const { return initial; }

  /// What is compiled for: the request's targets, or else what IR is for, or else the CPU.
  const std::vector<CompileTarget> &targets() const { return chosen; }

  const CompileRequest &request;
  mlir::MLIRContext context;
  ImportedModel model;
  std::vector<std::string> warnings;

private:
  llvm::Error readIr();
  /// Takes name and tokenizer of IR from the model that it was made of.
  void readOrigin();
  llvm::Error chooseTargets();
  mlir::LogicalResult addCode(mlir::ModuleOp module, const CompileTarget &target,
                              mlir::PassManager &passes);
  /// Erases the functions that the request does not want.
  void dropFunctions();
  llvm::Error dump(Stage stage, mlir::ModuleOp module, const CompileTarget &target);

  Stage initial = Stage::Import;
  std::vector<CompileTarget> chosen;
};

/// The module of LLVM dialect that the stage Emit has added for a CPU; null before. Its attribute
/// `kernel.isa` names the instruction set.
mlir::ModuleOp findCode(mlir::ModuleOp module);

/// Text of a module that mlsys-opt accepts.
std::string printModule(mlir::ModuleOp module);

} // namespace mlsys
