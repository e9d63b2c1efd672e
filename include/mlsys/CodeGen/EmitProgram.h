//===- EmitProgram.h - From the kernel stage to Program.fbs -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A function at the kernel stage is a func.func whose arguments are flat
// buffers and whose body is kernel.constant, kernel.alloc, kernel.view, kernel.launch
// and return. Arguments have the attributes
//   graph.name    the user's name
//   graph.role    the lower-case name of a Role of Program.fbs; absent: tensor
//   graph.dims    #graph.dims, the logical extents
//   graph.type    instead of graph.dims for the KV cache: its !graph.kv_cache type
//   graph.result  (unit) the argument is an output
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "mlsys/IR/Kernel.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>

namespace mlsys {

/// The argument attributes at the kernel stage that no other stage has.
constexpr llvm::StringLiteral dimsAttrName = "graph.dims";
constexpr llvm::StringLiteral typeAttrName = "graph.type";
constexpr llvm::StringLiteral resultAttrName = "graph.result";

/// The functions, kernels and constants of a module as a target's program. The kernels have
/// names and scratch sizes but no code yet. Diagnostics go to the module's context.
mlir::FailureOr<std::unique_ptr<program::TargetProgramT>>
emitTargetProgram(mlir::ModuleOp module, llvm::StringRef target, program::DType dtype);

/// An affine expression over symbols, without dimensions, as postfix code.
std::unique_ptr<program::ExprT> emitExpr(mlir::AffineExpr expr);

} // namespace mlsys
