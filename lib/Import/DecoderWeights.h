//===- DecoderWeights.h - The tensors of a decoder --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ModelConfig.h"

#include "llvm/ADT/DenseMap.h"

namespace mlsys::importer {

/// The tensors of a decoder of the Llama family.
enum class Weight {
  Embedding,
  AttentionNorm,
  Query,
  QueryBias,
  Key,
  KeyBias,
  Value,
  ValueBias,
  Output,
  OutputBias,
  MlpNorm,
  Gate,
  GateBias,
  Up,
  UpBias,
  Down,
  DownBias,
  FinalNorm,
  Head
};

/// One tensor that the graph reads.
struct DecoderWeight {
  /// Hugging Face's name without a layer's number resolved, for locations.
  std::string name;
  std::vector<int64_t> shape;
  /// The file's tensor; null for random numbers.
  const rt::StoredTensor *stored = nullptr;
  /// Rows of a head that are put back into halves order; 0: none.
  int64_t unpermuteRows = 0;
};

/// Every tensor of a model, checked against its configuration.
class DecoderWeights {
public:
  /// Finds the tensors that `config` asks for. An error names the tensor, the
  /// file, what is there and what the configuration needs. `checkpoint`
  /// outlives the result.
  static llvm::Expected<DecoderWeights> resolve(const DecoderConfig &config,
                                                const Checkpoint &checkpoint);
  /// The same tensors without files.
  static DecoderWeights random(const DecoderConfig &config);

  /// The tensor of a layer (0 for those outside the layers); null when the model
  /// has none, such as a bias.
  const DecoderWeight *find(Weight weight, int64_t layer = 0) const;

private:
  std::vector<DecoderWeight> weights;
  llvm::DenseMap<std::pair<int, int64_t>, size_t> indexes;

  void add(Weight weight, int64_t layer, DecoderWeight entry);
};

} // namespace mlsys::importer
