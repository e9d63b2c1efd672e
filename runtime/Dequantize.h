//===- Dequantize.h - Conversions between element types ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstddef>
#include <cstdint>

namespace mlsys::rt {

/// Converts `count` elements of any floating-point or block type to f32; of block
/// types `count` is a multiple of the block. F64 is rounded to nearest even.
/// Throws rt::Error for other types.
void convertToF32(program::DType type, const std::byte *source, float *destination,
                  int64_t count);

/// Converts `count` f32 elements to F16, BF16, F32 or F64, to nearest even; NaN
/// stays NaN. Throws rt::Error for other types.
void convertFromF32(program::DType type, const float *source, std::byte *destination,
                    int64_t count);

/// One element, bit by bit; for tests and scalars.
float f16ToF32(uint16_t bits);
float bf16ToF32(uint16_t bits);
uint16_t f32ToF16(float value);
uint16_t f32ToBf16(float value);

/// Transposes `rows` x `columns` elements of `unit` bytes:
/// destination[c][r] = source[r][c]. The source's rows are `stride` bytes apart.
void transposeUnits(const std::byte *source, int64_t stride, int64_t rows, int64_t columns,
                    int64_t unit, std::byte *destination);

} // namespace mlsys::rt
