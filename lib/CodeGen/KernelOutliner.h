//===- KernelOutliner.h - One kernel for equal fusions ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/FusionLowering.h"

namespace mlsys {

struct CudaSplit;

/// A kernel and what its launches need.
struct OutlinedKernel {
  kernel::FuncOp function;
  LaunchShape shape;
  /// What its symbol arguments are: expressions over symbols (DimExpr).
  llvm::SmallVector<std::string> symbols;
  /// The positions of the buffers that it writes: first those of the
  /// inputs that are written layers of the KV cache, then the outputs.
  llvm::SmallVector<int64_t> writes;
  /// Its buffers: positions among the fusion's inputs, outputs and `temporaries`, in this order.
  llvm::SmallVector<unsigned> operands;
  /// Kernels that run after this one to make what it does not: they join partial results of parts.
  std::vector<OutlinedKernel> later;
  /// Buffers that only this kernel and `later` use.
  struct Temporary {
    graph::DimExpr elements;
    mlir::Type element;
  };
  llvm::SmallVector<Temporary> temporaries;
  /// Of a later kernel, the bytes that it moves and its arithmetic.
  graph::DimExpr bytes, flops;
};

/// The weights of a module that products on the CPU read as panels. A gather from such a weight
/// reads the panels, too, so that only one copy of a tied embedding is loaded.
class PackedWeights {
public:
  /// No weight at all.
  PackedWeights() = default;
  /// Those of all fusions of `module`.
  explicit PackedWeights(mlir::ModuleOp module);

  /// True when `fusion` only gathers from its input at `position`, a matrix that is packed.
  bool isPackedTable(graph::FusionOp fusion, unsigned position) const;

private:
  /// Sources and types of weights.
  llvm::DenseSet<std::pair<mlir::Attribute, mlir::Type>> weights;
};

/// Makes kernels for fusions and finds those that it has made: fusions with equal
/// bodies, in functions with equal symbols, that read constants at the same operands; and fusions
/// for which equal code was made, such as a product over B * S rows and one over T rows.
class KernelOutliner {
public:
  /// One of `cpu` and `cuda` is null. The fusions of `module` are as they are when they are outlined.
  KernelOutliner(mlir::ModuleOp module, const CpuTarget *cpu, const CudaTarget *cuda)
      : module(module), cpu(cpu), cuda(cuda), packed(cpu ? PackedWeights(module) : PackedWeights()) {}

  /// The kernel of a fusion; null after an error. The fusions are kept in the IR
  /// until all are outlined.
  OutlinedKernel *outline(graph::FusionOp fusion);

  int64_t numKernels = 0, numShared = 0;

private:
  struct Entry {
    graph::FusionOp fusion;
    OutlinedKernel kernel;
  };

  std::string getKey(graph::FusionOp fusion) const;
  /// Takes an earlier function for `kernel` when it has the same code and launch.
  void shareFunction(OutlinedKernel &kernel);
  mlir::LogicalResult lower(graph::FusionOp fusion, OutlinedKernel &result);
  OutlinedKernel makeJoin(graph::FusionOp fusion, const graph::FusionStructure &structure, int64_t parts);
  /// The kernels of a fusion whose reductions are computed in parts.
  mlir::LogicalResult lowerSplit(graph::FusionOp fusion, const graph::FusionStructure &structure, const CudaSplit &split,
                                 OutlinedKernel &result);
  /// A kernel over `buffers`, of which the first `numInputs` are inputs. Its body is empty, and `builder` in it.
  KernelBuilder startKernel(mlir::OpBuilder &builder, graph::FusionOp fusion, const graph::FusionStructure &structure,
                            llvm::ArrayRef<mlir::Type> buffers, size_t numInputs, int64_t parts = 1);

  mlir::ModuleOp module;
  const CpuTarget *cpu;
  const CudaTarget *cuda;
  PackedWeights packed;
  llvm::StringMap<std::vector<std::unique_ptr<Entry>>> entries;
  llvm::StringMap<int64_t> counts;
  /// Kernels whose functions are of their own.
  llvm::SmallVector<const OutlinedKernel *> made;
};

/// The layer of the KV cache that a value is: the operand of the first of the
/// writes that made it.
mlir::Value getBaseLayer(mlir::Value layer);

/// Estimates of the bytes that a fusion moves and of its arithmetic, and its label: the
/// name of its location and what it computes.
graph::DimExpr estimateBytes(graph::FusionOp fusion);
graph::DimExpr estimateFlops(graph::FusionOp fusion);
std::string describeFusion(graph::FusionOp fusion);

} // namespace mlsys
