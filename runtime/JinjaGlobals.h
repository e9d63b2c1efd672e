//===- JinjaGlobals.h - Functions that every template has -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaBuiltins.h"

#include <map>
#include <string>
#include <vector>

namespace mlsys::rt::jinja {

/// range, dict, namespace, cycler and joiner. They spend `budget`; the namespaces that they
/// make are noted in `namespaces`. Both have to outlive them.
std::map<std::string, Value> makeGlobals(Budget &budget, std::vector<Value> &namespaces);

} // namespace mlsys::rt::jinja
