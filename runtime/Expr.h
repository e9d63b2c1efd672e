//===- Expr.h - Integer expressions over symbols ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Shapes, sizes and grids of a Program are postfix expressions over the symbols
// of their function. They come from an untrusted file: `validateExpr` runs once
// when the file is opened, after which `evaluate` needs to check values only.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// The longest code and the deepest stack that a valid expression may have.
inline constexpr size_t maxExprLength = 256;
inline constexpr size_t maxExprDepth = 32;

/// a + b, throwing when it does not fit 64 bits.
int64_t checkedAdd(int64_t a, int64_t b);

/// a * b, throwing when it does not fit 64 bits.
int64_t checkedMul(int64_t a, int64_t b);

/// Throws unless `expr` is a well-formed postfix expression over `symbolCount`
/// symbols. `what` names it in the message.
void validateExpr(const program::Expr *expr, size_t symbolCount, std::string_view what);

/// The value of a validated expression. Throws on overflow and division by 0.
int64_t evaluate(const program::Expr &expr, std::span<const int64_t> symbols);

/// The index of the symbol when the expression is one symbol alone.
std::optional<uint32_t> asSymbol(const program::Expr &expr);

/// The value when the expression is one constant.
std::optional<int64_t> asConstant(const program::Expr &expr);

/// Infix text for messages and `inspect`, e.g. "T * 4096".
std::string toString(const program::Expr &expr, std::span<const std::string> symbolNames);

} // namespace mlsys::rt
