//===- RowReductions.h - The reductions of one row --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// Computes the reductions of the fusion's structure for row `row`, with vectors of `width`
/// lanes where possible, and binds their results, which from then on are those of
/// this row wherever they are read.
void emitRowReductions(ElementEmitter &emitter, KernelBuilder &kernel, mlir::Value row,
                       int64_t width);

/// The widest vector of at most `width` lanes in which all `values` can be computed at
/// columns that are multiples of it.
int64_t commonWidth(ElementEmitter &emitter, llvm::ArrayRef<mlir::Value> values, int64_t width);

} // namespace mlsys
