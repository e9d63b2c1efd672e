//===- Passes.h - The passes of lib/CodeGen --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Kernel.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include "mlir/Pass/Pass.h"

namespace mlsys {

/// Says of a `math.exp` that what it gives is only used for numbers of 16 bits.
inline constexpr llvm::StringLiteral roughAttrName = "mlsys.rough";

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "mlsys/CodeGen/Passes.h.inc"

} // namespace mlsys
