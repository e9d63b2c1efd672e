//===- DType.h - Element types by name and size -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// Bytes of one element; 0 for the block types of GGUF.
size_t elementBytes(program::DType dtype);

/// "f32", "i64", ... as the command line and messages write it.
std::string_view dtypeName(program::DType dtype);

/// Bytes of a tensor of any type, block types included. Throws when a dimension
/// is negative, the size does not fit 64 bits, or rows are not whole blocks.
uint64_t tensorBytes(program::DType dtype, std::span<const int64_t> shape);

/// "[2, 3]".
std::string shapeText(std::span<const int64_t> shape);

} // namespace mlsys::rt
