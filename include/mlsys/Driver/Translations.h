//===- Translations.h - The commands of mlsys-translate ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Import/Import.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace mlsys {

/// What `mlsys-translate --interpret` is asked for.
struct InterpretOptions {
  /// The function to call; empty: every function without arguments.
  std::string function;
  /// Its tensor arguments in order, as attributes: `dense<[1, 2]> : tensor<2xi64>`.
  std::vector<std::string> inputs;
  /// Pages of each KV cache argument, which is made here and zero at first.
  int64_t cachePages = 8;
  /// Where relative paths of weight files start.
  std::string baseDir = ".";
};

/// Calls functions of the graph dialect and writes their results, six digits a float:
///   @f
///   f32 [2, 2]: 1 2 3 4
llvm::Error interpretModule(mlir::ModuleOp module, const InterpretOptions &options,
                            llvm::raw_ostream &os);

/// Writes the program of a module at the kernel stage, without object code: a
/// FlatBuffer of Program.fbs. Diagnostics go to the module's context.
mlir::LogicalResult writeProgram(mlir::ModuleOp module, llvm::StringRef target,
                                 llvm::raw_ostream &os);

/// Writes the CUDA text of every kernel of a module at the kernel stage, each after a
/// line with its name. Diagnostics go to the module's context.
mlir::LogicalResult writeCuda(mlir::ModuleOp module, llvm::raw_ostream &os);

/// What `mlsys-translate --import` prints.
enum class ImportOutput { Ir, IrWithLocations, Summary };

/// Imports a model and prints it.
llvm::Error printImport(mlir::MLIRContext &context, llvm::StringRef path,
                        const ImportOptions &options, ImportOutput output,
                        llvm::raw_ostream &os);

} // namespace mlsys
