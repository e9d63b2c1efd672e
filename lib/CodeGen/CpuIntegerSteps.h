//===- CpuIntegerSteps.h - Products of 8-bit integers on the CPU *- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Panels of i8 hold four elements of K of a column together. All ways are exact:
//
// * vpdpbusd (AVX-512 VNNI) multiplies unsigned with signed bytes. A ui8 left side is multiplied as
//   it is. For an i8 left side 128 is added to the weights in the register, so a row's sums are too
//   large by 128 times the sum of its left elements: they start at -128 times that sum.
// * vpmaddwd (AVX2, AVX-512 without VNNI) multiplies 16-bit integers and adds pairs: the left side
//   is in scratch as i16, weights are widened in the register. No pair of products leaves i32.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "CpuMicroKernel.h"

namespace mlsys {

/// Adds the products of four elements of K to `sums`, vectors of i32 of the rows one after the
/// other. `loaded`: the right side's bytes, a vector each; `lhsIndex`: the first row's elements.
void emitIntegerStep(mlir::OpBuilder &builder, mlir::Location loc, const MicroKernel &kernel,
                     const MicroOperands &operands, mlir::Value lhsIndex, llvm::ArrayRef<mlir::Value> loaded,
                     llvm::MutableArrayRef<mlir::Value> sums);

/// The sum of `count` signed bytes of a buffer from `first` on, as i32 (AVX-512 VNNI).
mlir::Value emitByteSum(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value buffer, mlir::Value first,
                        int64_t count);

} // namespace mlsys
