//===- FusionLowering.cpp - From one fusion to one kernel -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The table of lowerings: by target and kind of fusion.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/FusionLowering.h"

using namespace mlir;
using namespace mlsys;
using graph::FusionKind;

static LogicalResult unsupported(KernelBuilder &kernel, StringRef target) {
  return kernel.fusion.emitOpError("of kind '")
         << kernel.fusion.getKind() << "' cannot be lowered for " << target;
}

LogicalResult mlsys::lowerFusionForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                       LaunchShape &launch) {
  switch (kernel.structure.kind) {
  case FusionKind::Loop:
    return lowerLoopForCpu(kernel, target, launch);
  case FusionKind::Row:
    return lowerRowForCpu(kernel, target, launch);
  case FusionKind::Dot:
  case FusionKind::Attention:
    break;
  }
  return unsupported(kernel, "the CPU");
}

LogicalResult mlsys::lowerFusionForCuda(KernelBuilder &kernel, LaunchShape &launch) {
  return unsupported(kernel, "CUDA");
}

AffineExpr mlsys::toLaunchExpr(graph::FusionOp fusion, const graph::DimExpr &dim) {
  std::vector<std::string> names;
  if (auto function = fusion->getParentOfType<func::FuncOp>())
    for (graph::SymbolAttr symbol : graph::getSymbols(function))
      names.push_back(symbol.getName().str());
  return dim.toAffine(names, fusion.getContext());
}
