//===- Passes.td - The passes of lib/CodeGen -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_CODEGEN_PASSES_TD
#define MLSYS_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif // MLSYS_CODEGEN_PASSES_TD
