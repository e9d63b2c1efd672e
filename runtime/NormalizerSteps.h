//===- NormalizerSteps.h - The steps of normalizers -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Normalizer.h"

namespace mlsys::rt {

/// The step for one object of a tokenizer.json that is not a Sequence; throws
/// rt::Error when its type is not known.
std::unique_ptr<const NormalizerStep> makeNormalizerStep(const nlohmann::json &description);

} // namespace mlsys::rt
