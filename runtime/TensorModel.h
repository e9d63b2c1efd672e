//===- TensorModel.h - Functions from tensors to tensors --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace mlsys::rt {

struct LaunchProfile;

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

/// A function with its tensors in place, to be called again and again.
struct ResidentCall {
  /// The symbols of the function and their values.
  std::map<std::string, int64_t> symbols;
  /// Bytes of all inputs and outputs, and the flops of all launches as the compiler counts them.
  int64_t bytes = 0, flops = 0;
  /// Runs the function; nothing is copied to the device or back.
  std::function<void()> run;
};

/// Throws rt::Error naming the input that is not what its port takes: type, rank,
/// bytes, token ids.
void checkInputs(const std::vector<TensorPort> &ports, const std::vector<HostTensor> &inputs);

/// `bytes` of random elements in [-1, 1), or of zeros for types that are no floats.
std::vector<std::byte> randomElements(program::DType dtype, uint64_t bytes, uint64_t seed);

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

  /// Puts random inputs (integers: zeros) on the device for a function, its symbols having the
  /// given values or else their hints. The call is valid until
  /// the model runs something else. Throws rt::Error,
  /// also where nothing is compiled.
  virtual ResidentCall makeResident(const std::string &function,
                                    const std::map<std::string, int64_t> &symbols);
  /// Records each launch of the calls that follow; null ends that. False when the model has no
  /// kernels.
  virtual bool setProfile(LaunchProfile *) { return false; }
};

} // namespace mlsys::rt
