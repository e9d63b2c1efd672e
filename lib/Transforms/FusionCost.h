//===- FusionCost.h - The time that fusing saves ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/FusionAnalysis.h"

namespace mlsys {

/// Round numbers of a machine, enough to order fusions. Only ratios matter.
struct FusionMachine {
  /// Bytes per second of memory that all workers share.
  double bandwidth = 3e10;
  /// Elementwise operations per second, all workers together.
  double flops = 1e11;
  /// Seconds from one launch to the next.
  double launch = 2e-6;
  /// Threads of a CPU, multiprocessors of a GPU.
  double workers = 2;
  /// Columns of a dot that one task computes; each such task computes the prologue again.
  double tileColumns = 128;

  /// "cpu" (two cores of a server) or "cuda" (an H100, of which the figures are from its data sheet).
  static FusionMachine get(llvm::StringRef target);
};

/// Estimates over the symbol hints of one function.
class FusionCost {
public:
  FusionCost(mlir::func::FuncOp function, FusionMachine machine)
      : function(function), machine(machine) {}

  const FusionMachine &getMachine() const { return machine; }
  double elements(mlir::Type type) const;
  /// Bytes of a value in memory; 0 for what is not a tensor.
  double bytes(mlir::Value value) const;
  /// Elementwise operations to compute all of `op`'s result once.
  double operations(mlir::Operation *op) const;
  double evaluate(const graph::DimExpr &dim) const;
  /// Seconds for moving `bytes` through memory once.
  double moveTime(double bytes) const { return bytes / machine.bandwidth; }
  /// Seconds that it costs more to compute `prologue` as the prologue of dots
  /// of `rows` rows and `columns` columns together than once.
  double prologueTime(llvm::ArrayRef<mlir::Operation *> prologue, double rows, double columns) const;

private:
  mlir::func::FuncOp function;
  FusionMachine machine;
  /// What elements() has found: extents are read from text.
  mutable llvm::DenseMap<mlir::Type, double> counts;
};

} // namespace mlsys
