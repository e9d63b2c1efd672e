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

#include "CpuAttention.h"
#include "CpuDot.h"
#include "LowerForCuda.h"

using namespace mlir;
using namespace mlsys;
using graph::FusionKind;

LogicalResult mlsys::lowerFusionForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                       LaunchShape &launch) {
  switch (kernel.structure.kind) {
  case FusionKind::Loop:
    return lowerLoopForCpu(kernel, target, launch);
  case FusionKind::Row:
    return lowerRowForCpu(kernel, target, launch);
  case FusionKind::Dot:
    return lowerDotForCpu(kernel, target, launch);
  case FusionKind::Attention:
    return lowerAttentionForCpu(kernel, target, launch);
  }
  llvm_unreachable("all kinds are above");
}

LogicalResult mlsys::lowerFusionForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                        LaunchShape &launch) {
  switch (kernel.structure.kind) {
  case FusionKind::Loop:
    return lowerLoopForCuda(kernel, target, launch);
  case FusionKind::Row:
    return lowerRowForCuda(kernel, target, launch);
  case FusionKind::Dot:
    return lowerDotForCuda(kernel, target, launch);
  case FusionKind::Attention:
    return lowerAttentionForCuda(kernel, target, launch);
  }
  llvm_unreachable("all kinds are above");
}

AffineExpr mlsys::toLaunchExpr(graph::FusionOp fusion, const graph::DimExpr &dim) {
  std::vector<std::string> names;
  if (auto function = fusion->getParentOfType<func::FuncOp>())
    for (graph::SymbolAttr symbol : graph::getSymbols(function))
      names.push_back(symbol.getName().str());
  return dim.toAffine(names, fusion.getContext());
}
