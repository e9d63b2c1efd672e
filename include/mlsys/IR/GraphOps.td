//===- GraphOps.td - The graph dialect ---------------------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What a model computes: values are tensors, dynamic dimensions have names.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_IR_GRAPHOPS_TD
#define MLSYS_IR_GRAPHOPS_TD

include "mlsys/IR/GraphBase.td"

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

def Graph_ConstantOp : Graph_PureOp<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A tensor whose elements stand in the IR";
  let description = [{
    ```mlir
    %c = graph.constant dense<2.0> : tensor<f32>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def Graph_WeightOp : Graph_PureOp<"weight"> {
  let summary = "A tensor whose elements lie in a file";
  let description = [{
    The elements are read, dequantized and converted to the result's element
    type when the program is loaded. A weight of i8 is i8 in its file, or random.

    ```mlir
    %w = graph.weight "model.norm.weight" : tensor<64xf32> from #graph.weight_source<file = 0,
      offset = 1024, bytes = 256, dtype = "f32", shape = [64]>
    ```
  }];
  let arguments = (ins StrAttr:$name, Graph_WeightSources:$source);
  let results = (outs Graph_DotTensor:$result);
  let assemblyFormat = "$name `:` type($result) `from` $source attr-dict";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

class Graph_FloatUnaryOp<string mnemonic, string what, string formula>
    : Graph_UnaryOp<mnemonic, Graph_FloatTensor> {
  let summary = what;
  let description = !strconcat("`", formula, "`, elementwise, in f32 for 16-bit types.\n\n```mlir\n%y = graph.",
      mnemonic, " %x : tensor<4xf32>\n```\n");
}

def Graph_NegOp : Graph_FloatUnaryOp<"neg", "Negation", "-x"> { let hasFolder = 1; }
def Graph_AbsOp : Graph_FloatUnaryOp<"abs", "Absolute value", "|x|">;
def Graph_ExpOp : Graph_FloatUnaryOp<"exp", "Exponential", "e^x">;
def Graph_LogOp : Graph_FloatUnaryOp<"log", "Natural logarithm", "ln(x)">;
def Graph_SqrtOp : Graph_FloatUnaryOp<"sqrt", "Square root", "sqrt(x)">;
def Graph_RsqrtOp : Graph_FloatUnaryOp<"rsqrt", "Reciprocal square root", "1 / sqrt(x)">;
def Graph_TanhOp : Graph_FloatUnaryOp<"tanh", "Hyperbolic tangent", "tanh(x)">;
def Graph_SigmoidOp : Graph_FloatUnaryOp<"sigmoid", "Logistic function", "1 / (1 + e^-x)">;
def Graph_ErfOp : Graph_FloatUnaryOp<"erf", "Error function", "erf(x)">;
def Graph_SinOp : Graph_FloatUnaryOp<"sin", "Sine", "sin(x)">;
def Graph_CosOp : Graph_FloatUnaryOp<"cos", "Cosine", "cos(x)">;
def Graph_FloorOp : Graph_FloatUnaryOp<"floor", "Largest integer not above", "floor(x)">;
def Graph_CeilOp : Graph_FloatUnaryOp<"ceil", "Smallest integer not below", "ceil(x)">;
def Graph_RoundOp : Graph_FloatUnaryOp<"round", "Nearest integer; of two the even one", "round(x)">;

class Graph_ArithmeticOp<string mnemonic, string what, string formula, list<Trait> traits = []>
    : Graph_BinaryOp<mnemonic, Graph_Tensor, traits> {
  let summary = what;
  let description = !strconcat("`", formula, "`, elementwise; no broadcasting (use `graph.broadcast`).\n\n```mlir\n%z = graph.",
      mnemonic, " %x, %y : tensor<4xf32>\n```\n");
}
def Graph_AddOp : Graph_ArithmeticOp<"add", "Sum", "x + y", [Commutative]> { let hasFolder = 1; }
def Graph_SubOp : Graph_ArithmeticOp<"sub", "Difference", "x - y"> { let hasFolder = 1; }
def Graph_MulOp : Graph_ArithmeticOp<"mul", "Product", "x * y", [Commutative]> { let hasFolder = 1; }
def Graph_DivOp : Graph_ArithmeticOp<"div", "Quotient; truncated for integers", "x / y"> { let hasFolder = 1; }
def Graph_MaxOp : Graph_ArithmeticOp<"max", "Larger value; NaN if either is NaN", "max(x, y)", [Commutative]>;
def Graph_MinOp : Graph_ArithmeticOp<"min", "Smaller value; NaN if either is NaN", "min(x, y)", [Commutative]>;
def Graph_PowOp : Graph_ArithmeticOp<"pow", "Power", "x ^ y">;
def Graph_AndOp : Graph_BinaryOp<"and", Graph_BoolTensor, [Commutative]> {
  let summary = "Logical conjunction";
  let description = "`x && y`, elementwise.";
}
def Graph_OrOp : Graph_BinaryOp<"or", Graph_BoolTensor, [Commutative]> {
  let summary = "Logical disjunction";
  let description = "`x || y`, elementwise.";
}
def Graph_NotOp : Graph_UnaryOp<"not", Graph_BoolTensor> {
  let summary = "Logical negation";
  let description = "`!x`, elementwise.";
}

def Graph_Eq : I32EnumAttrCase<"eq", 0>;
def Graph_Ne : I32EnumAttrCase<"ne", 1>;
def Graph_Lt : I32EnumAttrCase<"lt", 2>;
def Graph_Le : I32EnumAttrCase<"le", 3>;
def Graph_Gt : I32EnumAttrCase<"gt", 4>;
def Graph_Ge : I32EnumAttrCase<"ge", 5>;
def Graph_Predicate : I32EnumAttr<"Predicate", "comparison",
    [Graph_Eq, Graph_Ne, Graph_Lt, Graph_Le, Graph_Gt, Graph_Ge]> {
  let cppNamespace = "::mlsys::graph";
  let genSpecializedAttr = 0;
}
def Graph_PredicateAttr : EnumAttr<Graph_Dialect, Graph_Predicate, "predicate">;

def Graph_CompareOp : Graph_PureOp<"compare", [Elementwise, SameTypeOperands, SameOperandsAndResultShape]> {
  let summary = "Elementwise comparison; with NaN everything but `ne` is false";
  let description = [{
    ```mlir
    %m = graph.compare lt %x, %y : tensor<4xf32> -> tensor<4xi1>
    ```
  }];
  let arguments = (ins Graph_PredicateAttr:$predicate, Graph_Tensor:$lhs, Graph_Tensor:$rhs);
  let results = (outs Graph_BoolTensor:$result);
  let assemblyFormat = "`` $predicate $lhs `,` $rhs attr-dict `:` type($lhs) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_SelectOp : Graph_PureOp<"select", [Elementwise, SameOperandsAndResultShape,
    AllTypesMatch<["trueValue", "falseValue", "result"]>]> {
  let summary = "Elementwise choice";
  let description = [{
    `condition ? trueValue : falseValue`.

    ```mlir
    %y = graph.select %m, %a, %b : tensor<4xi1>, tensor<4xf32>
    ```
  }];
  let arguments = (ins Graph_BoolTensor:$condition, Graph_Tensor:$trueValue, Graph_Tensor:$falseValue);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$condition `,` $trueValue `,` $falseValue attr-dict `:` type($condition) `,` type($result)";
  let hasVerifier = 1;
}

def Graph_ConvertOp : Graph_PureOp<"convert", [Elementwise, SameOperandsAndResultShape]> {
  let summary = "Element type conversion";
  let description = [{
    Float to narrower float rounds to nearest even; float to integer truncates
    towards zero, and an integer type narrower than i32 gets the low bits of the i32; a value
    outside i32 (i64 for i64) and NaN give an undefined integer. Integers to narrower ones keep their low bits.
    Inside a kernel 16-bit floats are computed in f32 and rounded only where a buffer is written.

    ```mlir
    %y = graph.convert %x : tensor<4xbf16> -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Reductions and data movement
//===----------------------------------------------------------------------===//

def Graph_ReduceOp : Graph_PureOp<"reduce", [SameOperandsAndResultElementType]> {
  let summary = "Reduction over some dimensions, which disappear";
  let description = [{
    16-bit floats accumulate in f32. `dims` is sorted. The maximum of values
    that include a NaN is NaN.

    ```mlir
    %s = graph.reduce sum %x dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Graph_ReduceKindAttr:$kind, Graph_Tensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "`` $kind $input `dims` $dims attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_BroadcastOp : Graph_PureOp<"broadcast", [SameOperandsAndResultElementType]> {
  let summary = "Repeats a tensor along new dimensions";
  let description = [{
    Dimension `i` of the input becomes dimension `dims[i]` of the result; `dims` is
    strictly increasing, and the extents are equal or the input's is 1.

    ```mlir
    %y = graph.broadcast %x dims [1] : tensor<8xf32> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input `dims` $dims attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_ReshapeOp : Graph_PureOp<"reshape", [SameOperandsAndResultElementType]> {
  let summary = "The same elements in row-major order under another shape";
  let description = [{
    ```mlir
    %y = graph.reshape %x : tensor<4x64xf32> -> tensor<4x4x16xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_TransposeOp : Graph_PureOp<"transpose", [SameOperandsAndResultElementType]> {
  let summary = "Permutation of dimensions";
  let description = [{
    Dimension `i` of the result is dimension `permutation[i]` of the input.

    ```mlir
    %y = graph.transpose %x permutation [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input `permutation` $permutation attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_SliceOp : Graph_PureOp<"slice", [SameOperandsAndResultElementType]> {
  let summary = "A box of a tensor";
  let description = [{
    Starts at `offsets`, one step a dimension; the extents are the result's. A
    dimension whose extent is dynamic in the result is taken whole.

    ```mlir
    %y = graph.slice %x offsets [0, 8] : tensor<4x16xf32> -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input, DenseI64ArrayAttr:$offsets);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input `offsets` $offsets attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_ConcatOp : Graph_PureOp<"concat", [SameOperandsAndResultElementType]> {
  let summary = "Tensors one after another along one dimension";
  let description = [{
    ```mlir
    %y = graph.concat %a, %b dim 1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
    ```
  }];
  let arguments = (ins Variadic<Graph_Tensor>:$inputs, I64Attr:$dim);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$inputs `dim` $dim attr-dict `:` functional-type($inputs, $result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Graph_GatherOp : Graph_PureOp<"gather", [AllElementTypesMatch<["table", "result"]>]> {
  let summary = "Rows of a table";
  let description = [{
    `result[i..., j...] = table[indices[i...], j...]`. An index outside the
    table gives an undefined row; callers check token ids.

    ```mlir
    %y = graph.gather %table, %ids : tensor<512x64xf32>, tensor<4xi64> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$table, Graph_IndexTensor:$indices);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$table `,` $indices attr-dict `:` type($table) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_IotaOp : Graph_PureOp<"iota"> {
  let summary = "The index along one dimension";
  let description = [{
    ```mlir
    %p = graph.iota dim 0 : tensor<?xi32, #graph.dims<[S]>>
    ```
  }];
  let arguments = (ins I64Attr:$dim);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "`dim` $dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Heroes
//===----------------------------------------------------------------------===//

def Graph_DotOp : Graph_PureOp<"dot"> {
  let summary = "Contraction of two tensors";
  let description = [{
    Dimensions `batch` are paired one to one and come first in the result, then
    the free dimensions of `lhs`, then those of `rhs`; `contract` is summed over,
    in f32 for 16-bit types. The result's element type is the operands' or f32.

    Of integers, `lhs` is i8 or ui8, `rhs` i8 and the result i32: sums are exact but for
    wrapping around, so every target gives the same bits.

    ```mlir
    %y = graph.dot %x, %w batch [] x [] contract [1] x [1]
       : tensor<4x64xf32>, tensor<128x64xf32> -> tensor<4x128xf32>
    %z = graph.dot %q, %v batch [] x [] contract [1] x [1]
       : tensor<4x64xi8>, tensor<128x64xi8> -> tensor<4x128xi32>
    ```
  }];
  let arguments = (ins Graph_DotTensor:$lhs, Graph_DotTensor:$rhs,
                       DenseI64ArrayAttr:$lhsBatch, DenseI64ArrayAttr:$rhsBatch,
                       DenseI64ArrayAttr:$lhsContract, DenseI64ArrayAttr:$rhsContract);
  let results = (outs RankedTensorOf<[Graph_Float, I32]>:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `batch` $lhsBatch `x` $rhsBatch `contract` $lhsContract `x` $rhsContract
    attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Graph_ExpertDotOp : Graph_PureOp<"expert_dot"> {
  let summary = "Products of rows with the matrices of chosen experts";
  let description = [{
    `lhs` is [..., D], a row for each token, or [..., K, D], a row for each of the token's K
    experts; `rhs` is [E, N, D], a matrix for each expert; `experts` is [..., K].
    `result[..., k, n]` is the sum over d of `lhs[..., (k,) d] * rhs[experts[..., k], n, d]`, in
    f32 for 16-bit types. The result's element type is the operands' or f32. An expert outside
    0 to E - 1 gives an undefined row.

    ```mlir
    %y = graph.expert_dot %x, %w, %e
       : tensor<4x64xf32>, tensor<8x128x64xf32>, tensor<4x2xi32> -> tensor<4x2x128xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$lhs, Graph_FloatTensor:$rhs, Graph_IndexTensor:$experts);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $experts attr-dict `:` type($lhs) `,` type($rhs) `,` type($experts) `->` type($result)
  }];
  let extraClassDeclaration = [{
    /// Whether `lhs` has a row for each expert of a token instead of one for the token.
    bool hasRowPerExpert() {
      return getLhs().getType().getRank() > getExperts().getType().getRank();
    }
  }];
  let hasVerifier = 1;
}

def Graph_AttentionOp : Graph_PureOp<"attention",
    [AllTypesMatch<["query", "result"]>, AllTypesMatch<["key", "value"]>]> {
  let summary = "Scaled dot-product attention over whole sequences";
  let description = [{
    Query [B, S, H, D], key and value [B, S, G, D], H a multiple of G: query head
    h reads key head h / (H / G). `softmax(scale * q k^T) v`, in f32; with `causal`
    position i sees keys 0..i only, and with `window` N of those the last N: j with
    i - N < j <= i. With `softcap` C a score s becomes C * tanh(s / C) before the softmax.
    With `slopes`, one number a query head, slopes[h] * (j - i) is then added to the score of
    query i and key j (ALiBi); that needs `causal`.

    ```mlir
    %o = graph.attention %q, %k, %v causal window 4 softcap 5.0e1 scale 2.5e-1
       : tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>
    %a = graph.attention %q, %k, %v causal slopes [0.5, 0.25, 0.125, 0.0625] scale 2.5e-1
       : tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$query, Graph_FloatTensor:$key,
                       Graph_FloatTensor:$value, UnitAttr:$causal, F32Attr:$scale,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<F32Attr>:$softcap,
                       OptionalAttr<DenseF32ArrayAttr>:$slopes);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`causal` $causal^)? (`window` $window^)? (`softcap` $softcap^)?
    (`slopes` $slopes^)? `scale` $scale attr-dict `:` type($query) `,` type($key)
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$query, "::mlir::Value":$key, "::mlir::Value":$value,
                   "::mlir::UnitAttr":$causal, "::mlir::FloatAttr":$scale), [{
      build($_builder, $_state, type, query, key, value, causal, scale, /*window=*/{}, /*softcap=*/{}, /*slopes=*/{});
    }]>,
    OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$query, "::mlir::Value":$key, "::mlir::Value":$value,
                   "bool":$causal, "::llvm::APFloat":$scale), [{
      build($_builder, $_state, type, query, key, value, causal ? $_builder.getUnitAttr() : ::mlir::UnitAttr(),
            $_builder.getFloatAttr($_builder.getF32Type(), scale), /*window=*/{}, /*softcap=*/{}, /*slopes=*/{});
    }]>];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The KV cache
//===----------------------------------------------------------------------===//

def Graph_CacheLayerOp : Graph_PureOp<"cache_layer"> {
  let summary = "One layer of the KV cache";
  let description = [{
    ```mlir
    %l = graph.cache_layer %cache layer 3 : !graph.kv_cache<...> -> !graph.kv_layer<...>
    ```
  }];
  let arguments = (ins Graph_KvCacheType:$cache, I64Attr:$layer);
  let results = (outs Graph_KvLayerType:$result);
  let assemblyFormat = "$cache `layer` $layer attr-dict `:` type($cache) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_KeyCache : I32EnumAttrCase<"key", 0>;
def Graph_ValueCache : I32EnumAttrCase<"value", 1>;
def Graph_CachePart : I32EnumAttr<"CachePart", "part of a KV cache", [Graph_KeyCache, Graph_ValueCache]> {
  let cppNamespace = "::mlsys::graph";
  let genSpecializedAttr = 0;
}
def Graph_CachePartAttr : EnumAttr<Graph_Dialect, Graph_CachePart, "cache_part">;

def Graph_CacheWriteOp : Graph_PureOp<"cache_write", [AllTypesMatch<["layer", "result"]>]> {
  let summary = "Writes the keys or the values of new tokens into a layer of the cache";
  let description = [{
    `input` is [T, G, D]; token t goes to page `slots[t] / page`, row
    `slots[t] % page`; a negative slot is skipped. The result is the layer after
    the write, in the same memory: each layer value is used by one write only, and
    reads use the result. The input is converted to the cache's element type.

    ```mlir
    %l1 = graph.cache_write key %l0, %k, %slots : !graph.kv_layer<...>,
      tensor<4x2x16xf32>, tensor<4xi64>
    ```
  }];
  let arguments = (ins Graph_CachePartAttr:$part, Graph_KvLayerType:$layer,
                       Graph_FloatTensor:$input, Graph_IndexTensor:$slots);
  let results = (outs Graph_KvLayerType:$result);
  let assemblyFormat = [{
    `` $part $layer `,` $input `,` $slots attr-dict `:` type($layer) `,` type($input) `,` type($slots)
  }];
  let hasVerifier = 1;
}

def Graph_PagedAttentionOp : Graph_PureOp<"paged_attention", [AllTypesMatch<["query", "result"]>]> {
  let summary = "Attention of new tokens over the KV cache";
  let description = [{
    Query [T, H, D]: the tokens of request r are rows `queryStart[r]` to
    `queryStart[r + 1]`; its keys are the first `contextLength[r]` rows of the pages
    `blockTable[r, ...]`, the new tokens (already written) last. Query i of n has the
    position p = contextLength - n + i and sees the keys 0 .. p; with `window` N those
    after p - N only, and no page that holds none of them is read; with `bidirectional`
    every key. `softcap` and `slopes` are those of `graph.attention`. A request of context length 0 gives zeros.
    The cache's element type may differ from the query's.

    ```mlir
    %o = graph.paged_attention %q, %layer, %queryStart, %contextLength, %blockTable window 64 scale 2.5e-1
       : tensor<4x4x16xf32>, !graph.kv_layer<...>, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$query, Graph_KvLayerType:$layer,
                       Graph_IndexTensor:$queryStart, Graph_IndexTensor:$contextLength,
                       Graph_IndexTensor:$blockTable, F32Attr:$scale, UnitAttr:$bidirectional,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<F32Attr>:$softcap,
                       OptionalAttr<DenseF32ArrayAttr>:$slopes);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $query `,` $layer `,` $queryStart `,` $contextLength `,` $blockTable
    (`bidirectional` $bidirectional^)? (`window` $window^)? (`softcap` $softcap^)? (`slopes` $slopes^)?
    `scale` $scale attr-dict
    `:` type($query) `,` type($layer) `,` type($queryStart) `,` type($contextLength) `,` type($blockTable)
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$query, "::mlir::Value":$layer,
                   "::mlir::Value":$queryStart, "::mlir::Value":$contextLength, "::mlir::Value":$blockTable,
                   "::mlir::FloatAttr":$scale), [{
      build($_builder, $_state, type, query, layer, queryStart, contextLength, blockTable, scale,
            /*bidirectional=*/{}, /*window=*/{}, /*softcap=*/{}, /*slopes=*/{});
    }]>];
  let hasVerifier = 1;
}

def Graph_LastTokenOp : Graph_PureOp<"last_token", [AllElementTypesMatch<["input", "result"]>]> {
  let summary = "The row of each request's last token";
  let description = [{
    `result[r, ...] = input[queryStart[r + 1] - 1, ...]`.

    ```mlir
    %y = graph.last_token %x, %queryStart : tensor<4x64xf32>, tensor<3xi32> -> tensor<2x64xf32>
    ```
  }];
  let arguments = (ins Graph_Tensor:$input, Graph_IndexTensor:$queryStart);
  let results = (outs Graph_Tensor:$result);
  let assemblyFormat = "$input `,` $queryStart attr-dict `:` type($input) `,` type($queryStart) `->` type($result)";
  let hasVerifier = 1;
}

include "mlsys/IR/GraphComposites.td"

//===----------------------------------------------------------------------===//
// Fusions
//===----------------------------------------------------------------------===//

/// What passes between fusions.
def Graph_FusionValue : AnyTypeOf<[Graph_Tensor, Graph_KvLayerType]>;

def Graph_FusionOp : Graph_Op<"fusion", [IsolatedFromAbove, Pure,
    SingleBlockImplicitTerminator<"::mlsys::graph::YieldOp">]> {
  let summary = "Operations that become one kernel";
  let description = [{
    The block's arguments are the inputs. `kind` is the shape of the kernel:
    `loop` (pointwise at every output index), `row` (reductions over the last
    dimension, one row at a time), `dot` (one or more sibling dots with the
    same left side, its prologue before and epilogue after, or sibling products with experts),
    `attention`.
    FusionAnalysis.h says which bodies each kind may have.

    ```mlir
    %y = graph.fusion "loop"(%x, %z) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> {
    ^bb0(%a: tensor<4xf32>, %b: tensor<4xf32>):
      %0 = graph.add %a, %b : tensor<4xf32>
      graph.yield %0 : tensor<4xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$kind, Variadic<Graph_FusionValue>:$inputs);
  let results = (outs Variadic<Graph_FusionValue>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $kind `(` $inputs `)` attr-dict-with-keyword `:` functional-type($inputs, $results) $body
  }];
  let hasRegionVerifier = 1;
}

def Graph_YieldOp : Graph_Op<"yield", [Pure, Terminator, HasParent<"::mlsys::graph::FusionOp">]> {
  let summary = "The results of a fusion";
  let description = "Ends a `graph.fusion`.";
  let arguments = (ins Variadic<Graph_FusionValue>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ (void)$_state; }]>];
}

#endif // MLSYS_IR_GRAPHOPS_TD
