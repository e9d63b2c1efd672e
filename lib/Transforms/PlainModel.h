//===- PlainModel.h - A plain function that may get a step ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "TokenLayout.h"

#include "llvm/ADT/DenseSet.h"

namespace mlsys::graph {

/// What -mlsys-derive-cache needs to know of a plain language model or encoder.
struct PlainModel {
  mlir::func::FuncOp function;
  /// The result that is the logits.
  unsigned logitsIndex = 0;
  /// The operations that the logits depend on, in order.
  llvm::SmallVector<mlir::Operation *> live;
  /// The attentions, and the operations that some attention depends on.
  llvm::DenseSet<mlir::Operation *> beforeCache;
  llvm::SmallVector<AttentionOp> attentions;
  /// No attention is causal: the model is an encoder.
  bool bidirectional = false;
  /// The logits of every token are wanted.
  bool perToken = false;
  /// The largest window, when every attention has one.
  std::optional<int64_t> window;
  /// The symbols of the batch and the sequence.
  std::string batch, sequence;

  TokenLayout getLayout() const {
    return TokenLayout(DimExpr::symbol(batch), DimExpr::symbol(sequence));
  }
};

/// Reads `function`. Fails, with a diagnostic at the operation that stands in the way, when
/// it is not a model that mixes tokens in attention only, causal everywhere or nowhere.
llvm::FailureOr<PlainModel> readPlainModel(mlir::func::FuncOp function);

} // namespace mlsys::graph
