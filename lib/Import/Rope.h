//===- Rope.h - Rotary frequencies and their scalings -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ConfigFields.h"

#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlsys::importer {

/// How rotary frequencies are made.
struct RopeConfig {
  /// "default", "linear", "dynamic", "yarn", "longrope" or "llama3".
  std::string type = "default";
  double theta = 10000;
  /// The part of a head that is rotated, 0 to 1: its first dimensions.
  double part = 1;
  double factor = 1;
  /// Llama 3.
  double lowFrequencyFactor = 1, highFrequencyFactor = 4;
  /// The context of the model's training, before scaling.
  double originalContext = 0;
  /// YaRN: rotations at which interpolation ends and begins.
  double betaFast = 32, betaSlow = 1;
  /// YaRN: the bounds of the ramp are whole dimensions.
  bool truncate = true;
  /// What cosines and sines are multiplied by.
  double attentionFactor = 1;
  /// LongRoPE: what each frequency is divided by, within the original context and beyond.
  std::vector<double> shortFactors, longFactors;
  /// What each frequency is divided by (GGUF's rope_freqs), or empty.
  std::vector<float> divisors;

  /// Dimensions of a head that are rotated.
  int64_t rotaryDims(int64_t headDim) const {
    // A part that came from a division may be a little small.
    return static_cast<int64_t>(part * static_cast<double>(headDim) + 1e-6);
  }
};

/// The keys of a configuration's rope object (transformers 5: rope_parameters; 4: rope_scaling,
/// with rope_theta beside it). `maxPositions` is max_position_embeddings. What is wrong is
/// kept in `fields`.
RopeConfig parseRope(ConfigFields &fields, double theta, double part, double maxPositions,
                     double originalContext);

/// Checks ranges. `what` begins the message.
llvm::Error checkRope(const RopeConfig &rope, int64_t headDim, const std::string &file);

/// The rotary frequencies, rotaryDims / 2 of them, scaled for a context of
/// `contextLength` tokens. As transformers' modeling_rope_utils.py computes them, in f32;
/// the part of "dynamic" that depends on the position is not in them.
std::vector<float> ropeFrequencies(const RopeConfig &rope, int64_t headDim, int64_t contextLength);

} // namespace mlsys::importer
