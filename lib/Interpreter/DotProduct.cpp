//===- DotProduct.cpp - The interpreter's one hot loop --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Built with optimization in every configuration: the rest of the interpreter
// is fast enough without.
//
//===----------------------------------------------------------------------===//

#include <cstdint>

namespace mlsys {

double dotProduct(const float *a, const float *b, int64_t count) {
  constexpr int lanes = 8;
  double partial[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane)
      partial[lane] += double(a[i + lane]) * double(b[i + lane]);
  double sum = 0;
  for (; i < count; ++i)
    sum += double(a[i]) * double(b[i]);
  for (double value : partial)
    sum += value;
  return sum;
}

} // namespace mlsys
