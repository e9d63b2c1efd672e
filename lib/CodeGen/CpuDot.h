//===- CpuDot.h - Fusions of dots on the CPU --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// Writes the body of a kernel of kind dot for the CPU and says how to launch it. Right
/// sides that are constants are asked for as panels.
mlir::LogicalResult lowerDotForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                   LaunchShape &launch);

/// The same for products with experts (CpuExpertDot.cpp).
mlir::LogicalResult lowerExpertDotForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                         LaunchShape &launch);

} // namespace mlsys
