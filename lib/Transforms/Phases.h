//===- Phases.h - What phases of a step have in common ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/Graph.h"

namespace mlsys {

/// The symbol that is the only extent of the argument with a role ("token_ids": T, "context_length": R); nothing, with
/// an error, when `step` does not have the signature that DeriveCache gives it.
std::optional<std::string> getRoleSymbol(mlir::func::FuncOp step, llvm::StringRef role);

/// Removes the choice of each request's last token: where each has one token, it is the last.
void removeLastTokens(mlir::func::FuncOp decode);

} // namespace mlsys
