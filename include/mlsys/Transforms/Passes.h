//===- Passes.h - The passes of lib/Transforms --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

#include "mlir/Pass/Pass.h"

namespace mlsys {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "mlsys/Transforms/Passes.h.inc"

} // namespace mlsys
