//===- TensorModel.h - Functions from tensors to tensors --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mlsys::rt {

/// A dense row-major tensor in host memory.
struct HostTensor {
  std::string name;
  program::DType dtype = program::DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};

/// An input that a function takes.
struct TensorPort {
  std::string name;
  program::DType dtype = program::DType::F32;
  /// Sizes or names of the dimensions, for messages.
  std::vector<std::string> dims;
  /// Token ids must be below this; 0 for other inputs.
  int64_t idLimit = 0;
};

/// Throws rt::Error naming the input that is not what its port takes: type, rank,
/// bytes, token ids.
void checkInputs(const std::vector<TensorPort> &ports, const std::vector<HostTensor> &inputs);

/// The plain functions of a model: tensors in, tensors out, no state. Compiled
/// programs and the interpreter implement it.
class TensorModel {
public:
  virtual ~TensorModel() = default;

  virtual std::vector<std::string> functions() const = 0;
  /// Throws rt::Error naming the functions there are.
  virtual std::vector<TensorPort> inputs(const std::string &function) const = 0;
  /// `inputs` in the order of the function's inputs. Throws rt::Error naming the
  /// input that has a wrong type or shape.
  virtual std::vector<HostTensor> run(const std::string &function,
                                      const std::vector<HostTensor> &inputs) = 0;
};

} // namespace mlsys::rt
