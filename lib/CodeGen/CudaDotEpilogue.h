//===- CudaDotEpilogue.h - What becomes of the sums of dots on CUDA *- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"

namespace mlsys {

/// An epilogue of a kernel.contract or kernel.wgmma, with the insertion point in it. Its arguments are the first row
/// and column of a tile and how many it has.
mlir::Block *createDotEpilogue(mlir::OpBuilder &builder, mlir::Location loc, mlir::Region &region);

/// The row and column in the tile at hand of an element of a dot's result.
using PlaceInTile = std::function<std::pair<mlir::Value, mlir::Value>(mlir::Value row, mlir::Value column)>;

/// Calls `store` for each output of `group`, whose dots are then the sums of the tile at hand.
void emitDotEpilogue(ElementEmitter &emitter, KernelBuilder &kernel, const graph::DotGroup &group, PlaceInTile place,
                     llvm::function_ref<void(unsigned output)> store);

} // namespace mlsys
