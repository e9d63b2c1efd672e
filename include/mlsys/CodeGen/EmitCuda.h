//===- EmitCuda.h - Kernels as CUDA C++ text --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Kernel.h"

#include <string>

namespace mlsys {

/// The text of one kernel of target "cuda" over the device library, as the contract
/// in runtime/device/mlsys/types.cuh asks for. An operation that has no text gives an error.
/// `threads` is the size of the kernel's blocks.
llvm::FailureOr<std::string> emitCuda(kernel::FuncOp function, int64_t threads);

/// The block size that the launches of `function` in `module` ask for; 256 when
/// nothing launches it.
int64_t getBlockThreads(kernel::FuncOp function, mlir::ModuleOp module);

} // namespace mlsys
