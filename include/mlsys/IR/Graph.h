//===- Graph.h - The graph dialect ------------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/DimExpr.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "mlsys/IR/GraphDialect.h.inc"
#include "mlsys/IR/GraphEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "mlsys/IR/GraphAttributes.h.inc"
#define GET_TYPEDEF_CLASSES
#include "mlsys/IR/GraphTypes.h.inc"
#define GET_OP_CLASSES
#include "mlsys/IR/GraphOps.h.inc"

namespace mlsys::graph {

/// The function attribute that lists symbols (an array of SymbolAttr).
constexpr llvm::StringLiteral symbolsAttrName = "graph.symbols";
/// The argument and result attribute that tells the runtime's role.
constexpr llvm::StringLiteral roleAttrName = "graph.role";
/// The argument and result attribute with the user's name for it.
constexpr llvm::StringLiteral nameAttrName = "graph.name";
/// The function attribute: "plain", "step", "prefill" or "decode".
constexpr llvm::StringLiteral phaseAttrName = "graph.phase";
/// The function attribute of phase "decode": the number of requests (an integer).
constexpr llvm::StringLiteral bucketAttrName = "graph.bucket";
/// The result attribute of a plain function (a unit) and the function attribute of its step: logits
/// of every token are wanted, not of each request's last token only.
constexpr llvm::StringLiteral perTokenAttrName = "graph.per_token";
/// The attribute of a step (a unit): tokens see the whole request, so all of a request's tokens
/// are in one step.
constexpr llvm::StringLiteral bidirectionalAttrName = "graph.bidirectional";
/// The attribute of a step (an integer): no token sees one that is so many positions before
/// it, or more, in any layer.
constexpr llvm::StringLiteral windowAttrName = "graph.window";
/// The module attribute with the weight files' paths.
constexpr llvm::StringLiteral weightFilesAttrName = "graph.weight_files";

/// The extents of a tensor; a dynamic dimension that has no name is the symbol
/// `_`, which VerifyStage refuses.
llvm::SmallVector<DimExpr> getDims(mlir::RankedTensorType type);
DimExpr getDim(mlir::RankedTensorType type, int64_t index);

/// A tensor type with these extents: the encoding is there only when one of
/// them is dynamic.
mlir::RankedTensorType getTensorType(llvm::ArrayRef<DimExpr> dims, mlir::Type elementType);

/// `type` with another element type and the same extents.
mlir::RankedTensorType withElementType(mlir::RankedTensorType type, mlir::Type elementType);

/// True unless two extents contradict each other: one without a name may be any.
bool mayEqual(const DimExpr &lhs, const DimExpr &rhs);
bool mayEqual(llvm::ArrayRef<DimExpr> lhs, llvm::ArrayRef<DimExpr> rhs);

/// The extents that `op`, which has one tensor result, gives it, from those of its operands
/// and, where these say nothing, from those that the result has. Ranks have
/// been verified.
llvm::SmallVector<DimExpr> inferResultDims(mlir::Operation *op);

/// The number of elements.
DimExpr getNumElements(mlir::RankedTensorType type);

/// The symbols that `function` lists.
llvm::SmallVector<SymbolAttr> getSymbols(mlir::func::FuncOp function);
/// The entry for `name`; null when it is not listed.
SymbolAttr getSymbol(mlir::func::FuncOp function, llvm::StringRef name);
/// Replaces symbols in every type of `function` and takes those that are replaced out of its list; the others stay.
void substituteSymbols(mlir::func::FuncOp function,
                       llvm::function_ref<std::optional<DimExpr>(llvm::StringRef)> replacement);
/// The value of `expr` with every symbol at the hint that the function around `op`, or `op` itself, lists for it; 128
/// when it lists none.
int64_t evaluateAtHints(const DimExpr &expr, mlir::Operation *op);

/// True for operations whose every result element is a function of the operand
/// elements at the same index.
bool isElementwise(mlir::Operation *op);

/// The parts of a weight's source: itself, or those of a stack.
llvm::SmallVector<WeightSourceAttr> getWeightParts(mlir::Attribute source);

/// The bits of one element in memory: 8 for i1.
int64_t getElementBits(mlir::Type elementType);

} // namespace mlsys::graph
