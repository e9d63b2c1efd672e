//===- CudaTileChoice.h - CUDA tiles: by model, measured, tried -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Every template of the device library lists the tiles that are possible for a product, each with the time that
// a model gives it. One of them is taken: the one that a table has for the shape, the fastest by the model, or,
// while `mlsys tune` measures, another of the best few. Shapes and tiles have text forms:
//
//   dot rows=512? columns=6144 contracted=4096 dots=1 lhs=bf16 rhs=bf16 mixing=128
//       ('?': a hint, the number of rows is open; "rows<=8": any number up to a small one)
//   mma rows=128 columns=128 step=32 stages=4 warps_m=2 warps_n=2
//
// Tiles never change results: sums go through K in order, whatever the tile.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/CudaTarget.h"
#include "mlsys/IR/FusionAnalysis.h"
#include "mlsys/IR/Kernel.h"

namespace mlsys {

/// What tile choice knows of the rows of a fusion: their number, or that at the hints of its symbols.
struct CudaRows {
  int64_t count = 1;
  bool known = false;
  /// No more than these; nothing when there is no bound.
  std::optional<int64_t> most;
};
CudaRows getCudaRows(graph::FusionOp fusion, const graph::DimExpr &rows);

/// Tiles as a table has them, and their time by the model, in microseconds.
struct CudaCandidate {
  std::string text;
  double time = 0;
};

/// The rates of a GPU of the family that models calculate with.
struct CudaRates {
  /// Of a multiprocessor: clock in GHz, multiply-additions of 16-bit floats a clock by mma.sync and by wgmma, bytes a
  /// clock of shared memory and from the L2 cache.
  double clock, mma, wgmma, shared, cache;
  /// Bytes that memory gives all multiprocessors together in a microsecond.
  double memory;
  static CudaRates get(const CudaTarget &target);
};

/// The text form of a fusion of dots.
std::string printCudaShape(const graph::FusionStructure &structure, CudaRows rows);

/// Which of the candidates, of which there is one at least, `kernel` gets; it gets an attribute `kernel.tiles` that
/// says shape and choice, "SHAPE: TILES". Warns when the table's tiles are none of them, and does without.
size_t chooseCudaTiles(llvm::StringRef shape, llvm::ArrayRef<CudaCandidate> candidates, const CudaTarget &target,
                       kernel::FuncOp kernel);

} // namespace mlsys
