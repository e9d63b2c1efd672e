//===- StoredTensor.cpp - A tensor as it lies in a file -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/StoredTensor.h"

#include "runtime/CheckedMath.h"
#include "runtime/DType.h"
#include "runtime/Error.h"

#include <algorithm>

namespace mlsys::rt {

using program::DType;

namespace {
struct DTypeTraits {
  int64_t elements;
  int64_t bytes;
};
} // namespace

static DTypeTraits traits(DType dtype) {
  switch (dtype) {
  case DType::Bool:
    return {1, 1};
  case DType::I8:
    return {1, 1};
  case DType::U8:
    return {1, 1};
  case DType::I16:
    return {1, 2};
  case DType::I32:
    return {1, 4};
  case DType::I64:
    return {1, 8};
  case DType::F16:
    return {1, 2};
  case DType::BF16:
    return {1, 2};
  case DType::F32:
    return {1, 4};
  case DType::F64:
    return {1, 8};
  case DType::Q4_0:
    return {32, 18};
  case DType::Q4_1:
    return {32, 20};
  case DType::Q8_0:
    return {32, 34};
  case DType::Q5_0:
    return {32, 22};
  case DType::Q5_1:
    return {32, 24};
  case DType::Q1_0:
    return {128, 18};
  case DType::Q2_K:
    return {256, 84};
  case DType::Q3_K:
    return {256, 110};
  case DType::Q4_K:
    return {256, 144};
  case DType::Q5_K:
    return {256, 176};
  case DType::Q6_K:
    return {256, 210};
  case DType::Q8_K:
    return {256, 292};
  case DType::IQ1_S:
    return {256, 50};
  case DType::IQ1_M:
    return {256, 56};
  case DType::IQ2_XXS:
    return {256, 66};
  case DType::IQ2_XS:
    return {256, 74};
  case DType::IQ2_S:
    return {256, 82};
  case DType::IQ3_XXS:
    return {256, 98};
  case DType::IQ3_S:
    return {256, 110};
  case DType::IQ4_NL:
    return {32, 18};
  case DType::IQ4_XS:
    return {256, 136};
  case DType::TQ1_0:
    return {256, 54};
  case DType::TQ2_0:
    return {256, 66};
  case DType::MXFP4:
    return {32, 17};
  case DType::NVFP4:
    return {64, 36};
  }
  throw Error("element type {} is not one of this version's", static_cast<int>(dtype));
}

int64_t dtypeBlockElements(DType dtype) { return traits(dtype).elements; }

int64_t dtypeBlockBytes(DType dtype) { return traits(dtype).bytes; }

bool isFloatDType(DType dtype) {
  return dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F32 ||
         dtype == DType::F64 || dtypeBlockElements(dtype) > 1;
}

uint64_t storedBytes(std::string_view what, DType dtype, std::span<const int64_t> shape) {
  DTypeTraits type = traits(dtype);
  std::optional<uint64_t> count = tryElementCount(shape);
  if (!count)
    throw Error("{} has the shape {}, which is negative or too large", what, shapeText(shape));
  if (type.elements > 1 && (shape.empty() || shape.back() % type.elements != 0))
    throw Error("{} has the shape {}, but rows of {} hold a multiple of {} elements", what,
                shapeText(shape), dtypeName(dtype), type.elements);
  std::optional<uint64_t> bytes = tryMul(*count / type.elements, type.bytes);
  if (!bytes)
    throw Error("{} has the shape {}, which is too large", what, shapeText(shape));
  return *bytes;
}

void checkNoOverlap(const std::string &path, std::vector<const StoredTensor *> tensors) {
  std::erase_if(tensors, [](const StoredTensor *tensor) { return tensor->bytes == 0; });
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor *a, const StoredTensor *b) {
    return a->offset < b->offset;
  });
  for (size_t i = 1; i < tensors.size(); ++i) {
    const StoredTensor &before = *tensors[i - 1];
    if (tensors[i]->offset < before.offset + before.bytes)
      throw Error("{}: tensors {} and {} overlap: the first ends at byte {}, the second begins at "
                  "byte {}",
                  path, before.name, tensors[i]->name, before.offset + before.bytes,
                  tensors[i]->offset);
  }
}

} // namespace mlsys::rt
