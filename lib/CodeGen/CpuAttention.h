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

/// Into how many parts the keys of attention are cut, so that every worker has something to do when
/// there are few tokens and key heads; 1: they are never cut. They are cut when
/// the block table has getMinPartPages() columns or more.
int64_t selectAttentionParts(graph::FusionOp fusion, const CpuTarget &target);
int64_t getMinPartPages(graph::FusionOp fusion);
/// 1 when the keys are cut, 0 when they are not, for a launch's grid.
mlir::AffineExpr getPartsExpr(graph::FusionOp fusion);

/// The f32 elements of the results of all parts: [tokens, heads, parts, head size + 2], the sums of
/// weighted values, then the largest score and the sum of the weights.
int64_t countPartElements(graph::FusionOp fusion, int64_t parts);

/// Writes the body of the kernel that makes the output of attention, `kernel.outputs`, from the
/// results of its parts, `kernel.inputs`.
void lowerAttentionJoinForCpu(KernelBuilder &kernel, const CpuTarget &target, LaunchShape &launch);

} // namespace mlsys
