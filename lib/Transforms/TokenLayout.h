//===- TokenLayout.h - Which values a model has per token -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The analysis behind -mlsys-derive-cache: where the batch and the sequence are
// in each value's extents, and which operations keep the tokens apart.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

namespace mlsys::graph {

/// How a value depends on the tokens of a batch.
enum class TokenClass {
  /// The same for every batch: neither B nor S among its extents.
  Invariant,
  /// One part for each token: S once, B at most once (or both as one extent B*S).
  PerToken,
  /// Anything else.
  Mixed
};

/// The layout of a function over token ids of [batch, sequence].
class TokenLayout {
public:
  TokenLayout(DimExpr batch, DimExpr sequence)
      : batch(std::move(batch)), sequence(std::move(sequence)) {}

  TokenClass classify(mlir::Type type) const;

  /// The type of a value when its tokens are flattened to `rows`: S becomes `rows`, B goes.
  mlir::RankedTensorType flatten(mlir::RankedTensorType type, const DimExpr &rows) const;
  /// The dimension of the flattened type that dimension `dim` of `type` becomes; -1 when
  /// it goes.
  int64_t flattenDim(mlir::RankedTensorType type, int64_t dim) const;
  /// The dimension that becomes the rows; `type` is PerToken.
  int64_t getTokenDim(mlir::RankedTensorType type) const;

  /// True for attention of every token over its own sequence.
  bool isSequenceAttention(mlir::Operation *op) const;
  /// Success when the result for a token depends on that token alone (or `op`
  /// isSequenceAttention). Otherwise `reason` completes the sentence "the operation ...".
  mlir::LogicalResult checkTokenwise(mlir::Operation *op, std::string &reason) const;

private:
  enum class DimKind { Plain, Batch, Sequence, Tokens, Other };
  DimKind kindOf(const DimExpr &dim) const;
  bool hasTokens(mlir::RankedTensorType type, int64_t dim) const;
  mlir::LogicalResult checkReshape(ReshapeOp op, std::string &reason) const;
  mlir::LogicalResult checkDims(mlir::Operation *op, std::string &reason) const;

  DimExpr batch, sequence;
};

} // namespace mlsys::graph
