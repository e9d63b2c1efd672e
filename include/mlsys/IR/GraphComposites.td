//===- GraphComposites.td - Composite graph operations -----*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Operations of models that are made of primitives: -mlsys-decompose rewrites them.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_IR_GRAPHCOMPOSITES_TD
#define MLSYS_IR_GRAPHCOMPOSITES_TD

include "mlsys/IR/GraphBase.td"

def Graph_EmbeddingOp : Graph_PureOp<"embedding", [AllElementTypesMatch<["table", "result"]>]> {
  let summary = "Token embedding";
  let description = [{
    `graph.gather` by token id.

    ```mlir
    %x = graph.embedding %ids, %table : tensor<4xi64>, tensor<512x64xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins Graph_IndexTensor:$ids, Graph_FloatTensor:$table);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_LinearOp : Graph_PureOp<"linear"> {
  let summary = "Matrix product with a weight of [out, in], and a bias";
  let description = [{
    `input * weight^T + bias`, over the last dimension, accumulated in f32.

    ```mlir
    %y = graph.linear %x, %w bias %b : (tensor<4x64xf32>, tensor<128x64xf32>, tensor<128xf32>) -> tensor<4x128xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, Graph_FloatTensor:$weight, Optional<Graph_FloatTensor>:$bias);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
  let hasVerifier = 1;
}

def Graph_RmsNormOp : Graph_PureOp<"rms_norm", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Root-mean-square normalization over the last dimension";
  let description = [{
    `input / sqrt(mean(input * input) + epsilon) * scale`, the mean in f32.

    ```mlir
    %y = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<4x8xf16>, tensor<8xf16>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, Graph_FloatTensor:$scale, F32Attr:$epsilon);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = "$input `,` $scale `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def Graph_LayerNormOp : Graph_PureOp<"layer_norm",
    [AttrSizedOperandSegments, AllTypesMatch<["input", "result"]>]> {
  let summary = "Normalization to mean 0 and variance 1 over the last dimension";
  let description = [{
    `(input - mean(input)) / sqrt(variance(input) + epsilon) * scale + bias`, in f32; the variance is
    the mean of squared differences. Without `scale` it is 1, without `bias` 0.

    ```mlir
    %y = graph.layer_norm %x scale %w : tensor<8xf16> bias %b : tensor<8xf16> epsilon 1.0e-5 : tensor<4x8xf16>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, Optional<Graph_FloatTensor>:$scale,
                       Optional<Graph_FloatTensor>:$bias, F32Attr:$epsilon);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`scale` $scale^ `:` type($scale))? (`bias` $bias^ `:` type($bias))? `epsilon` $epsilon
    attr-dict `:` type($input)
  }];
  let hasVerifier = 1;
}

def Graph_RopeOp : Graph_PureOp<"rope", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotary position embedding, halves order";
  let description = [{
    `input` is [..., H, D] and `positions` has the leading dimensions of the
    input or the last of them ([S] for [B, S, H, D]). With a = position * frequencies[j], the pair
    (x[j], x[j + N]) becomes (x[j] cos a - x[j + N] sin a, x[j + N] cos a + x[j] sin a),
    in f32. `frequencies` is f32 of [N], 2 N at most D: dimensions from 2 N on stay as they are. It may begin with
    the dimensions of `positions`, when each position has frequencies of its own. Scaling of long contexts is
    already in it; `factor`, 1 when absent, multiplies cosines and sines.

    ```mlir
    %y = graph.rope %x, %positions, %frequencies : tensor<1x8x4x16xf32>, tensor<8xi32>, tensor<8xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, Graph_IndexTensor:$positions, Graph_FloatTensor:$frequencies,
                       OptionalAttr<F32Attr>:$factor);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $positions `,` $frequencies (`factor` $factor^)? attr-dict
    `:` type($input) `,` type($positions) `,` type($frequencies)
  }];
  let hasVerifier = 1;
}

def Graph_GeluOp : Graph_PureOp<"gelu", [Elementwise, SameOperandsAndResultType]> {
  let summary = "Gaussian error linear unit";
  let description = [{
    `x / 2 * (1 + erf(x / sqrt(2)))`; with `tanh` its approximation
    `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` (https://arxiv.org/abs/1606.08415).

    ```mlir
    %y = graph.gelu %x tanh : tensor<4xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, UnitAttr:$tanh);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = "$input (`tanh` $tanh^)? attr-dict `:` type($result)";
}

def Graph_SiluOp : Graph_UnaryOp<"silu", Graph_FloatTensor> {
  let summary = "Sigmoid linear unit";
  let description = [{
    `x * sigmoid(x)`.

    ```mlir
    %y = graph.silu %x : tensor<4xf32>
    ```
  }];
}

def Graph_SoftmaxOp : Graph_PureOp<"softmax", [SameOperandsAndResultType]> {
  let summary = "Softmax over one dimension";
  let description = [{
    `exp(x - max(x)) / sum(exp(x - max(x)))`, in f32.

    ```mlir
    %y = graph.softmax %x dim 1 : tensor<4x8xf32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, I64Attr:$dim);
  let results = (outs Graph_FloatTensor:$result);
  let assemblyFormat = "$input `dim` $dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Graph_TopKOp : Graph_PureOp<"top_k", [AllElementTypesMatch<["input", "values"]>]> {
  let summary = "The k largest elements of the last dimension and where they are";
  let description = [{
    In descending order; of equal elements the one with the lower index comes first. NaN counts as
    the largest.

    ```mlir
    %v, %i = graph.top_k %x k 2 : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<4x2xi32>
    ```
  }];
  let arguments = (ins Graph_FloatTensor:$input, I64Attr:$k);
  let results = (outs Graph_FloatTensor:$values, Graph_IndexTensor:$indices);
  let assemblyFormat = [{
    $input `k` $k attr-dict `:` type($input) `->` type($values) `,` type($indices)
  }];
  let hasVerifier = 1;
}

#endif // MLSYS_IR_GRAPHCOMPOSITES_TD
