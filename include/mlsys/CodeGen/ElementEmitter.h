//===- ElementEmitter.h - Expressions of a fusion at an index ---*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/FusionLowering.h"
#include "mlsys/CodeGen/IndexMath.h"

#include <functional>

namespace mlsys {

/// Emits the value of a graph tensor at an index, as arith, math and vector
/// operations, following producers inside the fusion. 16-bit floats are
/// computed in f32 and rounded by whoever stores. With `width` > 1 the result
/// is vector<width x T>: the elements at `width` consecutive last indices.
/// The same expressions serve the CPU and CUDA. Equal expressions at equal
/// indices are emitted once; `indices` are equal when they are the same SSA values, so
/// indices should be made by `index()`.
class ElementEmitter {
public:
  /// Gives the value of a tensor at `indices` (one per dimension, `width`
  /// consecutive elements of the last), converted to f32 when it is a 16-bit float.
  using Source =
      std::function<mlir::Value(mlir::ValueRange indices, int64_t width)>;

  ElementEmitter(KernelBuilder &kernel);

  /// Elements of `value` come from `source` instead of from its producer:
  /// dot results on a tile, reductions that are known, ... Binding forgets what
  /// was emitted before, so that a value can be bound again for another tile.
  void bind(mlir::Value value, Source source);
  /// As bind, for a value that nothing emitted so far depends on: that is kept.
  void define(mlir::Value value, Source source) { sources[value] = std::move(source); }
  /// Elements of `value` come from its producer again.
  void unbind(mlir::Value value);

  /// The element, or the vector of elements, of `value` at `indices`. A vector needs
  /// `canVectorize(value, width)` and a last index that is a multiple of `width`.
  mlir::Value emit(mlir::Value value, mlir::ValueRange indices, int64_t width);

  /// True when `width` consecutive elements of `value`, starting at a multiple
  /// of `width`, can be computed with contiguous or uniform accesses.
  bool canVectorize(mlir::Value value, int64_t width);

  /// Splits a row-major element number into the indices of `value`.
  llvm::SmallVector<mlir::Value> delinearize(mlir::Value linear, mlir::Value value);
  /// The row-major element number of `indices` in `type`.
  mlir::Value linearize(mlir::ValueRange indices, mlir::RankedTensorType type);

  /// Rounds to the element type of `buffer` and stores one element or a vector. `streaming`: past the
  /// caches; the vector is then aligned to its size.
  void store(mlir::Value element, mlir::Value buffer, mlir::Value linear, bool streaming = false);
  /// One element or a vector of a flat buffer, 16-bit floats widened to f32.
  mlir::Value load(mlir::Value buffer, mlir::Value linear, int64_t width);

  /// Forgets what was emitted: needed after a source's memory has changed.
  void clearCache() { cache.clear(); }
  /// Arithmetic on indices, shared with the caller's loops.
  IndexMath &index() { return math; }

private:
  using Key = std::tuple<void *, int64_t, std::vector<void *>>;

  mlir::Value widen(mlir::Value loaded);
  mlir::Value loadFromPanels(mlir::BlockArgument table, mlir::ValueRange indices, int64_t width);
  mlir::Value emitUncached(mlir::Value value, mlir::ValueRange indices, int64_t width);
  mlir::Value emitConstant(graph::ConstantOp op, int64_t width);
  mlir::Value emitConcat(graph::ConcatOp op, mlir::ValueRange indices, int64_t width);
  mlir::Value emitIota(graph::IotaOp op, mlir::ValueRange indices, int64_t width);
  mlir::Value emitIndex(mlir::Value value, mlir::ValueRange indices);
  mlir::Value splat(mlir::Value element, int64_t width);
  llvm::SmallVector<mlir::Value> reshapeIndices(mlir::ValueRange indices, mlir::RankedTensorType from,
                                                mlir::RankedTensorType to);

  KernelBuilder &kernel;
  IndexMath math;
  ScopedCache<Key> cache;
  llvm::DenseMap<mlir::Value, Source> sources;
};

} // namespace mlsys
