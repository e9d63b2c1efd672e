//===- PreTokenizerSteps.h - The steps of pre-tokenizers --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/PreTokenizer.h"

namespace mlsys::rt {

/// Writes bytes as their stand-in characters.
std::unique_ptr<const PreTokenizerStep> makeByteCharacters();

/// Appends the steps for one object of a tokenizer.json that is not a Sequence;
/// throws rt::Error when its type is not known. ByteLevel's last step, the
/// stand-in characters, is left out and true returned.
bool addPreTokenizerSteps(const nlohmann::json &description,
                          std::vector<std::unique_ptr<const PreTokenizerStep>> &steps);

} // namespace mlsys::rt
