//===- CudaPrinter.h - Prints one kernel as CUDA C++ ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Kernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/raw_ostream.h"

#include <string>

namespace mlsys {

/// Prints operations as statements. Failures have emitted an error.
class CudaPrinter {
public:
  explicit CudaPrinter(llvm::raw_ostream &out) : out(out) {}

  mlir::LogicalResult printFunction(kernel::FuncOp function, int64_t threads);

private:
  static llvm::SmallVector<llvm::StringRef> includes(kernel::FuncOp function);
  mlir::LogicalResult printOp(mlir::Operation *op);
  mlir::LogicalResult printFor(mlir::scf::ForOp op);
  mlir::LogicalResult printIf(mlir::scf::IfOp op);
  /// The operations of a block, two columns further in.
  mlir::LogicalResult
  printBlock(mlir::Block &block,
             llvm::function_ref<mlir::LogicalResult(mlir::Operation *)> terminator);
  mlir::LogicalResult declareResults(mlir::ValueRange results, mlir::ValueRange initial,
                                     mlir::Operation *op);
  void assign(mlir::ValueRange targets, mlir::ValueRange values);

  // CudaExpressions.cpp.
  /// The device library's name for a type; pointers for buffers.
  mlir::FailureOr<std::string> typeName(mlir::Type type, mlir::Operation *op);
  mlir::LogicalResult printConstant(mlir::arith::ConstantOp op);
  mlir::LogicalResult printExpression(mlir::Operation *op);

  // CudaKernelOps.cpp: the kernel dialect's own operations.
  mlir::LogicalResult printKernelOp(kernel::BlockIdOp op);
  mlir::LogicalResult printKernelOp(kernel::ThreadIdOp op);
  mlir::LogicalResult printKernelOp(kernel::BarrierOp op);
  mlir::LogicalResult printKernelOp(kernel::GridWaitOp op);
  mlir::LogicalResult printKernelOp(kernel::GridLaunchOp op);
  mlir::LogicalResult printKernelOp(kernel::SharedOp op);
  mlir::LogicalResult printKernelOp(kernel::ReduceOp op);
  mlir::LogicalResult printKernelOp(kernel::ContractOp op);
  /// The epilogue of a product as a function of a tile.
  mlir::LogicalResult printEpilogue(mlir::Block &epilogue);
  mlir::LogicalResult printKernelOp(kernel::WgmmaOp op);
  mlir::LogicalResult printKernelOp(kernel::CollectRowsOp op);
  mlir::LogicalResult printKernelOp(kernel::FetchRowsOp op);
  mlir::LogicalResult printKernelOp(kernel::TileLoadOp op);
  mlir::LogicalResult printKernelOp(kernel::AttentionOp op);
  mlir::LogicalResult printKernelOp(kernel::AttentionJoinOp op);

  /// The name of a value that has one.
  std::string name(mlir::Value value) const { return names.lookup(value); }
  /// Gives a value the next name.
  std::string fresh(mlir::Value value) {
    return names[value] = "v" + std::to_string(counter++);
  }
  /// Defines a value by an expression.
  void define(mlir::Value value, const std::string &expression) {
    line() << "const auto " << fresh(value) << " = " << expression << ";\n";
  }
  llvm::raw_ostream &line() { return out.indent(indent); }

  llvm::raw_ostream &out;
  llvm::DenseMap<mlir::Value, std::string> names;
  unsigned counter = 0, indent = 0;
};

} // namespace mlsys
