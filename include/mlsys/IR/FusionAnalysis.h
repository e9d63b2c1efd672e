//===- FusionAnalysis.h - The structure of a fusion's body ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The one place that says which bodies a graph.fusion may have. The fuse pass
// asks it whether a merged body is legal; code generators ask it how the body
// is put together.
//
// Operations are of three sorts:
//   * indexable: elementwise operations, constant, broadcast, reshape, transpose,
//     slice, concat, gather, iota, last_token. Any element of the result can be
//     computed from single elements of the operands.
//   * reductions: graph.reduce.
//   * heroes: graph.dot, graph.expert_dot, graph.attention, graph.paged_attention.
// A cache_write is a sink: it stores the elements of its input and yields the
// layer.
//
// Kinds:
//   loop       Indexable operations and sinks. All outputs (for a sink: its
//              input) have the same number of elements, `domain` names their
//              extents; output i at element e of the row-major order is independent
//              of every other element.
//   row        Also reductions, each over the last dimension only of a value
//              whose leading dimensions multiply to `rows`. Outputs have `rows` times
//              something elements, or `rows` elements. A reduction's result is only read at its own
//              row: it passes through elementwise operations and broadcasts
//              that map leading dimensions to leading dimensions.
//   dot        Dots without batch dimensions that contract the last dimension
//              of a common left side with the last of a rank-2 right side, a value
//              from outside (a block argument). The left side is computed by the prologue, a body
//              of kind loop or row over rows = M. The epilogue is
//              indexable; each output (or sink's input) has M * N elements in the
//              row-major order of [M, N] and reads its dots at the same row, at
//              columns of the same aligned group of `mixing` columns.
//              Or products with experts (graph.expert_dot) of a common left side and common
//              experts, both from outside but for reshapes. A row is then a pair of a token and
//              one of its experts; otherwise the same holds.
//   attention  One attention or paged_attention and nothing else but reshapes
//              of its query and result.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

namespace mlsys::graph {

enum class FusionKind { Loop, Row, Dot, Attention };

/// Dots that one tile computes together, because an output needs them at the
/// same element (gate and up). All have the same N.
struct DotGroup {
  llvm::SmallVector<mlir::Operation *> dots;
  /// The columns of the right sides (equal for all dots of the group).
  int64_t columns = 0;
  /// The epilogue reads other columns inside aligned groups of this many: 1 when
  /// it is purely elementwise, the head size when it contains a rotary embedding.
  int64_t mixing = 1;
  /// The positions, in the terminator, of the outputs that read these dots.
  llvm::SmallVector<unsigned> outputs;
};

struct FusionStructure {
  FusionKind kind = FusionKind::Loop;
  /// loop: the extents of the first output. Otherwise the leading extents of a row.
  llvm::SmallVector<DimExpr> domain;
  /// row, dot: the number of rows (dot: M).
  DimExpr rows;
  /// row, dot prologue: reductions in an order in which they can be computed.
  llvm::SmallVector<ReduceOp> reductions;
  /// dot: the common left side and its contracted extent.
  mlir::Value lhs;
  int64_t contracted = 0;
  /// dot with experts: the expert of each row, how many experts there are and how many
  /// consecutive rows share a row of the left side. Null for plain dots.
  mlir::Value experts;
  int64_t numExperts = 0, rowsPerLeft = 1;
  llvm::SmallVector<DotGroup> groups;
  /// attention: the hero.
  mlir::Operation *hero = nullptr;
};

/// Rows up to which a kernel of dots streams its weights once, with all rows in registers.
constexpr int64_t maxGemvRows = 16;

/// True for the heroes of fusions of kind dot.
bool isDot(mlir::Operation *op);
/// The sides of a graph.dot or graph.expert_dot.
mlir::Value getLeft(mlir::Operation *dot);
mlir::Value getRight(mlir::Operation *dot);
/// The columns that a dot has in a fusion: those of its right side's matrix or matrices.
int64_t getColumns(mlir::Operation *dot);

/// The value that `value` is a reshape of, or itself.
mlir::Value behindReshapes(mlir::Value value);

/// True for the operations called indexable above.
bool isIndexable(mlir::Operation *op);

/// The tensor that an output of a fusion stores: the yielded value itself, or the
/// input of the cache_write that makes it.
mlir::Value getStoredValue(mlir::Value yielded);

/// The structure of a kernel that computes `ops` (in program order) and stores
/// `outputs`; values defined by other operations are its inputs. Failure with the reason in
/// `reason` when it is not of `kind`.
llvm::FailureOr<FusionStructure> analyzeOps(llvm::ArrayRef<mlir::Operation *> ops,
                                            llvm::ArrayRef<mlir::Value> outputs, FusionKind kind,
                                            std::string *reason = nullptr);

/// The structure of `body` (terminated by graph.yield) when it is a body of
/// `kind`; failure with the reason in `reason` when it is not.
llvm::FailureOr<FusionStructure> analyzeFusion(mlir::Block &body, FusionKind kind,
                                               std::string *reason = nullptr);
/// The same for an existing fusion of its own kind; emits an error on failure.
llvm::FailureOr<FusionStructure> analyzeFusion(FusionOp fusion);

/// "loop", "row", "dot", "attention".
llvm::StringRef stringifyFusionKind(FusionKind kind);
std::optional<FusionKind> symbolizeFusionKind(llvm::StringRef name);

} // namespace mlsys::graph
