//===- GraphTypes.td - Types of the graph dialect ------------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What a model computes: values are tensors, dynamic dimensions have names.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_IR_GRAPHTYPES_TD
#define MLSYS_IR_GRAPHTYPES_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/TensorEncoding.td"

def Graph_Dialect : Dialect {
  let name = "graph";
  let cppNamespace = "::mlsys::graph";
  let summary = "Tensor programs of machine-learning models";
  let description = [{
    A model as its authors wrote it. Composite operations (`graph.rms_norm`,
    `graph.linear`, ...) exist to be recognized and read; `-mlsys-decompose`
    rewrites them into primitives, and `-mlsys-fuse` groups primitives into
    `graph.fusion`, one kernel each.

    A dynamic dimension is named by the tensor's encoding,
    `tensor<?x64xf32, #graph.dims<[T, 64]>>`. Equal names are equal extents.
    A function lists its symbols in the attribute `graph.symbols`, an array of
    `#graph.symbol`. A module lists the files of its weights in
    `graph.weight_files`, an array of strings.

    Function arguments and results carry `graph.role` (a string: the lower-case
    name of a `Role` in Program.fbs, such as "token_ids") and `graph.name`, the
    name that a user gives to `--input`.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

//===----------------------------------------------------------------------===//
// Attributes and types
//===----------------------------------------------------------------------===//

class Graph_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Graph_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Graph_DimsAttr : Graph_Attr<"Dims", "dims",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "The extents of a tensor, dynamic ones by name";
  let description = [{
    One entry a dimension: an integer, or a polynomial over symbols such as `T`, `B*S` or
    `R + 1` (anything but a plain name or integer is written as a string). Entries
    are kept in canonical form (see DimExpr), so equal extents are equal attributes.

    ```mlir
    tensor<?x64xf32, #graph.dims<[T, 64]>>
    tensor<?x64xf32, #graph.dims<["B*S", 64]>>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$dims);
  let hasCustomAssemblyFormat = 1;
}

def Graph_SymbolAttr : Graph_Attr<"Symbol", "symbol"> {
  let summary = "A named extent with its range and a typical value";
  let description = [{
    `max` is inclusive; -1 means unbounded. The hint is within the range.

    ```mlir
    #graph.symbol<"T", min = 1, max = 512, hint = 512>
    ```
  }];
  let parameters = (ins StringRefParameter<>:$name, "int64_t":$min,
                        "int64_t":$max, "int64_t":$hint);
  let assemblyFormat = "`<` $name `,` `min` `=` $min `,` `max` `=` $max `,` `hint` `=` $hint `>`";
  let genVerifyDecl = 1;
}

def Graph_WeightSourceAttr : Graph_Attr<"WeightSource", "weight_source"> {
  let summary = "Where a weight's elements lie in a file";
  let description = [{
    `file` is an index into the module's `graph.weight_files`; `dtype` is the
    type in the file, in lower case: f32, f16, bf16, q8_0, q4_0, q4_1, ...
    `shape` is the tensor's in its file, a matrix of rows (all dimensions but the
    last); `transposed` reads that matrix's transpose. `rows`, when there,
    is four numbers: the rows that are taken are the last number of groups of
    `rows[1]` rows, the first at `rows[0]`, each `rows[2]` after the one before.
    `unpermute_rows`, when not 0, is the number of rows of an attention head
    that are stored in interleaved-rope order and are put back into
    halves order; `head_rows` is how many rows the head has, 0 for the same. `dtype = "random"` makes uniform values of
    standard deviation 0.02 from the seed in `offset`, and `file` is -1.
  }];
  let parameters = (ins "int64_t":$file, "uint64_t":$offset, "uint64_t":$bytes,
                        StringRefParameter<>:$dtype,
                        ArrayRefParameter<"int64_t">:$shape,
                        OptionalParameter<"bool">:$transposed,
                        OptionalArrayRefParameter<"int64_t">:$rows,
                        DefaultValuedParameter<"int64_t", "0">:$unpermuteRows,
                        DefaultValuedParameter<"int64_t", "0">:$headRows);
  let assemblyFormat = [{
    `<` `file` `=` $file `,` `offset` `=` $offset `,` `bytes` `=` $bytes `,`
    `dtype` `=` $dtype `,` `shape` `=` `[` $shape `]`
    (`transposed` `=` $transposed^)? (`rows` `=` `[` $rows^ `]`)?
    (`unpermute_rows` `=` $unpermuteRows^)? (`head_rows` `=` $headRows^)? `>`
  }];
  let extraClassDeclaration = [{
    /// How many rows are taken; -1 when that cannot be said.
    int64_t countTakenRows() const;
  }];
}

def Graph_WeightStackAttr : Graph_Attr<"WeightStack", "weight_stack"> {
  let summary = "Weight sources one after another, row by row";
  let description = [{
    ```mlir
    #graph.weight_stack<[#graph.weight_source<...>, #graph.weight_source<...>]>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::mlsys::graph::WeightSourceAttr">:$parts);
  let assemblyFormat = "`<` `[` $parts `]` `>`";
}

/// One source, or several.
def Graph_WeightSources : AnyAttrOf<[Graph_WeightSourceAttr, Graph_WeightStackAttr],
    "a weight source or a stack of them">;

class Graph_Type<string name, string typeMnemonic, list<Trait> traits = []>
    : TypeDef<Graph_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
}

def Graph_KvCacheType : Graph_Type<"KvCache", "kv_cache"> {
  let summary = "The paged KV cache of a model: all layers";
  let description = [{
    Pages of `pageSize` tokens; each page holds K and V of every layer. The order
    of elements inside a layer's part of a page belongs to the target.

    ```mlir
    !graph.kv_cache<layers = 30, heads = 3, dim = 64, page = 64, bf16>
    ```
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads, "int64_t":$headDim,
                        "int64_t":$pageSize, "::mlir::Type":$elementType);
  let assemblyFormat = [{
    `<` `layers` `=` $layers `,` `heads` `=` $heads `,` `dim` `=` $headDim `,`
    `page` `=` $pageSize `,` $elementType `>`
  }];
  let genVerifyDecl = 1;
}

def Graph_KvLayerType : Graph_Type<"KvLayer", "kv_layer"> {
  let summary = "One layer of a paged KV cache";
  let description = [{
    ```mlir
    !graph.kv_layer<layers = 30, heads = 3, dim = 64, page = 64, bf16>
    ```
    `layers` is that of the whole cache: it decides the distance of two pages.
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads, "int64_t":$headDim,
                        "int64_t":$pageSize, "::mlir::Type":$elementType);
  let assemblyFormat = [{
    `<` `layers` `=` $layers `,` `heads` `=` $heads `,` `dim` `=` $headDim `,`
    `page` `=` $pageSize `,` $elementType `>`
  }];
  let genVerifyDecl = 1;
}

def Graph_Float : AnyTypeOf<[F16, BF16, F32, F64], "16, 32 or 64-bit float">;
def Graph_Integer : AnyTypeOf<[I1, I8, UI8, I16, I32, I64], "integer or boolean">;
def Graph_Element : AnyTypeOf<[Graph_Float, Graph_Integer], "number or boolean">;
def Graph_Tensor : RankedTensorOf<[Graph_Element]>;
def Graph_FloatTensor : RankedTensorOf<[Graph_Float]>;
/// What products multiply.
def Graph_DotTensor : RankedTensorOf<[Graph_Float, I8, UI8]>;
def Graph_IndexTensor : RankedTensorOf<[I32, I64]>;
def Graph_BoolTensor : RankedTensorOf<[I1]>;

def Graph_ReduceSum : I32EnumAttrCase<"sum", 0>;
def Graph_ReduceMax : I32EnumAttrCase<"max", 1>;
def Graph_ReduceMin : I32EnumAttrCase<"min", 2>;
def Graph_ReduceProd : I32EnumAttrCase<"prod", 3>;
def Graph_ReduceKind : I32EnumAttr<"ReduceKind", "reduction",
    [Graph_ReduceSum, Graph_ReduceMax, Graph_ReduceMin, Graph_ReduceProd]> {
  let cppNamespace = "::mlsys::graph";
  let genSpecializedAttr = 0;
}
def Graph_ReduceKindAttr : EnumAttr<Graph_Dialect, Graph_ReduceKind, "reduce_kind">;

#endif // MLSYS_IR_GRAPHTYPES_TD
