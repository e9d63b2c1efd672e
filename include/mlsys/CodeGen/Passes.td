//===- Passes.td - The passes of lib/CodeGen -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_CODEGEN_PASSES_TD
#define MLSYS_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanMemory : Pass<"mlsys-plan-memory", "::mlir::func::FuncOp"> {
  let summary = "Give temporary buffers slots of the arena";
  let description = [{
    A `kernel.alloc` lives from the first launch that uses it to the last. Buffers
    whose lives do not overlap may share a slot, whose size at run time is that of its largest
    buffer. Buffers are placed from the largest to the smallest, symbols at
    their hints, each into the smallest slot that is free during its life. Buffers
    that no launch uses disappear.

    ```mlir
    %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]>
    // becomes
    %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]> slot 0
    ```
  }];
  let statistics = [
    Statistic<"numBuffers", "buffers", "Number of temporary buffers">,
    Statistic<"numSlots", "slots", "Number of slots">
  ];
  let dependentDialects = ["::mlsys::kernel::KernelDialect"];
}

#endif // MLSYS_CODEGEN_PASSES_TD
