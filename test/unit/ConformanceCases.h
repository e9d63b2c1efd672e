//===- ConformanceCases.h - Small kernels over every wrapper ----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/TensorMap.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mlsys::rt::test {

/// A tensor map over one of a case's buffers.
struct CaseMap {
  int buffer;
  program::DType type;
  std::vector<uint64_t> extents, strides;
  std::vector<uint32_t> box;
  bool swizzled = true;
};

/// One kernel, what it is given and what it has to give. Its parameters are the inputs, the
/// output, then the tensor maps t0, t1.
struct ConformanceCase {
  /// Of the case and of its kernel.
  std::string name;
  /// "sm_80", "sm_90" or "sm_90a": what it needs.
  std::string arch;
  std::string text;
  int threads;
  uint32_t sharedBytes;
  std::vector<std::vector<uint8_t>> inputs;
  size_t outputBytes;
  std::vector<CaseMap> maps;
  /// The output, exact; or f32 numbers within `bound` of `sums`.
  std::vector<uint8_t> expected;
  std::vector<double> sums;
  double bound = 0;
  /// Blocks, all of one cluster.
  int blocks = 1;
};

/// All cases.
const std::vector<ConformanceCase> &conformanceCases();

/// The case of a name.
const ConformanceCase &conformanceCase(const std::string &name);

} // namespace mlsys::rt::test
