//===- CpuAttentionLowering.h - How attention is computed -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// A task is a block of query tokens and one key head. All query heads that read the
// key head are rows of the same products, so keys and values are read once for them:
//
//   for block of keys:
//     scores = queries x keys                     (rows x keys)
//     weights = exp(scores - running maximum), sums rescaled
//     results = rescaled results + weights x values   (rows x head dimension)
//
// Blocks that lie before the window of every row are skipped.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "CpuMicroKernel.h"
#include "SelectTiles.h"
#include "mlsys/CodeGen/CacheLayout.h"
#include "mlsys/CodeGen/ElementEmitter.h"

#include "llvm/Support/MathExtras.h"

namespace mlsys {

/// Query tokens of one sequence that a task does together. Values are indices.
struct QuerySegment {
  /// Key head.
  mlir::Value head;
  /// The row of the first token in the query and the number of tokens.
  mlir::Value firstToken, tokens;
  /// Keys that the first token sees, and all of them.
  mlir::Value firstLimit, keys;
  /// Paged: the request. Otherwise: the first key of the sequence.
  mlir::Value request, sequenceStart;
  /// The part of the keys, when they are cut into parts.
  mlir::Value part;
};

/// A right side of a product: rows `stride` elements apart in a flat buffer.
struct RightMatrix {
  mlir::Value buffer, offset;
  int64_t stride;
};

/// Emits the kernel of a fusion of attention: CpuAttention.cpp has the tasks and operands,
/// CpuAttentionSegment.cpp what a task does.
class AttentionLowering {
public:
  AttentionLowering(KernelBuilder &kernel, const CpuTarget &target, LaunchShape &launch)
      : kernel(kernel), target(target), launch(launch), b(kernel.builder), loc(kernel.loc),
        math(kernel.builder, kernel.loc) {}

  mlir::LogicalResult run();

private:
  mlir::LogicalResult readOperation();
  template <typename Op> void readScores(Op op);
  void selectTiles();
  void allocateScratch();
  void emitPagedTasks();
  void emitContiguousTasks();

  void emitSegment(const QuerySegment &segment);
  void emitZeros(const QuerySegment &segment);
  void emitLoadQueries(const QuerySegment &segment);
  void emitStart(const QuerySegment &segment);
  void emitKeyBlock(const QuerySegment &segment, mlir::Value block, mlir::Value endBlock);
  void emitSoftmax(const QuerySegment &segment, mlir::Value firstKey);
  void emitMaxima(const QuerySegment &segment, mlir::Value firstKey, bool masked);
  /// `visible`: how many keys of the block the row sees or are before its window; `hidden`: how
  /// many are before its window. Either may be negative; null when no key is masked for it.
  /// `bias` and `slope` are scalars, null without slopes: what is added to the score of the block's first key, and for
  /// each further key.
  void emitRowMaximum(mlir::Value row, mlir::Value visible, mlir::Value hidden, mlir::Value bias, mlir::Value slope);
  /// Stores the slopes of all heads to scratch.
  void emitSlopes();
  void emitRescales(mlir::Value rows);
  void emitRowWeights(mlir::Value row);
  /// A vector of query-key products as they are stored: scaled or capped when `prescaled`, plus `added`, which may be
  /// null.
  mlir::Value emitScore(mlir::Value product, mlir::Value added);
  mlir::Value windowStart(mlir::Value limit);
  double lowestScore() const;
  /// Whether scores are stored as exp takes them; otherwise it multiplies them by `scale`.
  bool prescaled() const { return softcap != 0 || scale <= 0 || !slopes.empty(); }
  double scaleOfScores() const { return prescaled() ? 1 : scale; }
  void emitResults(const QuerySegment &segment);
  void emitPartResults(const QuerySegment &segment);

  /// Asks for the block's values and the next block's keys while its scores are computed.
  void emitPrefetch(const QuerySegment &segment, mlir::Value block, mlir::Value endBlock);
  /// Asks for `rows` x `columns` elements.
  void prefetch(const RightMatrix &matrix, int64_t rows, int64_t columns);
  RightMatrix pageKeys(const QuerySegment &segment, mlir::Value block);
  RightMatrix keyBlock(const QuerySegment &segment, mlir::Value block, mlir::Value count);
  RightMatrix valueBlock(const QuerySegment &segment, mlir::Value block);
  /// Keys of a contiguous tensor as [dim / pair][key][pair].
  RightMatrix emitTransposedKeys(const QuerySegment &segment, mlir::Value block, mlir::Value count);
  /// Rows of a matrix in pairs, their elements side by side.
  RightMatrix emitInterleaved(const RightMatrix &matrix, mlir::Value rows, int64_t columns, int64_t width,
                         mlir::Value scratch);
  /// result = lhs x rhs, or, with `rescales`, result x the factor of its row + lhs x rhs.
  void emitProduct(mlir::Value lhs, int64_t lhsStride, const RightMatrix &rhs, mlir::Value steps,
                   mlir::Value result, int64_t columns, int64_t width, mlir::Value rows,
                   mlir::Value rescales = {});

  mlir::Value page(const QuerySegment &segment, mlir::Value block);
  /// The row-major element number of dimension 0 of a query head of a token.
  mlir::Value queryElement(const QuerySegment &segment, mlir::Value token, mlir::Value headInGroup);
  mlir::Value load(mlir::Value buffer, mlir::Value index, int64_t width);
  void store(mlir::Value vector, mlir::Value buffer, mlir::Value index);
  mlir::Value loadSplat(mlir::Value buffer, mlir::Value index, int64_t width);
  mlir::Value splat(mlir::Value scalar, int64_t width);
  mlir::Value splatConstant(double value, int64_t width);
  mlir::Value maximum(mlir::Value lhs, mlir::Value rhs);
  /// The largest lane in all lanes.
  mlir::Value maximumOfLanes(mlir::Value vector);
  mlir::Value loadIndex(mlir::Value buffer, mlir::Value index);
  void loop(mlir::Value begin, mlir::Value end, int64_t step,
            llvm::function_ref<void(mlir::Value)> body) {
    emitLoop(b, loc, begin, end, step, body);
  }
  /// For each query row of the segment: its token, its head in the group, its row.
  void forRows(const QuerySegment &segment,
               llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> body);
  mlir::Value constant(int64_t value) { return math.constant(value); }
  mlir::VectorType floats(int64_t width) { return mlir::VectorType::get(width, b.getF32Type()); }
  mlir::Value countOf(const graph::DimExpr &dim) {
    std::optional<int64_t> known = dim.asConstant();
    return known ? constant(*known) : kernel.extent(dim);
  }
  int64_t pair() const { return usesBf16 ? 2 : 1; }

  KernelBuilder &kernel;
  const CpuTarget &target;
  LaunchShape &launch;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;

  // The operation.
  graph::PagedAttentionOp paged;
  graph::AttentionOp contiguous;
  mlir::Value query, key, value, result;
  mlir::RankedTensorType queryType;
  mlir::Type elementType;
  int64_t heads = 1, keyHeads = 1, ratio = 1, headDim = 1, keysPerBlock = 1;
  float scale = 1;
  bool causal = true;
  /// 0: none.
  int64_t window = 0;
  float softcap = 0;
  /// Of each query head; empty: none.
  llvm::ArrayRef<float> slopes;
  std::optional<CacheLayout> layout;

  AttentionTiles tiles;
  bool usesBf16 = false;
  /// Whether the keys are cut into parts (null: never), and how many parts there are then.
  mlir::Value cut, parts;
  /// Rows that scratch has room for: whole vectors.
  int64_t paddedRows() const {
    return llvm::alignTo(tiles.tokens * ratio, target.vectorWidth);
  }
  // Scratch. Rows are (token, head in group).
  mlir::Value queries, scores, weights, results, keyScratch, valueScratch;
  /// For each row: the running maximum, the one with the block, by which factor that changes
  /// earlier sums, and the sums by lanes. Maxima are of scores, before `scale` unless `prescaled`.
  mlir::Value maxima, nextMaxima, rescales, sums;
  /// The slope of each query head.
  mlir::Value slopeOfHead;
};

} // namespace mlsys
