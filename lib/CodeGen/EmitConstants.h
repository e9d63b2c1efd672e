//===- EmitConstants.h - The constants of a target --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/EmitProgram.h"

#include <map>
#include <tuple>

namespace mlsys {

/// Collects the constants of all functions of a target, equal ones once.
class ConstantTable {
public:
  explicit ConstantTable(program::TargetProgramT &target) : target(target) {}

  /// The index of a constant in the program; emits an error on failure.
  mlir::FailureOr<uint32_t> getIndex(kernel::ConstantOp op);

private:
  using Key = std::tuple<const void *, const void *, const void *, int64_t, int64_t>;

  program::TargetProgramT &target;
  std::map<Key, uint32_t> indices;
};

} // namespace mlsys
