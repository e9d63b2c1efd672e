//===- StopStrings.cpp - Ends a text before given strings -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/StopStrings.h"

#include "runtime/Error.h"

#include <algorithm>
#include <utility>

using namespace mlsys::rt;

StopStrings::StopStrings(std::vector<std::string> stringsGiven)
    : strings(std::move(stringsGiven)) {
  for (const std::string &string : strings)
    if (string.empty())
      throw Error("a stop string is empty");
}

std::string StopStrings::push(std::string_view text) {
  if (found)
    return "";
  held += text;
  size_t firstEnd = std::string::npos, begin = 0;
  for (const std::string &string : strings) {
    size_t at = held.find(string);
    if (at == std::string::npos)
      continue;
    size_t end = at + string.size();
    if (firstEnd == std::string::npos || end < firstEnd || (end == firstEnd && at < begin)) {
      firstEnd = end;
      begin = at;
    }
  }
  if (firstEnd != std::string::npos) {
    found = true;
    std::string settled = held.substr(0, begin);
    held.clear();
    return settled;
  }
  // The longest end that begins a stop string.
  size_t kept = 0;
  for (const std::string &string : strings)
    for (size_t length = std::min(string.size() - 1, held.size()); length > kept; --length)
      if (held.ends_with(std::string_view(string).substr(0, length)))
        kept = length;
  std::string settled = held.substr(0, held.size() - kept);
  held.erase(0, held.size() - kept);
  return settled;
}

std::string StopStrings::finish() { return std::exchange(held, ""); }
