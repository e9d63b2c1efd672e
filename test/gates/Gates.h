//===- Gates.h - Kernels of every model, checked without a GPU --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Driver/Compiler.h"

#include "runtime/KernelCache.h"
#include "runtime/Nvrtc.h"

#include <memory>
#include <string>
#include <vector>

namespace mlsys::test {

/// A model whose kernels are checked.
struct GateModel {
  /// For messages and test names: letters, digits and underscores.
  std::string name;
  std::string path;
  /// There is only config.json.
  bool randomWeights = false;
  /// One of the few that every architecture and type is checked for in the short form.
  bool representative = false;
  /// Operations in a .mlir file.
  bool program = false;
};

/// The programs of bench/programs, which are no models: they have one type, and no steps.
std::vector<GateModel> gatePrograms();

/// All models of test/data/models, SmolLM2, and the shapes of test/data/configs.
std::vector<GateModel> gateModels();

/// Whether every model is checked for every architecture, type and decode bucket: MLSYS_GATES=all.
bool checkAll();

/// A kernel as text, and how it is launched.
struct GateKernel {
  rt::KernelText text;
  /// The most dynamic shared memory of its launches.
  int64_t sharedBytes = 0;
  /// For each buffer parameter, whether it is a constant in every launch.
  std::vector<bool> constants;
};

/// The kernels that a model has for an architecture; in the short form those of the steps alone,
/// except for representative models.
std::vector<GateKernel> compileKernelTexts(const GateModel &model, const std::string &arch,
                                           program::DType dtype,
                                           const std::vector<int64_t> &decodeBuckets);

/// NVRTC; throws rt::Error when it is not there. scripts/fetch-nvidia gets it.
std::shared_ptr<rt::Nvrtc> openGateNvrtc();

/// Compiles a kernel or takes it from the gates' own cache, where kernels that differ only in
/// their name are one.
rt::CompiledKernel compileGateKernel(const rt::Nvrtc &nvrtc, const rt::KernelText &kernel,
                                     const std::string &arch);

/// Shared memory that a block can have.
int64_t sharedMemoryOf(const std::string &arch);

} // namespace mlsys::test
