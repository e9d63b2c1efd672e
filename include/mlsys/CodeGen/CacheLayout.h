//===- CacheLayout.h - Where keys and values lie in a page ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// The order of elements inside one layer's part of a page: keys, then values.
///   CPU:  keys [head][dim][row] so that scores vectorize over tokens,
///         values [head][row][dim]
///   CUDA: both [head][row][dim]
/// A page holds all layers: [layer][keys, values]. All numbers count elements, from the
/// start of the layer's part of page 0.
struct CacheLayout {
  graph::KvLayerType layer;
  bool cpu;

  CacheLayout(graph::KvLayerType layer, bool cpu) : layer(layer), cpu(cpu) {}

  /// The elements of the keys, or of the values, of one layer in one page.
  int64_t partElements() const {
    return layer.getPageSize() * layer.getHeads() * layer.getHeadDim();
  }
  /// From one page to the next.
  int64_t pageElements() const { return layer.getLayers() * 2 * partElements(); }
  /// Where the keys or values start.
  int64_t partOffset(graph::CachePart part) const {
    return part == graph::CachePart::value ? partElements() : 0;
  }
  int64_t headElements() const { return layer.getPageSize() * layer.getHeadDim(); }
  /// Distance of neighbouring head elements and of neighbouring rows.
  int64_t dimStride(graph::CachePart part) const {
    return cpu && part == graph::CachePart::key ? layer.getPageSize() : 1;
  }
  int64_t rowStride(graph::CachePart part) const {
    return cpu && part == graph::CachePart::key ? 1 : layer.getHeadDim();
  }

  /// The element number of (page, head, row in page, dim).
  mlir::Value address(IndexMath &math, graph::CachePart part, mlir::Value page, mlir::Value head,
                      mlir::Value row, mlir::Value dim) const;
};

/// Stores `element`, the value of the write's input at `indices` ([token, head,
/// dim], `width` elements of the last), unless the token's slot is negative.
void emitCacheStore(ElementEmitter &emitter, KernelBuilder &kernel, graph::CacheWriteOp write,
                    mlir::Value element, mlir::ValueRange indices, int64_t width);

/// Computes and stores the output at position `output` of the fusion's terminator: element
/// `linear` (and the next `width - 1`) of the row-major order, or for a cache_write where they
/// belong in the pages.
void storeOutput(ElementEmitter &emitter, KernelBuilder &kernel, unsigned output,
                 mlir::Value linear, int64_t width);

} // namespace mlsys
