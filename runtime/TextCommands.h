//===- TextCommands.h - What generate and chat share ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/TextMaterial.h"
#include "runtime/Tokenizer.h"

#include <cstdint>
#include <iosfwd>
#include <string>

namespace mlsys::rt {

/// The tokenizer of a model's text material; throws when it has none.
Tokenizer openTokenizer(const TextMaterial &material);

/// The text of the model's chat template; empty when it has none.
const std::string &chatTemplateText(const TextMaterial &material, const Tokenizer &tokenizer);

/// `text` as UTF-8; warns when it was not.
std::string checkedUtf8(const std::string &text, std::ostream &log);

/// "12.3 tokens/s".
std::string rate(int64_t tokens, double seconds);

} // namespace mlsys::rt
