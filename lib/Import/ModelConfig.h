//===- ModelConfig.h - What a configuration says about a model --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The features of a transformer, whichever family and file it comes from.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Rope.h"
#include "mlsys/Import/Import.h"
#include "runtime/StoredTensor.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::importer {

struct Family;

enum class NormKind { Rms, Layer };
enum class Activation { Silu, Gelu, GeluTanh, QuickGelu, Relu, ReluSquared };

/// What stands on top of the layers.
enum class HeadKind {
  Language,       ///< Logits of the next token.
  MaskedLanguage, ///< Logits of every token, after a dense layer and a norm.
  Classifier,     ///< Scores of the whole text.
  Hidden          ///< Nothing: the hidden states.
};

/// Norms of queries and keys.
enum class HeadNorm {
  None,
  Shared,  ///< Each head by itself, one scale [headDim] for all.
  PerHead, ///< Each head by itself, its own scale.
  Joint    ///< All heads together.
};

/// Where the norms of a layer stand.
struct NormPlacement {
  /// Before attention and MLP.
  bool before = true;
  /// On their results, before the residual is added.
  bool after = false;
  /// On the sum with the residual.
  bool onResidual = false;
  /// Attention and MLP read the same input and are added together.
  bool parallel = false;
  /// With `parallel`: one norm for both.
  bool shared = false;
};

/// A mixture of experts.
struct ExpertsConfig {
  int64_t count = 0, perToken = 0, intermediate = 0;
  /// Width of the expert that every token takes; 0: none.
  int64_t sharedIntermediate = 0;
  /// That expert's output is weighted by a gate of its own.
  bool sharedGate = false;
  /// The chosen experts' weights are scaled to sum to 1.
  bool normalize = true;
};

/// What differs from layer to layer.
struct LayerConfig {
  /// Tokens that a token sees, itself included; 0: all before it.
  int64_t window = 0;
  /// Index into ModelConfig.ropes; -1: no rotation.
  int rope = 0;
  bool experts = false;
};

/// A transformer.
struct ModelConfig {
  const Family *family = nullptr;
  /// The file that it comes from, for messages, and whether that is GGUF.
  std::string file;
  bool isGguf = false;
  /// "LlamaForCausalLM".
  std::string architecture;
  /// The file's word for a key of config.json, where it has another.
  std::map<std::string, std::string> keyNames;

  int64_t layers = 0, hidden = 0, intermediate = 0, vocabulary = 0;
  int64_t heads = 0, keyHeads = 0, headDim = 0, contextLength = 0;

  NormKind norm = NormKind::Rms;
  double normEpsilon = 1e-6;
  /// Norms have a scale, or 1 + scale, and a bias.
  bool normScale = true, normPlusOne = false, normBias = false;
  NormPlacement placement;
  HeadNorm headNorm = HeadNorm::None;

  Activation activation = Activation::Silu;
  /// down(activation(gate) * up), not down(activation(up)).
  bool gatedMlp = true;
  ExpertsConfig experts;

  /// Biases of the query; the key; the value; attention output; MLP; language head.
  bool queryBias = false, keyBias = false, valueBias = false, outputBias = false, mlpBias = false;
  bool headBias = false, classifierBias = false;
  /// The norms of queries and keys have biases too.
  bool headNormBias = false;

  /// Learned positions: how many, and the first row of the table that is one.
  int64_t learnedPositions = 0, firstPosition = 0;
  /// Kinds of tokens with an embedding of their own; 0: none.
  int64_t tokenTypes = 0;
  bool embeddingNorm = false;
  /// A norm after the last layer.
  bool finalNorm = true;

  /// Every token sees the whole text.
  bool bidirectional = false;
  /// 0: 1 / sqrt(headDim).
  double attentionScale = 0;
  /// Bounds of attention scores and logits by a tanh; 0: none.
  double attentionSoftcap = 0, finalSoftcap = 0;
  /// ALiBi: what a query head's score changes by from key to key; empty: none.
  std::vector<float> slopes;
  /// Queries, keys and values are clamped to +-this; 0: not.
  double clampQkv = 0;
  double embeddingScale = 1, residualScale = 1, logitScale = 1;

  HeadKind head = HeadKind::Language;
  /// Scores of a classifier and their names.
  int64_t labels = 0;
  std::vector<std::string> labelNames;
  /// The classifier reads the first token, after a dense layer and tanh; else the last one.
  bool pooler = false;
  /// The output projection is the embedding table.
  bool tiedEmbeddings = false;

  std::vector<RopeConfig> ropes;
  std::vector<LayerConfig> layerConfigs;
  /// The checkpoint's type, if the file says it.
  std::optional<program::DType> dtype;

  /// The file's word for a key of config.json.
  std::string keyName(llvm::StringRef key) const {
    auto it = keyNames.find(key.str());
    return it == keyNames.end() ? key.str() : it->second;
  }
};

/// A model's tensors as its files list them.
struct Checkpoint {
  std::vector<std::string> files;
  std::vector<rt::StoredTensor> tensors;
};

/// Everything but the graph.
struct ModelFiles {
  ModelConfig config;
  Checkpoint checkpoint;
  rt::TextMaterial text;
};

/// An error with this text.
llvm::Error makeError(const llvm::Twine &message);

/// A JSON object; nesting is bounded. `file` is for messages.
llvm::Expected<llvm::json::Object> parseJsonObject(llvm::StringRef text, llvm::StringRef file);

/// The features that the text of a config.json describes (keys of transformers
/// 4 and 5).
llvm::Expected<ModelConfig> parseHuggingFaceConfig(const llvm::json::Object &object,
                                                   llvm::StringRef file);

/// Reads what `family` says from `fields`, whose keys are those of config.json,
/// and checks it.
llvm::Expected<ModelConfig> readModelConfig(const Family &family, ConfigFields &fields,
                                            ModelConfig config);

/// Reads a Hugging Face folder. Without weights when they are to be random.
llvm::Expected<ModelFiles> readHuggingFace(llvm::StringRef folder, bool randomWeights);

/// Reads a GGUF file.
llvm::Expected<ModelFiles> readGgufModel(llvm::StringRef path);

/// How a folder's hidden states become embeddings: sets `pooling` and `normalize` of `text`
/// from the files of sentence-transformers, where there are any.
llvm::Error readPooling(llvm::StringRef folder, rt::TextMaterial &text);

/// A file's text, empty when there is no such file. Its size is bounded.
llvm::Expected<std::string> readOptionalText(llvm::StringRef folder, llvm::StringRef name);

/// The tensors of a folder's safetensors files.
llvm::Expected<Checkpoint> readSafetensorsCheckpoint(llvm::StringRef folder);

} // namespace mlsys::importer
