//===- ScopedCache.h - Emitted values by what they compute ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/Builders.h"

#include <map>

namespace mlsys {

/// Remembers which value computes what, so that equal things are emitted once.
/// A value is found again in its block after its definition and in the blocks
/// nested there, never where it does not dominate the insertion point.
template <typename Key> class ScopedCache {
public:
  /// The value for `key` that can be used at the insertion point; null if none.
  mlir::Value lookup(const mlir::OpBuilder &builder, const Key &key) const {
    mlir::Block *block = builder.getInsertionBlock();
    mlir::Operation *before =
        builder.getInsertionPoint() == block->end() ? nullptr : &*builder.getInsertionPoint();
    while (block) {
      if (auto entries = blocks.find(block); entries != blocks.end())
        if (auto entry = entries->second.find(key); entry != entries->second.end()) {
          mlir::Operation *definition = entry->second.getDefiningOp();
          if (!definition || definition->getBlock() != block || !before ||
              definition->isBeforeInBlock(before))
            return entry->second;
        }
      before = block->getParentOp();
      if (!before || before->hasTrait<mlir::OpTrait::IsIsolatedFromAbove>())
        break;
      block = before->getBlock();
    }
    return {};
  }

  /// Remembers a value that was emitted at the insertion point.
  void insert(const mlir::OpBuilder &builder, const Key &key, mlir::Value value) {
    blocks[builder.getInsertionBlock()][key] = value;
  }

  void clear() { blocks.clear(); }

private:
  llvm::DenseMap<mlir::Block *, std::map<Key, mlir::Value>> blocks;
};

} // namespace mlsys
