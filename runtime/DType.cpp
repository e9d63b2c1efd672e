//===- DType.cpp - Element types by name and size -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/DType.h"

#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/StoredTensor.h"

using namespace mlsys;
using program::DType;

size_t rt::elementBytes(DType dtype) {
  return dtypeBlockElements(dtype) == 1 ? size_t(dtypeBlockBytes(dtype)) : 0;
}

std::string_view rt::dtypeName(DType dtype) {
  static constexpr std::string_view names[] = {
      "bool",   "i8",      "u8",    "i16",    "i32",   "i64",    "f16",     "bf16",  "f32",  "f64",
      "q4_0",   "q4_1",    "q8_0",  "q5_0",   "q5_1",  "q1_0",   "q2_k",    "q3_k",  "q4_k", "q5_k",
      "q6_k",   "q8_k",    "iq1_s", "iq1_m",  "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s",
      "iq4_nl", "iq4_xs",  "tq1_0", "tq2_0",  "mxfp4", "nvfp4"};
  static_assert(std::size(names) == size_t(DType::MAX) + 1);
  return size_t(dtype) < std::size(names) ? names[size_t(dtype)] : "unknown";
}

uint64_t rt::tensorBytes(DType dtype, std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0)
      throw Error("negative dimension in shape {}", shapeText(shape));
    count = checkedMul(count, extent);
  }
  int64_t elements = dtypeBlockElements(dtype);
  if (elements > 1 && (shape.empty() || shape.back() % elements != 0))
    throw Error("rows of {} {} are not whole blocks of {}", dtypeName(dtype), shapeText(shape),
                elements);
  return uint64_t(checkedMul(count / elements, dtypeBlockBytes(dtype)));
}

std::string rt::shapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}
