//===- JinjaWrap.h - Lines of bounded width ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mlsys::rt::jinja {

/// Breaks a line into lines of at most `width` characters, as Python's textwrap.wrap with
/// expand_tabs and replace_whitespace off. White space at a break is dropped.
std::vector<std::string> wrapLine(const std::string &line, size_t width, bool breakLongWords,
                                  bool breakOnHyphens);

} // namespace mlsys::rt::jinja
