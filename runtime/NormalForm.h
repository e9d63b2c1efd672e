//===- NormalForm.h - Unicode's normal forms --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>

namespace mlsys::rt {

/// The four normal forms.
enum class NormalForm { NFC, NFD, NFKC, NFKD };

/// Appends `text` (well-formed UTF-8) in normal form to `out`. When it is in
/// normal form already, returns false and appends nothing. Characters newer
/// than Unicode 9 stay as they are, as in the tokenizers library.
bool appendNormalForm(NormalForm form, std::string_view text, std::string &out);

} // namespace mlsys::rt
