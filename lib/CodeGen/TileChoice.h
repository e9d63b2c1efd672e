//===- TileChoice.h - Tile sizes: measured, chosen, tried -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// SelectTiles.h gives sizes by rule. Here they are replaced by what a table has for the shape,
// and, while `mlsys tune` measures, varied. Shapes and sizes have text forms:
//
//   dot rows=512? columns=16384 contracted=2048 dots=2 lhs=bf16 rhs=bf16
//       ('?': a hint, the number of rows is open)
//   rows=12 vectors=2 row_block=96 contracted_block=2048 unroll=2 prefetch=0 column_parts=2
//
// Sizes never change results: sums go through K in order, whatever the tile.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "SelectTiles.h"

namespace mlsys {

/// The tiles of a product in `kernel`, which gets an attribute `kernel.tiles` that says shape and
/// choice: "SHAPE: TILES". Warns when the table's tiles are not legal, and does without them.
DotTiles chooseDotTiles(const DotShape &shape, const CpuTarget &target, kernel::FuncOp kernel);

/// The same for attention.
AttentionTiles chooseAttentionTiles(const AttentionShape &shape, const CpuTarget &target,
                                    kernel::FuncOp kernel);

} // namespace mlsys
