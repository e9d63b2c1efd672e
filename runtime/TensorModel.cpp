//===- TensorModel.cpp - Functions from tensors to tensors ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TensorModel.h"

#include "runtime/Error.h"
#include "runtime/Program.h"

#include <fmt/ranges.h>

#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;

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
