//===- Kernel.h - The kernel dialect ----------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include "mlsys/IR/KernelDialect.h.inc"
#define GET_OP_CLASSES
#include "mlsys/IR/KernelOps.h.inc"

namespace mlsys::kernel {
/// On a module of CUDA kernels: the family that they are planned for (CudaTarget.h), a string.
inline constexpr llvm::StringLiteral archAttrName = "kernel.arch";
/// On a kernel: what its tiles were chosen for, and which they are, "SHAPE: TILES", a string.
inline constexpr llvm::StringLiteral tilesAttrName = "kernel.tiles";
/// On a CUDA kernel: the number of its tensor maps, its last parameters.
inline constexpr llvm::StringLiteral tensorMapsAttrName = "kernel.tensor_maps";
/// On a kernel of CUDA whose blocks run in clusters, neighbours in x: how many blocks each has.
inline constexpr llvm::StringLiteral clusterAttrName = "kernel.cluster";
} // namespace mlsys::kernel
