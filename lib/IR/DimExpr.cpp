//===- DimExpr.cpp - Extents as polynomials over symbols ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/DimExpr.h"

#include "llvm/Support/MathExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#include <algorithm>
#include <set>

#include <numeric>

using namespace mlsys::graph;

DimExpr DimExpr::constant(int64_t value) {
  DimExpr result;
  if (value != 0)
    result.terms[{}] = value;
  return result;
}

DimExpr DimExpr::symbol(llvm::StringRef name) {
  DimExpr result;
  result.terms[{name.str()}] = 1;
  return result;
}

/// A product: integers and names separated by `*`.
static std::optional<DimExpr> parseProduct(llvm::StringRef text) {
  DimExpr product = DimExpr::constant(1);
  llvm::SmallVector<llvm::StringRef> factors;
  text.split(factors, '*');
  for (llvm::StringRef factor : factors) {
    factor = factor.trim();
    int64_t value;
    if (factor.empty())
      return std::nullopt;
    if (!factor.getAsInteger(10, value)) {
      product = product * DimExpr::constant(value);
      continue;
    }
    if (!llvm::isAlpha(factor.front()) && factor.front() != '_')
      return std::nullopt;
    if (!llvm::all_of(factor, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
      return std::nullopt;
    product = product * DimExpr::symbol(factor);
  }
  return product;
}

std::optional<DimExpr> DimExpr::parse(llvm::StringRef text) {
  // Most extents are one symbol.
  if (!text.empty() && llvm::isAlpha(text.front()) &&
      llvm::all_of(text, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
    return symbol(text);
  DimExpr sum;
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, '+');
  for (llvm::StringRef part : parts) {
    std::optional<DimExpr> product = parseProduct(part);
    if (!product)
      return std::nullopt;
    sum = sum + *product;
  }
  return sum;
}

std::string DimExpr::str() const {
  if (terms.empty())
    return "0";
  std::string text;
  // Longest monomials first: `B*S + 2*S + 1`.
  for (auto it = terms.rbegin(); it != terms.rend(); ++it) {
    if (!text.empty())
      text += " + ";
    std::string product = llvm::join(it->first, "*");
    if (it->first.empty())
      text += std::to_string(it->second);
    else if (it->second == 1)
      text += product;
    else
      text += std::to_string(it->second) + "*" + product;
  }
  return text;
}

DimExpr DimExpr::operator+(const DimExpr &other) const {
  DimExpr result = *this;
  for (const auto &[monomial, coefficient] : other.terms) {
    int64_t sum = (result.terms[monomial] += coefficient);
    if (sum == 0)
      result.terms.erase(monomial);
  }
  return result;
}

DimExpr DimExpr::operator-(const DimExpr &other) const {
  return *this + other * constant(-1);
}

DimExpr DimExpr::operator*(const DimExpr &other) const {
  DimExpr result;
  for (const auto &[leftMonomial, leftCoefficient] : terms)
    for (const auto &[rightMonomial, rightCoefficient] : other.terms) {
      DimExpr product;
      std::vector<std::string> monomial = leftMonomial;
      monomial.insert(monomial.end(), rightMonomial.begin(), rightMonomial.end());
      std::sort(monomial.begin(), monomial.end());
      product.terms[monomial] = leftCoefficient * rightCoefficient;
      result = result + product;
    }
  return result;
}

std::optional<int64_t> DimExpr::asConstant() const {
  if (terms.empty())
    return 0;
  if (terms.size() == 1 && terms.begin()->first.empty())
    return terms.begin()->second;
  return std::nullopt;
}

std::optional<std::string> DimExpr::asSymbol() const {
  if (terms.size() == 1 && terms.begin()->first.size() == 1 && terms.begin()->second == 1)
    return terms.begin()->first.front();
  return std::nullopt;
}

std::optional<DimExpr> DimExpr::divideBy(const DimExpr &divisor) const {
  if (divisor.terms.size() != 1)
    return std::nullopt;
  const auto &[divisorMonomial, divisorCoefficient] = *divisor.terms.begin();
  DimExpr quotient;
  for (const auto &[monomial, coefficient] : terms) {
    if (coefficient % divisorCoefficient != 0)
      return std::nullopt;
    std::vector<std::string> rest = monomial;
    for (const std::string &name : divisorMonomial) {
      auto it = std::find(rest.begin(), rest.end(), name);
      if (it == rest.end())
        return std::nullopt;
      rest.erase(it);
    }
    quotient.terms[rest] = coefficient / divisorCoefficient;
  }
  return quotient;
}

int64_t DimExpr::commonFactor() const {
  int64_t factor = 0;
  for (const auto &[monomial, coefficient] : terms)
    factor = std::gcd(factor, coefficient);
  return factor ? factor : 1;
}

DimExpr DimExpr::substitute(
    llvm::function_ref<std::optional<DimExpr>(llvm::StringRef)> replacement) const {
  DimExpr result;
  for (const auto &[monomial, coefficient] : terms) {
    DimExpr product = constant(coefficient);
    for (const std::string &name : monomial) {
      std::optional<DimExpr> value = replacement(name);
      product = product * (value ? *value : symbol(name));
    }
    result = result + product;
  }
  return result;
}

int64_t DimExpr::evaluate(llvm::function_ref<int64_t(llvm::StringRef)> value) const {
  int64_t sum = 0;
  for (const auto &[monomial, coefficient] : terms) {
    int64_t product = coefficient;
    for (const std::string &name : monomial)
      product *= value(name);
    sum += product;
  }
  return sum;
}

std::optional<int64_t>
DimExpr::upperBound(llvm::function_ref<std::optional<int64_t>(llvm::StringRef)> maximum) const {
  int64_t sum = 0;
  for (const auto &[monomial, coefficient] : terms) {
    if (coefficient < 0)
      return std::nullopt;
    int64_t product = coefficient;
    for (const std::string &name : monomial) {
      std::optional<int64_t> most = maximum(name);
      if (!most || llvm::MulOverflow(product, *most, product))
        return std::nullopt;
    }
    if (llvm::AddOverflow(sum, product, sum) || sum >= int64_t(1) << 62)
      return std::nullopt;
  }
  return sum;
}

std::vector<std::string> DimExpr::symbols() const {
  std::set<std::string> names;
  for (const auto &[monomial, coefficient] : terms)
    names.insert(monomial.begin(), monomial.end());
  return {names.begin(), names.end()};
}

mlir::AffineExpr DimExpr::toAffine(llvm::ArrayRef<std::string> names,
                                   mlir::MLIRContext *context) const {
  mlir::AffineExpr sum = mlir::getAffineConstantExpr(0, context);
  for (const auto &[monomial, coefficient] : terms) {
    mlir::AffineExpr product = mlir::getAffineConstantExpr(coefficient, context);
    for (const std::string &name : monomial) {
      auto it = llvm::find(names, name);
      assert(it != names.end() && "the symbol is not in the list");
      product = mlir::getAffineSymbolExpr(it - names.begin(), context) * product;
    }
    sum = sum + product;
  }
  return sum;
}
