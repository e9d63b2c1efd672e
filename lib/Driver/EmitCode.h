//===- EmitCode.h - Object code of a target ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Compilation.h"
#include "mlsys/CodeGen/FusionLowering.h"

namespace mlsys {

/// The instruction set that a target of the CPU names, or this machine's.
CpuTarget instructionSetOf(const CompileTarget &target);

/// Adds the shared object of the kernels of `module`, which is at the kernel stage and is used up, for the
/// instruction set of `target`.
llvm::Error emitCpuCode(Compilation &compilation, mlir::ModuleOp module,
                        const CompileTarget &target, program::TargetProgramT &program);

/// Adds the CUDA text of each kernel of `module`.
llvm::Error emitCudaText(Compilation &compilation, mlir::ModuleOp module,
                         program::TargetProgramT &program);

/// What compiles cubins: NVRTC's version; empty when there is none.
std::string getCubinCompiler();

/// Adds a cubin of each kernel for an architecture, from the kernel cache or by NVRTC.
llvm::Error emitCubins(program::TargetProgramT &program, const std::string &arch,
                       const std::function<void(const std::string &)> &progress);

} // namespace mlsys
