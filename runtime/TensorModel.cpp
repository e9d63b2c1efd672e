//===- TensorModel.cpp - Functions from tensors to tensors ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TensorModel.h"

#include "runtime/Error.h"
#include "runtime/Program.h"

#include <fmt/ranges.h>

#include <bit>
#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;

/// Throws unless every id is in [0, limit): kernels read the table without a look.
template <typename T> static void checkIds(const TensorPort &port, const HostTensor &input) {
  for (size_t i = 0; i < input.data.size() / sizeof(T); ++i) {
    T id;
    std::memcpy(&id, input.data.data() + i * sizeof(T), sizeof(T));
    if (id < 0 || id >= port.idLimit)
      throw Error("input '{}' holds the token id {}, which is not in the vocabulary of {}",
                  port.name, id, port.idLimit);
  }
}

void rt::checkInputs(const std::vector<TensorPort> &ports, const std::vector<HostTensor> &inputs) {
  if (ports.size() != inputs.size())
    throw Error("{} inputs are given, expected {}", inputs.size(), ports.size());
  for (size_t i = 0; i < ports.size(); ++i) {
    const TensorPort &port = ports[i];
    const HostTensor &input = inputs[i];
    if (input.dtype != port.dtype)
      throw Error("input '{}' is {}, expected {}", port.name, dtypeName(input.dtype),
                  dtypeName(port.dtype));
    if (input.shape.size() != port.dims.size())
      throw Error("input '{}' has shape {}, expected [{}]", port.name, shapeText(input.shape),
                  fmt::join(port.dims, ", "));
    if (tensorBytes(input.dtype, input.shape) != input.data.size())
      throw Error("input '{}' has {} bytes, not those of {} {}", port.name, input.data.size(),
                  dtypeName(input.dtype), shapeText(input.shape));
    if (port.idLimit > 0 && port.dtype == program::DType::I64)
      checkIds<int64_t>(port, input);
    if (port.idLimit > 0 && port.dtype == program::DType::I32)
      checkIds<int32_t>(port, input);
  }
}

std::vector<std::byte> rt::randomElements(DType dtype, uint64_t bytes, uint64_t seed) {
  std::vector<std::byte> data(bytes);
  uint64_t state = 0x9e3779b97f4a7c15ull * (seed + 1);
  auto next = [&state] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return float(int32_t(state >> 32)) * 0x1p-31f;
  };
  if (dtype == DType::F32) {
    for (size_t i = 0; i + 4 <= bytes; i += 4) {
      float value = next();
      std::memcpy(&data[i], &value, 4);
    }
  } else if (dtype == DType::BF16) {
    for (size_t i = 0; i + 2 <= bytes; i += 2) {
      uint32_t bits = std::bit_cast<uint32_t>(next()) >> 16;
      std::memcpy(&data[i], &bits, 2);
    }
  } else if (dtype == DType::F16) {
    // A sign, an exponent of 2^-8 to 2^-1 and ten more bits.
    for (size_t i = 0; i + 2 <= bytes; i += 2) {
      uint32_t bits = std::bit_cast<uint32_t>(next());
      uint16_t half = uint16_t((bits >> 16 & 0x8000) | ((7 + (bits >> 10 & 7)) << 10) | (bits & 0x3ff));
      std::memcpy(&data[i], &half, 2);
    }
  }
  return data;
}

ResidentCall TensorModel::makeResident(const std::string &,
                                       const std::map<std::string, int64_t> &) {
  throw Error("bench needs a device with kernels, and this one interprets the graph");
}
