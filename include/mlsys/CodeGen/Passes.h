//===- Passes.h - The passes of lib/CodeGen --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlir/Pass/Pass.h"

namespace mlsys {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "mlsys/CodeGen/Passes.h.inc"

} // namespace mlsys
