//===- StoredTensor.h - A tensor as it lies in a file -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Where one tensor lies and what it holds. Readers check it against the file.
struct StoredTensor {
  std::string name;
  program::DType dtype = program::DType::F32;
  /// Outermost dimension first, in every format.
  std::vector<int64_t> shape;
  /// Index into the reader's list of files.
  uint32_t file = 0;
  /// From the start of the file.
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

/// Elements that are stored together: 32 to 256 for the GGUF block types, else 1.
int64_t dtypeBlockElements(program::DType dtype);

/// Bytes of one block (of one element where blocks have one element).
int64_t dtypeBlockBytes(program::DType dtype);

/// True for F16, BF16, F32, F64 and the GGUF block types.
bool isFloatDType(program::DType dtype);

/// Bytes of a tensor of `shape`, as tensorBytes of Program.h. Throws rt::Error beginning with `what` when the
/// shape is negative or too large, or its rows are no multiple of the block.
uint64_t storedBytes(std::string_view what, program::DType dtype, std::span<const int64_t> shape);

/// Throws rt::Error when two tensors of one file share bytes.
void checkNoOverlap(const std::string &path, std::vector<const StoredTensor *> tensors);

} // namespace mlsys::rt
