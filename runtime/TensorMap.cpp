//===- TensorMap.cpp ------------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/TensorMap.h"

#include "runtime/Error.h"
#include "runtime/Expr.h"

using namespace mlsys;
using namespace mlsys::rt;

static uint64_t bytesOf(program::DType type) {
  switch (type) {
  case program::DType::BF16:
  case program::DType::F16:
    return 2;
  case program::DType::F32:
    return 4;
  case program::DType::U8:
    return 1;
  default:
    return 0;
  }
}

void mlsys::rt::checkTensorMap(const TensorMapArgument &map, const std::string &kernel) {
  auto refuse = [&](const std::string &reason) { throw Error("kernel '{}': a tensor map {}", kernel, reason); };
  uint64_t element = bytesOf(map.type);
  if (!element)
    refuse(fmt::format("of elements of type {}", program::EnumNameDType(map.type)));
  if (map.rank < 1 || map.rank > TensorMapArgument::maxRank)
    refuse(fmt::format("of {} dimensions; 1 to {} are possible", map.rank, TensorMapArgument::maxRank));
  if (!map.base || reinterpret_cast<uintptr_t>(map.base) % 16)
    refuse("whose memory is not aligned to 16 bytes");
  for (int i = 0; i < map.rank; ++i) {
    if (map.extents[i] < 1 || map.extents[i] > uint64_t(1) << 32)
      refuse(fmt::format("with an extent of {}", map.extents[i]));
    if (map.box[i] < 1 || map.box[i] > 256)
      refuse(fmt::format("with a tile of {} elements in one dimension; 1 to 256 are possible", map.box[i]));
    if (i > 0 && (map.strides[i - 1] % 16 || map.strides[i - 1] >= uint64_t(1) << 40))
      refuse(fmt::format("with a stride of {} bytes, which is no multiple of 16 below 2^40", map.strides[i - 1]));
  }
  uint64_t row = map.box[0] * element;
  if (map.swizzled ? row != 128 : row % 16 != 0)
    refuse(fmt::format("with tiles of {} bytes a row; expected {}", row, map.swizzled ? "128" : "a multiple of 16"));
}

TensorMapArgument mlsys::rt::bindTensorMap(const program::Function &function, const program::Launch &launch,
                                           const program::TensorMap &map, std::span<const int64_t> symbols,
                                           std::span<const uint64_t> bufferBytes, const CachePages &pages) {
  const program::BufferRef &ref = *launch.args()->Get(map.argument());
  const program::Buffer &buffer = *function.buffers()->Get(ref.buffer());
  TensorMapArgument result;
  result.type = buffer.dtype();
  result.rank = static_cast<int>(map.extents()->size());
  result.swizzled = map.swizzled();
  int64_t element = static_cast<int64_t>(bytesOf(result.type)), end = element;
  for (int i = 0; i < result.rank; ++i) {
    int64_t extent = evaluate(*map.extents()->Get(i), symbols), stride = i ? evaluate(*map.strides()->Get(i - 1), symbols) : 1;
    if (extent < 1 || stride < 0)
      throw Error("function '{}': a tensor map with an extent of {} and a stride of {}", function.name()->string_view(),
                  extent, stride);
    stride = checkedMul(stride, element);
    end = checkedAdd(end, checkedMul(extent - 1, stride));
    result.extents[i] = static_cast<uint64_t>(extent);
    if (i)
      result.strides[i - 1] = static_cast<uint64_t>(stride);
    result.box[i] = static_cast<uint32_t>(map.tile()->Get(i));
  }
  bool cache = buffer.kind() == program::BufferKind::Cache;
  uint64_t bytes = cache ? pages.bytes : bufferBytes[ref.buffer()];
  if (ref.offset() > bytes || static_cast<uint64_t>(end) > bytes - ref.offset())
    throw Error("function '{}': a tensor map of {} bytes in a buffer of {}", function.name()->string_view(), end, bytes);
  if (cache) {
    int last = result.rank - 1;
    if (last < 1 || result.extents[last] != 1 || result.strides[last - 1] != pages.bytes)
      throw Error("function '{}': a tensor map of the KV cache whose last dimension does not count pages",
                  function.name()->string_view());
    result.extents[last] = pages.count;
  }
  return result;
}

host::TensorMap mlsys::rt::encodeHostTensorMap(const TensorMapArgument &map) {
  host::TensorMap result = {};
  result.magic = host::TensorMap::marker;
  result.rank = static_cast<unsigned short>(map.rank);
  result.elementBytes = static_cast<unsigned short>(bytesOf(map.type));
  result.base = static_cast<unsigned char *>(map.base);
  result.swizzle = map.swizzled ? 128 : 0;
  for (int i = 0; i < map.rank; ++i) {
    result.extents[i] = map.extents[i];
    result.box[i] = static_cast<unsigned short>(map.box[i]);
    if (i > 0)
      result.strides[i - 1] = map.strides[i - 1];
  }
  return result;
}
