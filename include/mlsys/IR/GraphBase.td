//===- GraphBase.td - Base classes of graph operations -----*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What operations of the graph dialect have in common.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_IR_GRAPHBASE_TD
#define MLSYS_IR_GRAPHBASE_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlsys/IR/GraphTypes.td"

class Graph_Op<string mnemonic, list<Trait> traits = []>
    : Op<Graph_Dialect, mnemonic, traits>;

/// A pure operation.
class Graph_PureOp<string mnemonic, list<Trait> traits = []>
    : Graph_Op<mnemonic, !listconcat([Pure], traits)>;

class Graph_UnaryOp<string mnemonic, Type operandType, list<Trait> traits = []>
    : Graph_PureOp<mnemonic, !listconcat([Elementwise, SameOperandsAndResultType], traits)> {
  let arguments = (ins operandType:$input);
  let results = (outs operandType:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

class Graph_BinaryOp<string mnemonic, Type operandType, list<Trait> traits = []>
    : Graph_PureOp<mnemonic, !listconcat([Elementwise, SameOperandsAndResultType], traits)> {
  let arguments = (ins operandType:$lhs, operandType:$rhs);
  let results = (outs operandType:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

#endif // MLSYS_IR_GRAPHBASE_TD
