//===- DimExpr.h - Extents as polynomials over symbols ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::graph {

/// The extent of a dimension: a polynomial with integer coefficients over named
/// symbols, kept in a canonical form, so that equal polynomials have equal text.
/// Examples: `64`, `T`, `B*S`, `2*T`, `R + 1`.
class DimExpr {
public:
  /// Zero.
  DimExpr() = default;
  static DimExpr constant(int64_t value);
  static DimExpr symbol(llvm::StringRef name);

  /// Reads what `str` writes (and any sum of products). Nothing on malformed
  /// text.
  static std::optional<DimExpr> parse(llvm::StringRef text);
  std::string str() const;

  DimExpr operator+(const DimExpr &other) const;
  DimExpr operator-(const DimExpr &other) const;
  DimExpr operator*(const DimExpr &other) const;
  bool operator==(const DimExpr &other) const { return terms == other.terms; }
  bool operator!=(const DimExpr &other) const { return terms != other.terms; }

  /// The value when there is no symbol in it.
  std::optional<int64_t> asConstant() const;
  /// The name when it is one symbol alone.
  std::optional<std::string> asSymbol() const;
  /// The quotient when `divisor` divides it without remainder as a polynomial;
  /// `divisor` must have one term.
  std::optional<DimExpr> divideBy(const DimExpr &divisor) const;

  /// The largest number that divides every coefficient; 1 for zero.
  int64_t commonFactor() const;

  /// Replaces symbols; those for which `replacement` gives nothing stay.
  DimExpr substitute(llvm::function_ref<std::optional<DimExpr>(llvm::StringRef)> replacement) const;
  /// The value with every symbol replaced by a number, e.g. by its hint.
  int64_t evaluate(llvm::function_ref<int64_t(llvm::StringRef)> value) const;
  /// The value with every symbol replaced by its maximum; nothing when a symbol has none, a coefficient is negative, or
  /// the value is 2^62 or more.
  std::optional<int64_t>
  upperBound(llvm::function_ref<std::optional<int64_t>(llvm::StringRef)> maximum) const;
  /// The symbols in it, sorted.
  std::vector<std::string> symbols() const;
  /// As an affine expression over affine symbols: s0 is `names[0]` and so on.
  /// Every symbol of the expression is in `names`.
  mlir::AffineExpr toAffine(llvm::ArrayRef<std::string> names, mlir::MLIRContext *context) const;

private:
  /// From the sorted symbols of a monomial to its coefficient, never zero.
  std::map<std::vector<std::string>, int64_t> terms;
};

} // namespace mlsys::graph
