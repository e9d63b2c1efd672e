//===- SamplerConfig.h - Sampling options from text -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Sampler.h"

#include <string>
#include <utility>

namespace mlsys::rt {

/// What generation_config.json says about sampling, with what Hugging Face's generate takes for
/// what it leaves out; without do_sample the likeliest token. The text may be empty. Throws
/// rt::Error naming a field that is wrong.
SamplerOptions samplerConfig(const std::string &generationConfigJson);

/// ID+BIAS or ID-BIAS, where BIAS is a number or inf: 15043-inf rules token 15043 out. Throws
/// rt::Error.
std::pair<int64_t, float> parseLogitBias(const std::string &text);

} // namespace mlsys::rt
