//===- EmitObject.h - CPU kernels as a shared library -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/FusionLowering.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlsys {

/// Compiles a module of the LLVM dialect (what -mlsys-lower-to-llvm leaves) for an
/// instruction set and links it: an ELF shared library that exports the kernels.
llvm::Expected<std::vector<uint8_t>> emitSharedObject(mlir::ModuleOp module,
                                                      const CpuTarget &target);

/// The LLVM IR of such a module before optimization, as text.
llvm::Expected<std::string> emitLLVMText(mlir::ModuleOp module, const CpuTarget &target);

} // namespace mlsys
