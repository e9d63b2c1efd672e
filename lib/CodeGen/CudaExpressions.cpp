//===- CudaExpressions.cpp - Types and expressions as CUDA C++ text -------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaPrinter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlsys;

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

FailureOr<std::string> CudaPrinter::typeName(Type type, Operation *op) {
  if (auto vector = dyn_cast<VectorType>(type)) {
    FailureOr<std::string> element = typeName(vector.getElementType(), op);
    if (failed(element))
      return failure();
    return "vec<" + *element + ", " + std::to_string(vector.getNumElements()) + ">";
  }
  if (auto memref = dyn_cast<MemRefType>(type)) {
    FailureOr<std::string> element = typeName(memref.getElementType(), op);
    if (failed(element))
      return failure();
    return *element + " *";
  }
  if (type.isIndex())
    return std::string("i64");
  if (type.isF32())
    return std::string("f32");
  if (type.isBF16())
    return std::string("bf16");
  if (type.isF16())
    return std::string("f16");
  if (type.isInteger(1))
    return std::string("b1");
  for (unsigned bits : {8, 16, 32, 64})
    if (type.isSignlessInteger(bits))
      return "i" + std::to_string(bits);
  return op->emitOpError("has type ") << type << ", which CUDA kernels do not have";
}

LogicalResult CudaPrinter::printConstant(arith::ConstantOp op) {
  Attribute value = op.getValue();
  auto dense = dyn_cast<DenseElementsAttr>(value);
  auto scalar = [&](Attribute element) -> FailureOr<std::string> {
    if (auto real = dyn_cast<FloatAttr>(element)) {
      // The bits, so that no digit and no NaN is lost.
      APFloat f32 = real.getValue();
      bool losesInfo;
      f32.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &losesInfo);
      if (losesInfo)
        return op.emitOpError("is not an f32 constant");
      return "float_from_bits(" +
             std::to_string(f32.bitcastToAPInt().getZExtValue()) + "u)";
    }
    auto integer = dyn_cast<IntegerAttr>(element);
    if (!integer)
      return op.emitOpError("has a constant without CUDA text");
    FailureOr<std::string> type = typeName(integer.getType(), op);
    if (failed(type))
      return failure();
    if (integer.getType().isInteger(1))
      return std::string(integer.getValue().isZero() ? "false" : "true");
    int64_t number = integer.getValue().getSExtValue();
    // The least number is no literal of C++.
    std::string digits = number == INT64_MIN ? "(-9223372036854775807 - 1)" : std::to_string(number);
    return "(" + *type + ")" + digits;
  };
  if (!dense) {
    FailureOr<std::string> text = scalar(value);
    if (failed(text))
      return failure();
    define(op.getResult(), *text);
    return success();
  }
  FailureOr<std::string> type = typeName(op.getType(), op);
  if (failed(type))
    return failure();
  std::string text = *type + "{{";
  for (auto [index, element] : llvm::enumerate(dense.getValues<Attribute>())) {
    FailureOr<std::string> one = scalar(element);
    if (failed(one))
      return failure();
    text += (index ? ", " : "") + *one;
  }
  define(op.getResult(), text + "}}");
  return success();
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

/// The operator or function of an operation on values of one type, as a pattern
/// in which $0, $1, ... are the operands; empty when it has none.
static StringRef expressionOf(Operation *op) {
  return llvm::StringSwitch<StringRef>(op->getName().getStringRef())
      .Cases({"arith.addf", "arith.addi"}, "$0 + $1")
      .Cases({"arith.subf", "arith.subi"}, "$0 - $1")
      .Cases({"arith.mulf", "arith.muli"}, "$0 * $1")
      .Cases({"arith.divf", "arith.divsi"}, "divide($0, $1)")
      .Case("arith.remsi", "modulo($0, $1)")
      .Case("arith.divui", "index_div($0, $1)")
      .Case("arith.remui", "index_mod($0, $1)")
      .Case("arith.andi", "$0 & $1")
      .Case("arith.ori", "$0 | $1")
      .Case("arith.xori", "$0 ^ $1")
      .Case("arith.negf", "-$0")
      .Case("arith.maximumf", "maximumf($0, $1)")
      .Case("arith.minimumf", "minimumf($0, $1)")
      .Case("arith.maxnumf", "maxnumf($0, $1)")
      .Case("arith.minnumf", "minnumf($0, $1)")
      .Cases({"arith.maxsi", "arith.maxui"}, "maximumf($0, $1)")
      .Cases({"arith.minsi", "arith.minui"}, "minimumf($0, $1)")
      .Case("arith.select", "select($0, $1, $2)")
      .Case("math.exp", "exp($0)")
      .Case("math.log", "log($0)")
      .Case("math.sqrt", "sqrt($0)")
      .Case("math.rsqrt", "rsqrt($0)")
      .Case("math.tanh", "tanh($0)")
      .Case("math.sin", "sin($0)")
      .Case("math.cos", "cos($0)")
      .Case("math.erf", "erf($0)")
      .Case("math.powf", "pow($0, $1)")
      .Case("math.absf", "abs($0)")
      .Case("math.floor", "floor($0)")
      .Case("math.ceil", "ceil($0)")
      .Case("math.roundeven", "roundeven($0)")
      .Case("math.fma", "fma($0, $1, $2)")
      .Default("");
}

/// The comparison of arith.cmpf and arith.cmpi as a pattern.
static StringRef comparisonOf(Operation *op) {
  if (auto compare = dyn_cast<arith::CmpIOp>(op)) {
    switch (compare.getPredicate()) {
    case arith::CmpIPredicate::eq:
      return "$0 == $1";
    case arith::CmpIPredicate::ne:
      return "$0 != $1";
    case arith::CmpIPredicate::slt:
    case arith::CmpIPredicate::ult:
      return "$0 < $1";
    case arith::CmpIPredicate::sle:
    case arith::CmpIPredicate::ule:
      return "$0 <= $1";
    case arith::CmpIPredicate::sgt:
    case arith::CmpIPredicate::ugt:
      return "$0 > $1";
    case arith::CmpIPredicate::sge:
    case arith::CmpIPredicate::uge:
      return "$0 >= $1";
    }
  }
  switch (cast<arith::CmpFOp>(op).getPredicate()) {
  case arith::CmpFPredicate::OEQ:
    return "$0 == $1";
  case arith::CmpFPredicate::UNE:
    return "$0 != $1";
  case arith::CmpFPredicate::OLT:
    return "$0 < $1";
  case arith::CmpFPredicate::OLE:
    return "$0 <= $1";
  case arith::CmpFPredicate::OGT:
    return "$0 > $1";
  case arith::CmpFPredicate::OGE:
    return "$0 >= $1";
  default:
    return "";
  }
}

/// Unsigned operations print as signed ones: indices are never negative, and no
/// graph element is an unsigned integer wider than a byte.
static bool isUnsignedOnSigned(Operation *op) {
  Type type = getElementTypeOrSelf(op->getOperand(0).getType());
  if (type.isIndex() || type.isInteger(1))
    return false;
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    return compare.getPredicate() >= arith::CmpIPredicate::ult;
  return isa<arith::DivUIOp, arith::RemUIOp, arith::MaxUIOp, arith::MinUIOp>(op);
}

/// Divisions of indices by constants, which compilers turn into multiplications.
static StringRef constantDivisionOf(Operation *op) {
  if (!isa<arith::DivUIOp, arith::RemUIOp>(op) || !matchPattern(op->getOperand(1), m_Constant()))
    return "";
  return isa<arith::DivUIOp>(op) ? "(i64)((u64)$0 / (u64)$1)" : "(i64)((u64)$0 % (u64)$1)";
}

LogicalResult CudaPrinter::printExpression(Operation *op) {
  StringRef pattern = isa<arith::CmpIOp, arith::CmpFOp>(op) ? comparisonOf(op) : constantDivisionOf(op);
  if (pattern.empty())
    pattern = expressionOf(op);
  if (pattern.empty() || isUnsignedOnSigned(op))
    return op->emitOpError("has no CUDA text");
  std::string text;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '$')
      text += name(op->getOperand(pattern[++at] - '0'));
    else
      text += pattern[at];
  }
  // C++ computes i8 and i16 as int.
  Type result = op->getResult(0).getType(), element = getElementTypeOrSelf(result);
  if (isa<MemRefType>(result))
    element = result;
  if (element.isInteger(8) || element.isInteger(16)) {
    FailureOr<std::string> type = typeName(element, op);
    text = "convert<" + *type + ">(" + text + ")";
  }
  define(op->getResult(0), text);
  return success();
}
