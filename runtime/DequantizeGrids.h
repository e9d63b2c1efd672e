//===- DequantizeGrids.h - The grids of the IQ types ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlsys::rt::dequantize {

/// The rows that a type's codes stand for.
template <size_t count, size_t width> struct Grid {
  alignas(64) int8_t elements[count * width];
  /// Row `code`; `code` is less than `count`.
  const int8_t *row(uint32_t code) const { return elements + width * code; }
};

extern const Grid<256, 8> gridIq2Xxs;
extern const Grid<512, 8> gridIq2Xs;
extern const Grid<1024, 8> gridIq2S;
extern const Grid<256, 4> gridIq3Xxs;
extern const Grid<512, 4> gridIq3S;
/// Of IQ1_S and IQ1_M.
extern const Grid<2048, 8> gridIq1;

} // namespace mlsys::rt::dequantize
