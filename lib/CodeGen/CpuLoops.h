//===- CpuLoops.h - Loops over rows and columns on the CPU ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

#include "llvm/ADT/SetVector.h"

namespace mlsys {

/// Elements of one task: about 16 KB of f32, less when each takes long to compute.
int64_t getElementsPerTask(graph::FusionOp fusion);

/// Emits `for (i = begin; i < end; i += step)`; `body` gets i and the carried values
/// and returns the next ones. Returns the last ones.
llvm::SmallVector<mlir::Value>
emitFor(KernelBuilder &kernel, mlir::Value begin, mlir::Value end, mlir::Value step,
        mlir::ValueRange carried,
        llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);

/// How a loop over columns is unrolled.
struct ColumnUnrolling {
  /// At most so many vectors of a known number of columns need no loop.
  int64_t whole = 8;
  /// Vectors of one step of a loop.
  int64_t vectors = 1;
  /// Called before each such step.
  std::function<void(mlir::Value column)> before;
};

/// Emits `body(column, width)` for the columns [begin, end): vectors first, then what remains one
/// by one. Few columns with known numbers are unrolled.
void emitColumns(KernelBuilder &kernel, IndexMath &math, mlir::Value begin, mlir::Value end,
                 int64_t width, llvm::function_ref<void(mlir::Value, int64_t)> body,
                 const ColumnUnrolling &unrolling = {});

/// One thing that a fusion stores: an output (`write` is null) or the input of a cache_write.
struct StoredValue {
  mlir::Value value, buffer;
  graph::CacheWriteOp write;
};
llvm::SmallVector<StoredValue> getStoredValues(KernelBuilder &kernel);

/// Computes `stored` at `indices` and stores it; `linear` is the row-major number. `streaming`: past
/// the caches where that is possible; a vector then starts at a multiple of its width.
void emitStore(KernelBuilder &kernel, ElementEmitter &emitter, const StoredValue &stored,
               mlir::ValueRange indices, mlir::Value linear, int64_t width, bool streaming = false);

/// Emits `body(streaming)`, where `streaming` says that the launch's stores go past the caches: what it
/// reads and writes is more than they hold, so that the next kernel would not find it there, and a plain
/// store would read memory before it writes. Where symbols decide, both bodies are emitted and chosen from
/// at run time. Rows of a number of elements that is no multiple of `width` never stream.
void emitStreamingChoice(KernelBuilder &kernel, IndexMath &math, const CpuTarget &target,
                         const graph::DimExpr &columns, int64_t width,
                         llvm::function_ref<void(bool)> body);

/// The inputs of a fusion that `value` reads at its own element number: through elementwise operations
/// and reshapes only.
void collectStreams(mlir::Value value, llvm::SetVector<mlir::BlockArgument> &inputs);

/// Fetches `count` elements of a buffer from `linear` on into the second cache; they may lie beyond the
/// buffer's end.
void emitPrefetch(KernelBuilder &kernel, IndexMath &math, mlir::Value buffer, mlir::Value linear,
                  int64_t count);

/// The elements of a vector of a kernel whose rows have `columns`: a register of f32, or two where all that is
/// stored has 16 bits, so that a store is a whole cache line.
int64_t widestVector(KernelBuilder &kernel, const CpuTarget &target, const graph::DimExpr &columns);

/// The largest width, at most `vectorWidth`, in which all values can be computed in rows
/// of `columns` elements; widths that divide `columns` are preferred.
int64_t chooseWidth(ElementEmitter &emitter, llvm::ArrayRef<mlir::Value> values,
                    const graph::DimExpr &columns, int64_t vectorWidth);

} // namespace mlsys
