//===- CpuAttention.h - Fusions of attention on the CPU ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// Writes the body of a kernel of kind attention for the CPU and says how to launch it.
mlir::LogicalResult lowerAttentionForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                         LaunchShape &launch);

} // namespace mlsys
