//===- CpuLoops.h - Loops over rows and columns on the CPU ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// Elements of one task: about 16 KB of f32, less when each takes long to compute.
int64_t getElementsPerTask(graph::FusionOp fusion);

/// Emits `for (i = begin; i < end; i += step)`; `body` gets i and the carried values
/// and returns the next ones. Returns the last ones.
llvm::SmallVector<mlir::Value>
emitFor(KernelBuilder &kernel, mlir::Value begin, mlir::Value end, mlir::Value step,
        mlir::ValueRange carried,
        llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);

/// Emits `body(column, width)` for the columns [begin, end): vectors first, then what remains one
/// by one. Few columns with known numbers are unrolled.
void emitColumns(KernelBuilder &kernel, IndexMath &math, mlir::Value begin, mlir::Value end,
                 int64_t width, llvm::function_ref<void(mlir::Value, int64_t)> body);

/// One thing that a fusion stores: an output (`write` is null) or the input of a cache_write.
struct StoredValue {
  mlir::Value value, buffer;
  graph::CacheWriteOp write;
};
llvm::SmallVector<StoredValue> getStoredValues(KernelBuilder &kernel);

/// Computes `stored` at `indices` and stores it; `linear` is the row-major number.
void emitStore(KernelBuilder &kernel, ElementEmitter &emitter, const StoredValue &stored,
               mlir::ValueRange indices, mlir::Value linear, int64_t width);

/// The largest width, at most the target's, in which all values can be computed in rows
/// of `columns` elements; widths that divide `columns` are preferred.
int64_t chooseWidth(ElementEmitter &emitter, llvm::ArrayRef<mlir::Value> values,
                    const graph::DimExpr &columns, int64_t vectorWidth);

} // namespace mlsys
