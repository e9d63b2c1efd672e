//===- ProgramTypes.h - IR types and weights in Program.fbs -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

#include "Program_generated.h"

#include <memory>
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

/// The type with this lower-case name ("bf16", "q4_1"); nothing when there is none.
inline std::optional<program::DType> dtypeNamed(llvm::StringRef name) {
  for (program::DType dtype : program::EnumValuesDType())
    if (name.equals_insensitive(program::EnumNameDType(dtype)))
      return dtype;
  return std::nullopt;
}

/// Where one part of a weight lies, as the program file says it. Null when the
/// type in the file is unknown.
inline std::unique_ptr<program::WeightSourceT> makeWeightSource(llvm::StringRef name,
                                                                graph::WeightSourceAttr attr) {
  auto source = std::make_unique<program::WeightSourceT>();
  source->name = name.str();
  source->shape = attr.getShape().vec();
  if (attr.getDtype() == "random") {
    constexpr float standardDeviation = 0.02f, rootOfThree = 1.7320508f;
    source->file = -2;
    source->dtype = program::DType::F32;
    source->random_seed = attr.getOffset();
    source->random_spread = standardDeviation * rootOfThree;
    return source;
  }
  std::optional<program::DType> dtype = dtypeNamed(attr.getDtype());
  if (!dtype)
    return nullptr;
  source->file = static_cast<int32_t>(attr.getFile());
  source->offset = attr.getOffset();
  source->bytes = attr.getBytes();
  source->dtype = *dtype;
  source->transposed = attr.getTransposed();
  if (llvm::ArrayRef<int64_t> rows = attr.getRows(); rows.size() == 4) {
    source->row_first = rows[0];
    source->row_group = rows[1];
    source->row_stride = rows[2];
    source->row_groups = rows[3];
  }
  source->unpermute_rows = attr.getUnpermuteRows();
  source->head_rows = attr.getHeadRows();
  return source;
}

/// The same for all parts of a weight. False when a type is unknown.
inline bool makeWeightSources(llvm::StringRef name, mlir::Attribute source,
                              std::vector<std::unique_ptr<program::WeightSourceT>> &sources) {
  for (graph::WeightSourceAttr part : graph::getWeightParts(source)) {
    sources.push_back(makeWeightSource(name, part));
    if (!sources.back())
      return false;
  }
  return true;
}

} // namespace mlsys
