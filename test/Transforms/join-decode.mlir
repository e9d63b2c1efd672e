// RUN: mlsys-opt %s -split-input-file -mlsys-join-decode | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-join-decode="rows=2" | FileCheck %s --check-prefix=TWO
// RUN: mlsys-opt %s -split-input-file -mlsys-join-decode="rows=1" | FileCheck %s --check-prefix=ONE

// The buckets up to 8 become one function of at most 4 requests: prefill with as many tokens as requests.
// CHECK-NOT:     @decode_1(
// CHECK-LABEL: func.func @decode_4(
// CHECK-SAME:    %[[IDS:[^:]*]]: tensor<?xi64, #graph.dims<[R]>> {graph.role = "token_ids"}
// CHECK-SAME:    tensor<?xi32, #graph.dims<["R + 1"]>>
// CHECK-SAME:    -> (tensor<?x8xf32, #graph.dims<[R, 8]>> {graph.role = "logits"})
// CHECK-SAME:    attributes {graph.bucket = 4 : i64, graph.phase = "decode", graph.symbols = [#graph.symbol<"R", min = 1, max = 4, hint = 1>]}
// CHECK:         %[[X:.*]] = graph.gather %{{.*}}, %[[IDS]] : tensor<8x4xbf16>, tensor<?xi64, #graph.dims<[R]>> -> tensor<?x4xbf16, #graph.dims<[R, 4]>>
// CHECK-NEXT:    graph.dot %[[X]]
// CHECK-NOT:     graph.last_token
// CHECK:       func.func @decode_16(
// CHECK:       func.func @prefill(
// CHECK-SAME:    graph.symbols = [#graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>]
// CHECK:         graph.last_token

// TWO-LABEL:   func.func @decode_2(%{{[^:]*}}: tensor<?xi64
// TWO:           #graph.symbol<"R", min = 1, max = 2, hint = 1>
// TWO:         func.func @decode_4(%{{[^:]*}}: tensor<4xi64>

// A single bucket stays.
// ONE:         func.func @decode_1(%{{[^:]*}}: tensor<1xi64>
// ONE:         func.func @decode_2(%{{[^:]*}}: tensor<2xi64>
func.func @decode_1(%ids: tensor<1xi64> {graph.role = "token_ids"}, %start: tensor<2xi32> {graph.role = "query_start"}, %context: tensor<1xi32> {graph.role = "context_length"})
    -> (tensor<1x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 1 : i64} {
  %l = graph.constant dense<1.0> : tensor<1x8xf32>
  return %l : tensor<1x8xf32>
}
func.func @decode_2(%ids: tensor<2xi64> {graph.role = "token_ids"}, %start: tensor<3xi32> {graph.role = "query_start"}, %context: tensor<2xi32> {graph.role = "context_length"})
    -> (tensor<2x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 2 : i64} {
  %l = graph.constant dense<1.0> : tensor<2x8xf32>
  return %l : tensor<2x8xf32>
}
func.func @decode_4(%ids: tensor<4xi64> {graph.role = "token_ids"}, %start: tensor<5xi32> {graph.role = "query_start"}, %context: tensor<4xi32> {graph.role = "context_length"})
    -> (tensor<4x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 4 : i64} {
  %l = graph.constant dense<1.0> : tensor<4x8xf32>
  return %l : tensor<4x8xf32>
}
func.func @decode_16(%ids: tensor<16xi64> {graph.role = "token_ids"}, %start: tensor<17xi32> {graph.role = "query_start"}, %context: tensor<16xi32> {graph.role = "context_length"})
    -> (tensor<16x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 16 : i64} {
  %l = graph.constant dense<1.0> : tensor<16x8xf32>
  return %l : tensor<16x8xf32>
}
func.func @prefill(%ids: tensor<?xi64, #graph.dims<[T]>> {graph.role = "token_ids"}, %start: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.role = "query_start"},
                   %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"})
    -> (tensor<?x8xf32, #graph.dims<[R, 8]>> {graph.role = "logits"})
    attributes {graph.phase = "prefill", graph.symbols = [#graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>]} {
  %table = graph.constant dense<1.0> : tensor<8x4xbf16>
  %x = graph.gather %table, %ids : tensor<8x4xbf16>, tensor<?xi64, #graph.dims<[T]>> -> tensor<?x4xbf16, #graph.dims<[T, 4]>>
  %y = graph.dot %x, %table batch [] x [] contract [1] x [1] : tensor<?x4xbf16, #graph.dims<[T, 4]>>, tensor<8x4xbf16> -> tensor<?x8xbf16, #graph.dims<[T, 8]>>
  %z = graph.convert %y : tensor<?x8xbf16, #graph.dims<[T, 8]>> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  %l = graph.last_token %z, %start : tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<?xi32, #graph.dims<["R + 1"]>> -> tensor<?x8xf32, #graph.dims<[R, 8]>>
  return %l : tensor<?x8xf32, #graph.dims<[R, 8]>>
}

// -----

// With 32-bit weights each row costs as much as the first: buckets stay as they are.
// CHECK:       func.func @decode_1(
// CHECK:       func.func @decode_2(
func.func @decode_1(%ids: tensor<1xi64> {graph.role = "token_ids"}, %context: tensor<1xi32> {graph.role = "context_length"})
    -> (tensor<1x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 1 : i64} {
  %l = graph.constant dense<1.0> : tensor<1x8xf32>
  return %l : tensor<1x8xf32>
}
func.func @decode_2(%ids: tensor<2xi64> {graph.role = "token_ids"}, %context: tensor<2xi32> {graph.role = "context_length"})
    -> (tensor<2x8xf32> {graph.role = "logits"}) attributes {graph.phase = "decode", graph.bucket = 2 : i64} {
  %l = graph.constant dense<1.0> : tensor<2x8xf32>
  return %l : tensor<2x8xf32>
}
func.func @prefill(%ids: tensor<?xi64, #graph.dims<[T]>> {graph.role = "token_ids"}, %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"})
    -> (tensor<?x8xf32, #graph.dims<[T, 8]>> {graph.role = "logits"})
    attributes {graph.phase = "prefill", graph.symbols = [#graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>]} {
  %table = graph.constant dense<1.0> : tensor<8x4xf32>
  %x = graph.gather %table, %ids : tensor<8x4xf32>, tensor<?xi64, #graph.dims<[T]>> -> tensor<?x4xf32, #graph.dims<[T, 4]>>
  %y = graph.dot %x, %table batch [] x [] contract [1] x [1] : tensor<?x4xf32, #graph.dims<[T, 4]>>, tensor<8x4xf32> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  return %y : tensor<?x8xf32, #graph.dims<[T, 8]>>
}
