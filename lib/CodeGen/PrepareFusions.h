//===- PrepareFusions.h - Fusions as kernels want them ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

namespace mlsys {

/// Brings the fusions of a function, still in the graph dialect, into the form that kernels are made of: equal
/// fusions have equal bodies, constants with different elements are inputs and all others are not, no input is given
/// twice, and every result of the function is the tensor of its own fusion.
void prepareFusions(mlir::func::FuncOp function);

} // namespace mlsys
