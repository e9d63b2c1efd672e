//===- ProgramCache.h - Compiled targets of a model, kept -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Compilation.h"

namespace mlsys {

/// Keeps in the kernel cache what a compilation made of a model for its targets, under the hash of all that
/// it depends on: the imported module, the options, the measured tiles, the machine where it matters, and the
/// compiler itself. Names, tokenizer and weight files are not kept: they come with the model.
class ProgramCache {
public:
  /// `compilation` has read its model. Without the compiler's identity, with `dumpDir`, with a
  /// `candidate`, or with MLSYS_PROGRAM_CACHE=0, nothing is found and nothing kept.
  explicit ProgramCache(const Compilation &compilation);

  /// Takes targets and warnings into `model`; false when there is no entry or it is damaged.
  bool find(CompiledModel &model) const;

  /// Keeps the targets and warnings of `model`.
  void keep(const CompiledModel &model) const;

private:
  /// Empty: the cache is not used.
  std::string key;
};

/// What tells one compiler from another: the build identifiers (NT_GNU_BUILD_ID) of the executable and of
/// the shared libraries of MLIR and LLVM. Empty when one of them has none.
const std::string &getCompilerIdentity();

} // namespace mlsys
