//===- Passes.td - The passes of lib/Transforms -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_TRANSFORMS_PASSES_TD
#define MLSYS_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def Fuse : Pass<"mlsys-fuse", "::mlir::func::FuncOp"> {
  let summary = "Group operations into fusions, one kernel each";
  let description = [{
    Takes a function of primitive operations and leaves `graph.fusion`,
    `graph.weight`, `graph.constant` and `graph.cache_layer`. Dots with the same
    left side become one kernel first; then edges between producers and consumers are merged in
    the order of the time that each saves, by a roofline of the target with the
    symbols at their hints. Operations that are cheap to compute again are
    duplicated into each reader. FusionAnalysis.h says which bodies are legal.

    Each refusal is a remark of the category `fusion` with its reason:
    `--remark-format=emitRemark --remarks-filter=fusion`.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "Machine of the cost model: cpu or cuda">
  ];
  let statistics = [
    Statistic<"numMerged", "merged", "Number of merged groups">,
    Statistic<"numDuplicated", "duplicated", "Number of duplicated producers">
  ];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
}

#endif // MLSYS_TRANSFORMS_PASSES_TD
