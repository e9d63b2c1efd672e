//===- SamplerConfig.cpp - Sampling options from text -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/SamplerConfig.h"

#include "runtime/Error.h"

#include <nlohmann/json.hpp>

#include <charconv>

using namespace mlsys;
using namespace mlsys::rt;
using Json = nlohmann::json;

static constexpr const char *where = "generation_config.json";

/// Sets `value` when the configuration has a number under `key`.
template <typename T> static void read(const Json &config, const char *key, T &value) {
  auto found = config.find(key);
  if (found == config.end() || found->is_null())
    return;
  if (!found->is_number())
    throw Error("{}: '{}' must be a number but is {}", where, key, found->type_name());
  double number = found->get<double>();
  if (!(number >= -1e9 && number <= 1e9))
    throw Error("{}: '{}' is out of range: {}", where, key, number);
  value = T(number);
}

SamplerOptions rt::samplerConfig(const std::string &generationConfigJson) {
  SamplerOptions options;
  if (generationConfigJson.empty())
    return options;
  Json config = Json::parse(generationConfigJson, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    throw Error("{} is not a JSON object", where);
  read(config, "repetition_penalty", options.repeatPenalty);
  auto samples = config.find("do_sample");
  if (samples == config.end() || !samples->is_boolean() || !samples->get<bool>())
    return options;
  options.temperature = 1;
  options.topK = 50;
  read(config, "temperature", options.temperature);
  read(config, "top_k", options.topK);
  read(config, "top_p", options.topP);
  read(config, "min_p", options.minP);
  read(config, "typical_p", options.typicalP);
  return options;
}

std::pair<int64_t, float> rt::parseLogitBias(const std::string &text) {
  const char *end = text.data() + text.size();
  std::pair<int64_t, float> result;
  auto id = std::from_chars(text.data(), end, result.first);
  bool valid = id.ec == std::errc() && result.first >= 0 && id.ptr != end &&
               (*id.ptr == '+' || *id.ptr == '-') && id.ptr + 1 != end && id.ptr[1] != '-';
  if (valid) {
    auto bias = std::from_chars(id.ptr + (*id.ptr == '+'), end, result.second);
    valid = bias.ec == std::errc() && bias.ptr == end;
  }
  if (!valid)
    throw Error("--logit-bias {}: expected ID+BIAS or ID-BIAS, such as 15043-1.5 or 15043-inf",
                text);
  return result;
}
