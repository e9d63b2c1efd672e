//===- Rope.cpp - Rotary frequencies and their scalings -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Rope.h"

#include "ModelConfig.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

static constexpr const char *knownTypes = "default, linear, dynamic, yarn, longrope and llama3";

/// YaRN's growth of the logits with the factor (https://arxiv.org/abs/2309.00071, 3.4).
static double yarnScale(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

static void parseYarn(ConfigFields &fields, RopeConfig &rope) {
  rope.factor = fields.needNumber({"factor"});
  rope.originalContext = fields.number({"original_max_position_embeddings"}).value_or(rope.originalContext);
  rope.betaFast = fields.number({"beta_fast"}).value_or(32);
  rope.betaSlow = fields.number({"beta_slow"}).value_or(1);
  rope.truncate = fields.boolean({"truncate"}).value_or(true);
  double scale = fields.number({"mscale"}).value_or(0), all = fields.number({"mscale_all_dim"}).value_or(0);
  double implied = scale != 0 && all != 0 ? yarnScale(rope.factor, scale) / yarnScale(rope.factor, all)
                                          : yarnScale(rope.factor, 1);
  rope.attentionFactor = fields.number({"attention_factor"}).value_or(implied);
}

static void parseLongRope(ConfigFields &fields, RopeConfig &rope, double maxPositions) {
  rope.shortFactors = fields.numbers("short_factor");
  rope.longFactors = fields.numbers("long_factor");
  for (StringRef key : {"short_factor", "long_factor"})
    if (!fields.has(key))
      fields.fail(fields.spell(key) + " is missing");
  rope.originalContext = fields.number({"original_max_position_embeddings"}).value_or(rope.originalContext);
  rope.factor = fields.number({"factor"}).value_or(1);
  if (rope.originalContext > 0)
    rope.factor = maxPositions / rope.originalContext;
  double implied = rope.factor <= 1 || rope.originalContext <= 1
                       ? 1
                       : std::sqrt(1 + std::log(rope.factor) / std::log(rope.originalContext));
  rope.attentionFactor = fields.number({"attention_factor"}).value_or(implied);
}

RopeConfig importer::parseRope(ConfigFields &fields, double theta, double part, double maxPositions,
                               double originalContext) {
  RopeConfig rope;
  rope.theta = fields.number({"rope_theta"}).value_or(theta);
  rope.part = fields.number({"partial_rotary_factor"}).value_or(part);
  rope.originalContext = originalContext;
  rope.type = fields.string({"rope_type", "type"}).value_or("default");
  // Phi-3's first name for it.
  if (rope.type == "su")
    rope.type = "longrope";
  if (rope.type == "linear") {
    rope.factor = fields.needNumber({"factor"});
  } else if (rope.type == "dynamic") {
    rope.factor = fields.needNumber({"factor"});
    rope.originalContext = maxPositions;
  } else if (rope.type == "llama3") {
    rope.factor = fields.needNumber({"factor"});
    rope.lowFrequencyFactor = fields.needNumber({"low_freq_factor"});
    rope.highFrequencyFactor = fields.needNumber({"high_freq_factor"});
    rope.originalContext = fields.needNumber({"original_max_position_embeddings"});
  } else if (rope.type == "yarn") {
    parseYarn(fields, rope);
  } else if (rope.type == "longrope") {
    parseLongRope(fields, rope, maxPositions);
  } else if (rope.type != "default") {
    fields.fail(fields.spell("rope_type") + " '" + rope.type + "' is not supported; supported are " +
                knownTypes);
  }
  return rope;
}

Error importer::checkRope(const RopeConfig &rope, int64_t headDim, const std::string &file) {
  auto refuse = [&](const Twine &message) { return makeError(file + ": " + message); };
  auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  if (!positive(rope.theta) || !positive(rope.factor) || !positive(rope.attentionFactor))
    return refuse("rope theta and factors must be positive numbers");
  if (!(rope.part > 0 && rope.part <= 1))
    return refuse("partial_rotary_factor is not between 0 and 1");
  int64_t dims = rope.rotaryDims(headDim);
  if (dims < 2 || dims % 2 != 0)
    return refuse(Twine(dims) + " of " + Twine(headDim) +
                  " dimensions of a head are rotated; expected an even number");
  if (rope.type == "dynamic" && dims < 4)
    return refuse("dynamic rope needs at least 4 rotated dimensions");
  if (rope.type == "llama3" &&
      (!positive(rope.lowFrequencyFactor) || !positive(rope.originalContext) ||
       !(rope.highFrequencyFactor > rope.lowFrequencyFactor)))
    return refuse("llama3 rope needs positive factors, the high one above the low one, and a "
                  "positive original context");
  if (rope.type == "yarn" && (!positive(rope.betaFast) || !positive(rope.betaSlow) ||
                              !positive(rope.originalContext) || !(rope.theta > 1)))
    return refuse("yarn rope needs positive betas, a theta above 1 and a positive "
                  "original_max_position_embeddings");
  size_t count = static_cast<size_t>(dims / 2);
  if (rope.type == "longrope")
    for (const std::vector<double> *factors : {&rope.shortFactors, &rope.longFactors})
      if (factors->size() != count || !llvm::all_of(*factors, positive))
        return refuse(Twine(factors == &rope.shortFactors ? "short_factor" : "long_factor") +
                      " needs " + Twine(count) + " positive numbers, one for each pair of rotated "
                                                 "dimensions; it has " + Twine(factors->size()));
  if (!rope.divisors.empty() && rope.divisors.size() != count)
    return refuse("tensor rope_freqs.weight has " + Twine(rope.divisors.size()) +
                  " elements, but the head size needs " + Twine(count));
  if (!llvm::all_of(rope.divisors, positive))
    return refuse("tensor rope_freqs.weight holds a value that is not positive");
  return Error::success();
}

/// Llama 3's scaling of one frequency: long waves are slowed down by the factor,
/// short ones kept, those between interpolated.
static float scaleLlama3(const RopeConfig &rope, float frequency) {
  float context = static_cast<float>(rope.originalContext);
  float low = static_cast<float>(rope.lowFrequencyFactor);
  float high = static_cast<float>(rope.highFrequencyFactor);
  float factor = static_cast<float>(rope.factor);
  float wave = static_cast<float>(2 * M_PI) / frequency;
  if (wave > context / low)
    return frequency / factor;
  if (wave < context / high)
    return frequency;
  float smooth = (context / wave - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

/// YaRN's ramp over the frequencies: 0 keeps one, 1 divides it by the factor.
static std::vector<float> yarnRamp(const RopeConfig &rope, int64_t dims) {
  auto correction = [&](double rotations) {
    return static_cast<double>(dims) * std::log(rope.originalContext / (rotations * 2 * M_PI)) /
           (2 * std::log(rope.theta));
  };
  double low = correction(rope.betaFast), high = correction(rope.betaSlow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims - 1));
  if (low == high)
    high += 0.001;
  std::vector<float> ramp;
  for (int64_t i = 0; i < dims / 2; ++i) {
    float position = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    ramp.push_back(std::clamp(position, 0.0f, 1.0f));
  }
  return ramp;
}

std::vector<float> importer::ropeFrequencies(const RopeConfig &rope, int64_t headDim,
                                             int64_t contextLength) {
  int64_t dims = rope.rotaryDims(headDim);
  std::vector<float> frequencies, ramp;
  if (rope.type == "yarn")
    ramp = yarnRamp(rope, dims);
  bool isLong = static_cast<double>(contextLength) > rope.originalContext;
  const std::vector<double> &factors = isLong ? rope.longFactors : rope.shortFactors;
  for (size_t i = 0; i < static_cast<size_t>(dims / 2); ++i) {
    // In f32 step by step, as the models' authors compute it.
    float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    float wave = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    float factor = static_cast<float>(rope.factor);
    float frequency = 1.0f / wave;
    if (rope.type == "llama3")
      frequency = scaleLlama3(rope, frequency);
    else if (rope.type == "linear")
      frequency /= factor;
    else if (rope.type == "yarn")
      frequency = 1.0f / (factor * wave) * ramp[i] + frequency * (1 - ramp[i]);
    else if (rope.type == "longrope")
      frequency = 1.0f / (static_cast<float>(factors[i]) * wave);
    if (!rope.divisors.empty())
      frequency /= rope.divisors[i];
    frequencies.push_back(frequency);
  }
  return frequencies;
}
