//===- EmitExpr.cpp - Affine expressions as postfix code ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitProgram.h"

using namespace mlir;
using namespace mlsys;
using program::ExprOp;

static LogicalResult append(AffineExpr expr, std::vector<int64_t> &code) {
  auto emit = [&](ExprOp op) { code.push_back(static_cast<int64_t>(op)); };
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    emit(ExprOp::Const);
    code.push_back(constant.getValue());
    return success();
  }
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    emit(ExprOp::Symbol);
    code.push_back(symbol.getPosition());
    return success();
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary || failed(append(binary.getLHS(), code)) || failed(append(binary.getRHS(), code)))
    return failure();
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    emit(ExprOp::Add);
    return success();
  case AffineExprKind::Mul:
    emit(ExprOp::Mul);
    return success();
  case AffineExprKind::FloorDiv:
    emit(ExprOp::FloorDiv);
    return success();
  case AffineExprKind::CeilDiv:
    emit(ExprOp::CeilDiv);
    return success();
  case AffineExprKind::Mod:
    emit(ExprOp::Mod);
    return success();
  default:
    return failure();
  }
}

FailureOr<std::unique_ptr<program::ExprT>> mlsys::emitExpr(AffineExpr expr) {
  auto result = std::make_unique<program::ExprT>();
  if (failed(append(expr, result->code)))
    return failure();
  return result;
}
