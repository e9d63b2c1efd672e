//===- CudaReduce.h - What kernels that reduce share on CUDA ----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ElementMath.h"
#include "LowerForCuda.h"

namespace mlsys {

/// The element or vector of type `wanted` that changes nothing.
mlir::Value neutralElement(mlir::OpBuilder &builder, mlir::Location loc, graph::ReduceKind kind, mlir::Type wanted);

/// The reduction of what each thread has (a vector or an element); the same in every thread.
mlir::Value joinThreads(KernelBuilder &kernel, graph::ReduceKind kind, mlir::Value partial, RowScope scope);

/// A source of one value for every index.
ElementEmitter::Source uniformSource(KernelBuilder &kernel, mlir::Value value);

} // namespace mlsys
