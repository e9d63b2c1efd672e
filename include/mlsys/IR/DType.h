//===- DType.h - Element types of the program file --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "mlir/IR/BuiltinTypes.h"

#include <optional>

namespace mlsys {

/// The program file's name for an element type; nothing when it has none.
inline std::optional<program::DType> dtypeOf(mlir::Type type) {
  if (type.isF16())
    return program::DType::F16;
  if (type.isBF16())
    return program::DType::BF16;
  if (type.isF32())
    return program::DType::F32;
  if (type.isF64())
    return program::DType::F64;
  if (type.isInteger(1))
    return program::DType::Bool;
  if (type.isUnsignedInteger(8))
    return program::DType::U8;
  if (type.isInteger(8))
    return program::DType::I8;
  if (type.isInteger(16))
    return program::DType::I16;
  if (type.isInteger(32))
    return program::DType::I32;
  if (type.isInteger(64))
    return program::DType::I64;
  return std::nullopt;
}

} // namespace mlsys
