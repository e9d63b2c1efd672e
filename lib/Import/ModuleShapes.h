//===- ModuleShapes.h - Which tensors a model has, of what shape *- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Families.h"

#include <string>
#include <vector>

namespace mlsys::importer {

/// An extent and what says it, such as "hidden_size 64".
struct Extent {
  int64_t value;
  std::string reason;
};

/// All modules in the order of Module.
inline constexpr Module lastModule = Module::ClassifierDense;

/// True for modules that each layer has of its own.
bool isLayerModule(Module module);

/// True when a layer (0 for modules outside the layers) has the module's weight; its bias.
bool hasWeight(const ModelConfig &config, Module module, int64_t layer);
bool hasBias(const ModelConfig &config, Module module, int64_t layer);

/// The shape of a module's weight: [out, in], [experts, out, in], or a vector for norms. That of a
/// bias is [out].
std::vector<Extent> weightShape(const ModelConfig &config, Module module);

} // namespace mlsys::importer
