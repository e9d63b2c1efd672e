//===- ModelConfig.h - What a configuration says about a decoder -*- C++ -*-==//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The features of a decoder of the Llama family, whichever file they come from.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Import/Import.h"
#include "runtime/StoredTensor.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::importer {

/// How rotary frequencies are made.
struct RopeConfig {
  /// "default", "linear" or "llama3".
  std::string type = "default";
  double theta = 10000;
  double factor = 1;
  double lowFrequencyFactor = 1;
  double highFrequencyFactor = 4;
  double originalContext = 0;
  /// What each frequency is divided by (GGUF's rope_freqs), or empty.
  std::vector<float> divisors;
};

/// A decoder of the Llama family.
struct DecoderConfig {
  /// The file that it comes from, for messages, and whether that is GGUF.
  std::string file;
  bool isGguf = false;
  std::string architecture;
  int64_t layers = 0, hidden = 0, intermediate = 0, vocabulary = 0;
  int64_t heads = 0, keyHeads = 0, headDim = 0, contextLength = 0;
  double normEpsilon = 0;
  /// Biases of the query, key and value; attention output; MLP projections.
  bool qkvBias = false, outputBias = false, mlpBias = false;
  /// The output projection is the embedding table.
  bool tiedEmbeddings = false;
  RopeConfig rope;
  /// The checkpoint's type, if the file says it.
  std::optional<program::DType> dtype;
};

/// A model's tensors as its files list them.
struct Checkpoint {
  std::vector<std::string> files;
  std::vector<rt::StoredTensor> tensors;
};

/// Everything but the graph.
struct ModelFiles {
  DecoderConfig config;
  Checkpoint checkpoint;
  rt::TextMaterial text;
};

/// An error with this text.
llvm::Error makeError(const llvm::Twine &message);

/// A JSON object; nesting is bounded. `file` is for messages.
llvm::Expected<llvm::json::Object> parseJsonObject(llvm::StringRef text, llvm::StringRef file);

/// The features that the text of a config.json describes (keys of transformers
/// 4 and 5).
llvm::Expected<DecoderConfig> parseHuggingFaceConfig(const llvm::json::Object &object,
                                                     llvm::StringRef file);

/// Checks what every decoder needs: positive extents within bounds, heads that
/// divide, an even head size.
llvm::Error checkDecoderConfig(const DecoderConfig &config);

/// The rotary frequencies, headDim / 2 of them, with scaling.
std::vector<float> ropeFrequencies(const RopeConfig &rope, int64_t headDim);

/// Reads a Hugging Face folder. Without weights when they are to be random.
llvm::Expected<ModelFiles> readHuggingFace(llvm::StringRef folder, bool randomWeights);

/// Reads a GGUF file.
llvm::Expected<ModelFiles> readGgufModel(llvm::StringRef path);

/// The tensors of a folder's safetensors files.
llvm::Expected<Checkpoint> readSafetensorsCheckpoint(llvm::StringRef folder);

} // namespace mlsys::importer
