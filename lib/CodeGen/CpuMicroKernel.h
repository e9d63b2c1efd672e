//===- CpuMicroKernel.h - Register tiles of a product -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// The innermost loops of dots and of attention: a few rows times a few vectors
// of columns in registers, summed over K in order. The order of the sum
// depends neither on the tile's size nor on its place, so a row's result is
// the same in every batch.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/Builders.h"

namespace mlsys {

/// The shape of a register tile and how its operands are stored. The left side
/// holds rows along K, bf16 for the dot instruction and f32 otherwise (integers: CpuIntegerSteps.h); the right side
/// holds for each step of `pair` elements of K all columns, the elements of a pair together.
struct MicroKernel {
  int64_t rows = 1, vectors = 1, width = 8;
  mlir::Type rhsType;
  int64_t pair = 1;
  /// Use the bf16 dot product instruction (needs pair 2).
  bool bf16Dot = false;
  /// Of i8: use vpdpbusd (the left side is i8 or ui8, otherwise i16); the left side is unsigned.
  bool byteDot = false, unsignedLhs = false;
  /// Steps per iteration of the loop.
  int64_t unroll = 1;
  /// How far ahead of the loads the right side is prefetched; 0: not at all.
  int64_t prefetchBytes = 0;
  /// While the steps run, one of so many parts of what they read of the right side is brought from
  /// another place to the L2 cache; 0: nothing is.
  int64_t aheadParts = 0;

  int64_t columns() const { return vectors * width; }
  bool isInteger() const { return rhsType.isInteger(8); }
};

/// Where a register tile's operands are, in elements of flat buffers.
struct MicroOperands {
  mlir::Value lhs, lhsOffset;
  int64_t lhsStride = 0;
  mlir::Value rhs, rhsOffset;
  /// From one step to the next.
  int64_t rhsStride = 0;
  /// Where the part begins that is brought to the cache ahead of its use, if there is one.
  mlir::Value ahead;
  /// The number of steps.
  mlir::Value steps;
  /// f32, or i32 for integers.
  mlir::Value tile, tileOffset;
  int64_t tileStride = 0;
  /// Add to what the tile holds.
  bool accumulate = false;
  /// When not null: an f32 buffer with a factor for each row, by which what the tile holds is
  /// multiplied first; `firstRow` is the tile's first row in it.
  mlir::Value rowFactors, firstRow;
  /// When not null: a buffer with a number for each row, which its sums have in addition.
  mlir::Value rowStarts;
};

/// tile[r, c] (+)= sum over k of lhs[r, k] * rhs[k, c].
void emitMicroKernel(mlir::OpBuilder &builder, mlir::Location loc, const MicroKernel &kernel,
                     const MicroOperands &operands);

/// Calls `body(firstRow, rows)` for consecutive groups of rows that cover [0, count): as
/// many of `rows` as there are and then smaller ones. `count` is static when
/// it is a constant.
void emitRowGroups(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value count, int64_t rows,
                   llvm::function_ref<void(mlir::Value firstRow, int64_t rows)> body);

/// `for (i = begin; i < end; i += step) body(i)`, or just the body when it is known to run at
/// most once.
void emitLoop(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value begin, mlir::Value end,
              int64_t step, llvm::function_ref<void(mlir::Value)> body);

/// A constant of type index.
mlir::Value indexConstant(mlir::OpBuilder &builder, mlir::Location loc, int64_t value);
/// lhs + rhs, folded where possible.
mlir::Value indexAdd(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value lhs, mlir::Value rhs);
mlir::Value indexAdd(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value lhs, int64_t rhs);
/// lhs * rhs, folded where possible.
mlir::Value indexMul(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value lhs, int64_t rhs);

} // namespace mlsys
