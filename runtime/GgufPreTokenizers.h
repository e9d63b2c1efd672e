//===- GgufPreTokenizers.h - How GGUF's byte-level text is split -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string_view>
#include <vector>

namespace mlsys::rt {

/// What a value of tokenizer.ggml.pre stands for: patterns whose matches are
/// split off, one after another.
struct GgufPreTokenizer {
  const char *name;
  std::vector<const char *> patterns;
  bool ignoreMerges = false; ///< A piece that is a token is not built by merges.
  bool addsBos = false;      ///< Where the file does not say whether to.
  bool composes = false;     ///< Text is put into NFC first.
};

/// The entry called `name`, "default" when that is empty. Throws rt::Error with
/// the known names.
const GgufPreTokenizer &findGgufPreTokenizer(std::string_view name);

/// All entries, for tests.
const std::vector<GgufPreTokenizer> &ggufPreTokenizers();

} // namespace mlsys::rt
