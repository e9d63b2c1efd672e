//===- StopStrings.h - Ends a text before given strings ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Passes on a text that comes in parts, up to where the first stop string begins. Of several
/// the one that ends first counts, and of those the longest; how the text is split makes no
/// difference. What may be the beginning of a stop string is held back.
class StopStrings {
public:
  /// Throws rt::Error when one of them is empty.
  explicit StopStrings(std::vector<std::string> strings);

  /// What of the text is settled; nothing more once stopped() is true.
  std::string push(std::string_view text);
  /// The text has ended: what was held back.
  std::string finish();
  /// True when a stop string was found.
  bool stopped() const { return found; }

private:
  std::vector<std::string> strings;
  std::string held;
  bool found = false;
};

} // namespace mlsys::rt
