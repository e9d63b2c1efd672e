//===- Base64.h - Bytes as printable text -----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>

namespace mlsys::rt {

/// RFC 4648's encoding, with padding.
inline std::string encodeBase64(std::string_view bytes) {
  static constexpr char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    auto at = [&](size_t n) {
      return i + n < bytes.size() ? static_cast<unsigned char>(bytes[i + n]) : 0u;
    };
    unsigned group = at(0) << 16 | at(1) << 8 | at(2);
    for (size_t n = 0; n < 4; ++n)
      text += i + n <= bytes.size() ? digits[group >> (18 - 6 * n) & 63u] : '=';
  }
  return text;
}

} // namespace mlsys::rt
