//===- ElementMath.h - Elementwise operations on elements -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

namespace mlsys {

/// Emits an elementwise graph operation on operands in their compute types, scalars or
/// vectors of `width` elements. Null when `op` is not one that it knows.
mlir::Value emitElementwise(mlir::OpBuilder &builder, mlir::Location loc, mlir::Operation *op,
                            mlir::ValueRange operands, int64_t width);

/// The value that every element of a constant has, looking through broadcasts; null
/// when there is none.
mlir::Attribute getSplat(mlir::Value value);

/// Folds two partial results of a reduction of this kind.
mlir::Value emitCombine(mlir::OpBuilder &builder, mlir::Location loc, graph::ReduceKind kind,
                        mlir::Value lhs, mlir::Value rhs);

/// The neutral element of a reduction of this kind.
mlir::TypedAttr getNeutral(mlir::OpBuilder &builder, graph::ReduceKind kind, mlir::Type type);

} // namespace mlsys
