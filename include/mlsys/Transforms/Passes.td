//===- Passes.td - The passes of lib/Transforms -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_TRANSFORMS_PASSES_TD
#define MLSYS_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif // MLSYS_TRANSFORMS_PASSES_TD
