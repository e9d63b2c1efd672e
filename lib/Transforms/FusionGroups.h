//===- FusionGroups.h - Operations on their way to a kernel -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/FusionAnalysis.h"

#include "llvm/ADT/SetVector.h"

namespace mlsys {

/// The operations that will be one kernel, in program order. An operation
/// belongs to one group, its home; others may hold it too and compute it again.
struct FusionGroup {
  llvm::SmallVector<mlir::Operation *> ops;
  graph::FusionKind kind = graph::FusionKind::Loop;
  bool alive = true;
  /// Counts changes, to recognize outdated queue entries.
  unsigned version = 0;
};

/// The groups of one block. Weights, tables of constants and cache layers are in
/// no group: they are inputs.
class FusionGroups {
public:
  explicit FusionGroups(mlir::Block &block);

  size_t size() const { return groups.size(); }
  FusionGroup &operator[](unsigned id) { return groups[id]; }

  /// The groups that `id` reads from, and those that read from it.
  llvm::SmallSetVector<unsigned, 4> producers(unsigned id) const;
  llvm::SmallSetVector<unsigned, 4> consumers(unsigned id) const;

  /// The values from outside that these operations read, in order of first use.
  static llvm::SetVector<mlir::Value> inputsOf(llvm::ArrayRef<mlir::Operation *> ops);
  /// What a kernel of `ops` must store when it is the home of the operations
  /// for which `isHome` holds: values that others read, and every cache write.
  llvm::SmallVector<mlir::Value> outputsOf(llvm::ArrayRef<mlir::Operation *> ops,
                                           llvm::ArrayRef<unsigned> homes) const;
  /// The same for a group as it is.
  llvm::SmallVector<mlir::Value> outputs(unsigned id) const {
    return outputsOf(groups[id].ops, {id});
  }

  /// The operations of both, in program order.
  llvm::SmallVector<mlir::Operation *> unionOf(unsigned a, unsigned b) const;
  /// True when a path leads from `producer` to `consumer` through a third group, so
  /// that merging the two would make a cycle.
  bool hasIndirectPath(unsigned producer, unsigned consumer) const;

  /// Makes `producer` part of `consumer` and its operations at home there.
  void merge(unsigned producer, unsigned consumer, graph::FusionKind kind);
  /// Computes `producer` in `consumer` too; it dies when nobody else reads it.
  void duplicate(unsigned producer, unsigned consumer, graph::FusionKind kind);

  /// The living groups, producers before consumers.
  llvm::SmallVector<unsigned> topologicalOrder() const;

  /// What kind the kernel of these operations must be.
  static graph::FusionKind kindOf(llvm::ArrayRef<mlir::Operation *> ops);

private:
  bool holds(unsigned id, mlir::Operation *op) const;
  void addOps(unsigned id, llvm::ArrayRef<mlir::Operation *> ops);
  void removeGroup(unsigned id);

  std::vector<FusionGroup> groups;
  llvm::DenseMap<mlir::Operation *, unsigned> home;
  /// Every group that holds an operation.
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<unsigned, 2>> holders;
  llvm::DenseMap<mlir::Operation *, unsigned> order;
};

} // namespace mlsys
