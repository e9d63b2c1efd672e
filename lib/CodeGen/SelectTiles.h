//===- SelectTiles.h - From shape and machine to tile sizes -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/FusionLowering.h"

namespace mlsys {

/// How a CPU multiplies: by f32 FMA over f32 or widened 16-bit elements, by the bf16 dot product
/// instruction, or by AMX tiles; of i8, by the byte dot product instruction, by products of i16, or by AMX tiles.
enum class CpuProduct { Fma, Bf16Dot, Amx, ByteDot, Widened };

/// What tile choice looks at in a fusion of dots.
struct DotShape {
  /// M where it is known; otherwise its hint.
  bool rowsKnown = false;
  int64_t rows = 1;
  int64_t contracted = 1;
  mlir::Type lhsType, rhsType;
  /// The columns of all groups together, and the largest number of dots in a group.
  int64_t columns = 1, dots = 1;
};

/// The sizes of a dot's loops.
struct DotTiles {
  CpuProduct product = CpuProduct::Fma;
  /// The register tile: rows, vectors of columns, lanes of a vector.
  int64_t rows = 1, vectors = 1, width = 8;
  /// Rows whose left side is computed and kept in scratch together.
  int64_t rowBlock = 1;
  /// The row block is all of M.
  bool oneRowBlock = false;
  /// Elements of K that all rows of a block are multiplied with before the next ones.
  int64_t contractedBlock = 1;
  /// Elements between two rows of the left side in scratch.
  int64_t lhsStride = 1;
  /// Steps of K per iteration of the innermost loop.
  int64_t unroll = 1;
  /// How far ahead of its loads the right side is prefetched; 0: not at all.
  int64_t prefetchBytes = 0;
  /// The parts into which the columns are cut for the sake of parallelism; 0: each
  /// worker takes one share of everything.
  int64_t columnParts = 0;
};

/// Tiles of a fusion of dots.
DotTiles selectDotTiles(const DotShape &shape, const CpuTarget &target);

/// What tile choice looks at in attention.
struct AttentionShape {
  /// Query tokens of all requests, known or by hint.
  bool tokensKnown = false;
  int64_t tokens = 1;
  /// Query heads of one key head.
  int64_t headsPerGroup = 1;
  int64_t headDim = 64;
  /// Keys that are worked on together.
  int64_t keyBlock = 64;
  mlir::Type elementType;
};

/// The sizes of attention's loops.
struct AttentionTiles {
  CpuProduct product = CpuProduct::Fma;
  /// Query tokens of one task.
  int64_t tokens = 1;
  /// The register tile of both products: rows and vectors.
  int64_t rows = 1, vectors = 1;
  /// Lanes of a vector over keys and of one over the head dimension.
  int64_t keyWidth = 1, dimWidth = 1;
};

/// Tiles of attention.
AttentionTiles selectAttentionTiles(const AttentionShape &shape, const CpuTarget &target);

} // namespace mlsys
