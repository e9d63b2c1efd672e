//===- CudaAttentionWgmma.h - Attention by wgmma and TMA --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "LowerForCuda.h"

namespace mlsys {

/// Whether attention_wgmma.cuh computes a fusion's attention: for Hopper, 16-bit queries, keys and values of one type,
/// heads of 64 to 256 elements (multiples of 16), pages of 8, 16, 32, ... rows, and many queries.
bool selectAttentionWgmma(graph::PagedAttentionOp op, const CudaTarget &target);
bool selectAttentionWgmma(graph::AttentionOp op, const CudaTarget &target);

/// Write the body of the kernel.
void lowerAttentionByWgmma(KernelBuilder &kernel, graph::PagedAttentionOp op, LaunchShape &launch);
void lowerAttentionByWgmma(KernelBuilder &kernel, graph::AttentionOp op, LaunchShape &launch);

} // namespace mlsys
