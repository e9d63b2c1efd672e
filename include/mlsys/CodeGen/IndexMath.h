//===- IndexMath.h - Arithmetic on indices ----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ScopedCache.h"

#include <tuple>

namespace mlsys {

/// Emits arithmetic on indices that are never negative. Constants are folded, equal
/// expressions are emitted once, and the parts of a number put together by
/// `join` are found again by `div` and `mod` without a division.
class IndexMath {
public:
  IndexMath(mlir::OpBuilder &builder, mlir::Location loc) : builder(builder), loc(loc) {}

  /// The constant, defined at the start of the enclosing function.
  mlir::Value constant(int64_t value);
  mlir::Value add(mlir::Value lhs, mlir::Value rhs);
  mlir::Value add(mlir::Value lhs, int64_t rhs) { return add(lhs, constant(rhs)); }
  /// `rhs` is not larger than `lhs`.
  mlir::Value sub(mlir::Value lhs, mlir::Value rhs);
  mlir::Value mul(mlir::Value lhs, mlir::Value rhs);
  mlir::Value mul(mlir::Value lhs, int64_t rhs) { return mul(lhs, constant(rhs)); }
  mlir::Value div(mlir::Value lhs, mlir::Value rhs);
  mlir::Value div(mlir::Value lhs, int64_t rhs) { return div(lhs, constant(rhs)); }
  mlir::Value mod(mlir::Value lhs, mlir::Value rhs);
  mlir::Value mod(mlir::Value lhs, int64_t rhs) { return mod(lhs, constant(rhs)); }
  mlir::Value min(mlir::Value lhs, mlir::Value rhs);
  /// `lhs` divided by `rhs`, rounded up.
  mlir::Value ceilDiv(mlir::Value lhs, int64_t rhs) { return div(add(lhs, rhs - 1), rhs); }
  /// high * extent + low, where low < extent.
  mlir::Value join(mlir::Value high, mlir::Value extent, mlir::Value low);
  /// The i1 `lhs < rhs`; a constant when it is known.
  mlir::Value less(mlir::Value lhs, mlir::Value rhs);

private:
  enum class Kind { Constant, Add, Sub, Mul, Div, Mod, Min, Less };
  using Key = std::tuple<Kind, void *, void *>;
  struct Parts {
    mlir::Value high, extent, low;
  };

  mlir::Value emit(Kind kind, mlir::Value lhs, mlir::Value rhs);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  ScopedCache<Key> cache;
  llvm::DenseMap<std::pair<mlir::Block *, int64_t>, mlir::Value> constants;
  llvm::DenseMap<mlir::Value, Parts> joined;
};

} // namespace mlsys
