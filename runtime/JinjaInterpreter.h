//===- JinjaInterpreter.h - Running chat templates --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaParser.h"

#include <string>

namespace mlsys::rt::jinja {

/// Renders `body` with `globals` as its variables. Steps and output are
/// bounded; errors name the line of the template.
std::string render(const Body &body, const DictObject &globals);

} // namespace mlsys::rt::jinja
