//===- JinjaScope.h - Variables and loops of chat templates -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaValue.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::rt::jinja {

/// Where a loop is.
struct LoopState {
  std::vector<Value> items;
  size_t turn;
  /// 1 for a loop that no call of itself made.
  int depth;
  /// What `loop(items)` does; none unless the loop is recursive.
  Value call;
  /// The arguments of the last loop.changed().
  std::optional<Value> lastChanged;
};

struct Scope;
using ScopePtr = std::shared_ptr<Scope>;

/// The variables of a template, a loop's turn or a macro. Macros keep the scope that they are
/// defined in.
struct Scope {
  ScopePtr parent;
  std::map<std::string, Value> variables;
  /// The loop whose turn this is, or null.
  std::shared_ptr<LoopState> loop;
};

inline ScopePtr makeScope(ScopePtr parent) {
  return std::make_shared<Scope>(Scope{std::move(parent), {}, nullptr});
}

/// The `loop` variable of a turn.
Value makeLoop(const std::shared_ptr<LoopState> &state);

} // namespace mlsys::rt::jinja
