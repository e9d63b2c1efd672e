//===- SelectTiles.cpp - From shape and machine to tile sizes -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "SelectTiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;

/// Up to this many rows are one row block: every weight is then read once.
static constexpr int64_t maxSmallRows = 32;
/// Rows of a block at most: then weights come from memory once for so many rows. Where blocks of K
/// follow each other, all of a row is read for every panel, and fewer rows stay in the cache.
static constexpr int64_t maxBlockRows = 128, maxBlockedRows = 96;
/// A page of memory: rows this far apart fall into the same set of the L1 cache.
static constexpr int64_t pageBytes = 4096;

/// Rows of the register tile such that sums, right side and left side fit into the vector
/// registers.
static int64_t maxRegisterRows(const CpuTarget &target, CpuProduct product, bool widens) {
  if (product == CpuProduct::Amx)
    return 32;
  if (target.vectorWidth == 16)
    return 12;
  if (product == CpuProduct::Widened)
    return 4;
  return widens ? 5 : 6;
}

/// Elements between rows of `contracted` elements: whole cache lines, and not
/// so that rows of a register tile share a set of the L1 cache.
static int64_t strideOf(int64_t contracted, int64_t elementBytes) {
  int64_t bytes = llvm::alignTo(contracted * elementBytes, 64);
  if (bytes % (pageBytes / 4) == 0)
    bytes += 64;
  return bytes / elementBytes;
}

/// A part of `extent` of at most about `limit` elements; if possible one that divides it.
static int64_t evenBlock(int64_t extent, int64_t limit) {
  constexpr int64_t step = 16;
  int64_t parts = llvm::divideCeil(extent, limit);
  if (parts <= 1)
    return extent;
  for (int64_t more = parts; more <= 2 * parts; ++more)
    if (extent % (more * step) == 0)
      return extent / more;
  return llvm::alignTo(llvm::divideCeil(extent, parts), step);
}

static CpuProduct selectProduct(const DotShape &shape, const CpuTarget &target) {
  bool integer = shape.rhsType.isInteger(8);
  bool bothBf16 = shape.lhsType.isBF16() && shape.rhsType.isBF16();
  // A tile of 16 rows is worth its cost only when most of them are there.
  if ((bothBf16 || integer) && target.amx && shape.contracted >= (integer ? 64 : 32) &&
      (!shape.rowsKnown || shape.rows >= 8))
    return CpuProduct::Amx;
  if (integer)
    return target.byteDot ? CpuProduct::ByteDot : CpuProduct::Widened;
  return bothBf16 && target.bf16Dot ? CpuProduct::Bf16Dot : CpuProduct::Fma;
}

/// The bytes of an element of the left side in scratch.
static int64_t getLhsBytes(const DotShape &shape, CpuProduct product) {
  if (product == CpuProduct::Fma)
    return 4;
  return shape.rhsType.isInteger(8) && product != CpuProduct::Widened ? 1 : 2;
}

DotTiles mlsys::selectDotTiles(const DotShape &shape, const CpuTarget &target) {
  DotTiles tiles;
  bool small = shape.rowsKnown && shape.rows <= maxSmallRows;
  tiles.product = selectProduct(shape, target);
  tiles.width = target.vectorWidth;
  int64_t lhsBytes = getLhsBytes(shape, tiles.product);
  tiles.lhsStride = strideOf(shape.contracted, lhsBytes);
  tiles.contractedBlock = shape.contracted;
  bool widens = tiles.product == CpuProduct::Fma && !shape.rhsType.isF32();
  int64_t maxRows = maxRegisterRows(target, tiles.product, widens);

  if (small) {
    tiles.rows = llvm::divideCeil(shape.rows, llvm::divideCeil(shape.rows, maxRows));
    tiles.rowBlock = shape.rows;
    tiles.oneRowBlock = true;
    if (tiles.product == CpuProduct::Amx)
      tiles.rows = maxRows;
    // Few rows leave registers for a whole panel, and need independent sums.
    tiles.vectors = tiles.rows <= 2 ? panelColumns / tiles.width : 2;
    tiles.unroll = tiles.rows <= 4 ? 4 : 2;
    return tiles;
  }

  tiles.vectors = tiles.product == CpuProduct::Amx ? panelColumns / tiles.width : 2;
  tiles.unroll = widens || tiles.product == CpuProduct::Widened ? 1 : 2;
  // Where a panel and the rows do not stay in the L2 cache, blocks of K do.
  int64_t rhsBytes = graph::getElementBits(shape.rhsType) / 8;
  if (tiles.product != CpuProduct::Amx)
    tiles.contractedBlock =
        evenBlock(shape.contracted, target.l2Bytes / 8 / (panelColumns * rhsBytes));
  bool blocked = tiles.contractedBlock < shape.contracted;
  int64_t fitting = std::max(maxRows, target.l2Bytes / 2 / (tiles.lhsStride * lhsBytes));
  int64_t limit = std::min<int64_t>({blocked ? maxBlockedRows : std::min(fitting, maxBlockRows),
                                     std::max(shape.rows, maxRows)});
  // The register tile and block that leave the last worker the least to do.
  double best = 0;
  int64_t minRows = tiles.product == CpuProduct::Amx ? maxRows : std::max<int64_t>(1, maxRows * 2 / 3);
  for (int64_t rows = maxRows; rows >= minRows; --rows)
    for (int64_t block = llvm::divideCeil(limit, 2 * rows) * rows; block <= limit; block += rows) {
      int64_t blocks = llvm::divideCeil(shape.rows, block);
      int64_t perThread = llvm::divideCeil(blocks, target.threads);
      // Loads of the right side are shared by the rows of a register tile, and
      // the prologue's and a panel's cost by the rows of a block.
      double cost = double(perThread * block) * (1 + 0.1 / rows + 0.5 / block);
      if (best == 0 || cost < best) {
        best = cost;
        tiles.rows = rows;
        tiles.rowBlock = block;
      }
    }
  tiles.oneRowBlock = shape.rowsKnown && shape.rows == tiles.rowBlock;
  int64_t blocks = llvm::divideCeil(shape.rows, tiles.rowBlock);
  // Enough tasks that no worker waits long for the last one, and that all have some where the rows
  // turn out to be few.
  constexpr int64_t tasksPerThread = 4;
  int64_t panels = llvm::divideCeil(shape.columns, panelColumns);
  tiles.columnParts = std::clamp<int64_t>(
      llvm::divideCeil(target.threads * tasksPerThread, blocks),
      std::min(shape.rowsKnown ? 1 : target.threads, panels), panels);
  return tiles;
}

/// The widest vector of at most `width` lanes that divides `extent`.
static int64_t dividingWidth(int64_t extent, int64_t width) {
  while (extent % width != 0)
    width /= 2;
  return width;
}

AttentionTiles mlsys::selectAttentionTiles(const AttentionShape &shape, const CpuTarget &target) {
  AttentionTiles tiles;
  bool decode = shape.tokensKnown && shape.tokens <= 16;
  tiles.tokens = 1;
  if (!decode) {
    // Rows enough to pay for bringing a block of keys into order.
    constexpr int64_t wantedRows = 48;
    tiles.tokens = std::clamp<int64_t>(wantedRows / shape.headsPerGroup, 1, 64);
    if (shape.elementType.isBF16() && target.bf16Dot && shape.headDim % 2 == 0 &&
        shape.keyBlock % 2 == 0)
      tiles.product = CpuProduct::Bf16Dot;
  }
  bool widens = tiles.product == CpuProduct::Fma && !shape.elementType.isF32();
  int64_t maxRows = maxRegisterRows(target, tiles.product, widens);
  int64_t rows = tiles.tokens * shape.headsPerGroup;
  tiles.rows = llvm::divideCeil(rows, llvm::divideCeil(rows, maxRows));
  tiles.keyWidth = dividingWidth(shape.keyBlock, target.vectorWidth);
  tiles.dimWidth = dividingWidth(shape.headDim, target.vectorWidth);
  tiles.vectors = 2;
  return tiles;
}
