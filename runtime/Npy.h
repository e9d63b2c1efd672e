//===- Npy.h - Reads and writes NumPy arrays --------------------*- C++ -*-===//
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
#include <vector>

namespace mlsys::rt {

/// An array in C order.
struct NpyArray {
  program::DType dtype = program::DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};

/// Reads a .npy file (versions 1, 2, 3; little endian; bool, i8, u8, i16, i32,
/// i64, f16, f32, f64). Throws rt::Error naming the file.
NpyArray readNpy(const std::string &path);

/// Writes a .npy file, all or nothing. BF16 becomes f32. Throws rt::Error naming
/// the file.
void writeNpy(const std::string &path, program::DType dtype, std::span<const int64_t> shape,
              std::span<const std::byte> data);

} // namespace mlsys::rt
