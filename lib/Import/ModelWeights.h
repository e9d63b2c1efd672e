//===- ModelWeights.h - The tensors of a model ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Families.h"

#include <map>
#include <tuple>

namespace mlsys::importer {

/// What of a module a tensor is.
enum class Part { Weight, Bias };

/// Where a part of a tensor's rows lie: the fields of #graph.weight_source.
struct WeightPart {
  const rt::StoredTensor *stored = nullptr;
  /// The stored shape; a vector where the tensor is one.
  std::vector<int64_t> shape;
  bool transposed = false;
  /// Empty, or the four numbers of `rows`.
  std::vector<int64_t> rows;
};

/// One tensor that the graph reads.
struct ModelWeight {
  /// Its name in safetensors, for locations.
  std::string name;
  std::vector<int64_t> shape;
  /// One after another; none for random numbers.
  std::vector<WeightPart> parts;
  /// See #graph.weight_source.
  int64_t unpermuteRows = 0, headRows = 0;
};

/// Every tensor of a model, checked against its configuration.
class ModelWeights {
public:
  /// Finds the tensors that `config` asks for. An error names the tensor, the
  /// file, what is there and what the configuration needs. `checkpoint`
  /// outlives the result.
  static llvm::Expected<ModelWeights> resolve(const ModelConfig &config,
                                              const Checkpoint &checkpoint);
  /// The same tensors without files.
  static ModelWeights random(const ModelConfig &config);

  /// The tensor of a layer (0 for those outside the layers); null when the model
  /// has none, such as a bias.
  const ModelWeight *find(Module module, Part part, int64_t layer = 0) const;

private:
  friend class WeightResolver;
  std::map<std::tuple<Module, Part, int64_t>, ModelWeight> weights;
};

} // namespace mlsys::importer
