//===- Interpreter.h - Evaluates the graph dialect --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The oracle: every pass and both code generators are compared with it. It goes
// through a function operation by operation. A float result is computed in
// double from the operands and rounded once to its element type; this is the
// `strict` reading of a model, in which every operation rounds. Composites
// are computed from their formula, not through -mlsys-decompose.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"
#include "mlsys/Interpreter/Tensor.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <map>

namespace mlsys {

/// Gives the elements of a weight, in the result's type.
using WeightProvider = std::function<llvm::Expected<Tensor>(graph::WeightOp)>;

/// Reads weights from the files that `module` lists in `graph.weight_files`.
/// Relative paths start at `baseDir`. Keeps nothing of the module.
llvm::Expected<WeightProvider> makeFileWeightProvider(mlir::ModuleOp module,
                                                      const std::string &baseDir);

class Interpreter {
public:
  /// `module` outlives the interpreter. Weights are kept after their first use. `weights`
  /// may be null when no function has any.
  explicit Interpreter(mlir::ModuleOp module, WeightProvider weights = nullptr);

  /// Calls a function. Arguments are checked against its types, which also bind its symbols. A
  /// cache argument is changed in place. Errors name the argument or the operation.
  llvm::Expected<std::vector<InterpreterValue>> run(llvm::StringRef function,
                                                    llvm::ArrayRef<InterpreterValue> arguments);

private:
  using Symbols = std::map<std::string, int64_t>;
  using Values = llvm::DenseMap<mlir::Value, InterpreterValue>;

  llvm::Expected<std::vector<InterpreterValue>>
  call(mlir::func::FuncOp function, llvm::ArrayRef<InterpreterValue> arguments);
  llvm::Expected<std::vector<InterpreterValue>>
  runBlock(mlir::Block &block, llvm::ArrayRef<InterpreterValue> arguments, const Symbols &symbols);
  llvm::Expected<std::vector<InterpreterValue>> runOperation(mlir::Operation *op,
                                                             const Values &values,
                                                             const Symbols &symbols);
  llvm::Expected<Tensor> runTensorOperation(mlir::Operation *op,
                                            llvm::ArrayRef<InterpreterValue> operands,
                                            const Symbols &symbols);
  llvm::Expected<Tensor> getWeight(graph::WeightOp op);

  mlir::ModuleOp module;
  WeightProvider weights;
  std::map<std::pair<const void *, const void *>, Tensor> loaded;
};

} // namespace mlsys
