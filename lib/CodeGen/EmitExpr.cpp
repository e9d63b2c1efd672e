//===- EmitExpr.cpp - Affine expressions as postfix code ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitProgram.h"

using namespace mlir;
using namespace mlsys;
using program::ExprOp;

static ExprOp binaryOp(AffineExprKind kind) {
  switch (kind) {
  case AffineExprKind::Add:
    return ExprOp::Add;
  case AffineExprKind::Mul:
    return ExprOp::Mul;
  case AffineExprKind::FloorDiv:
    return ExprOp::FloorDiv;
  case AffineExprKind::CeilDiv:
    return ExprOp::CeilDiv;
  case AffineExprKind::Mod:
    return ExprOp::Mod;
  default:
    llvm_unreachable("an expression over symbols has no dimensions");
  }
}

static void append(AffineExpr expr, std::vector<int64_t> &code) {
  auto emit = [&](ExprOp op) { code.push_back(static_cast<int64_t>(op)); };
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    emit(ExprOp::Const);
    code.push_back(constant.getValue());
  } else if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    emit(ExprOp::Symbol);
    code.push_back(symbol.getPosition());
  } else {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    append(binary.getLHS(), code);
    append(binary.getRHS(), code);
    emit(binaryOp(expr.getKind()));
  }
}

std::unique_ptr<program::ExprT> mlsys::emitExpr(AffineExpr expr) {
  auto result = std::make_unique<program::ExprT>();
  append(expr, result->code);
  return result;
}
