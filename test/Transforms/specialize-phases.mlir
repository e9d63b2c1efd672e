// RUN: mlsys-opt %s -mlsys-specialize-phases="decode-buckets=4,1,4" | FileCheck %s
// RUN: mlsys-opt %s -mlsys-specialize-phases | FileCheck %s --check-prefix=DEFAULT
// RUN: mlsys-opt %s -mlsys-specialize-phases | mlsys-opt -mlsys-specialize-phases | FileCheck %s --check-prefix=DEFAULT

// DEFAULT-NOT: @step
// DEFAULT: func.func @decode_1(
// DEFAULT: func.func @decode_2(
// DEFAULT: func.func @decode_4(
// DEFAULT: func.func @decode_8(
// DEFAULT: func.func @prefill(
// DEFAULT-NOT: @step

// Other phases stay.
// CHECK: func.func @forward(%{{.*}}: tensor<?xf32, #graph.dims<[T]>>)
func.func @forward(%x: tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>> attributes {graph.phase = "plain"} {
  return %x : tensor<?xf32, #graph.dims<[T]>>
}

// Buckets are sorted and made once. The tokens are the requests, and each is the last of its own.
// CHECK-LABEL: func.func @decode_1(
// CHECK-SAME:    %[[IDS:[^:]*]]: tensor<1xi64> {graph.role = "token_ids"}
// CHECK-SAME:    %[[START:[^:]*]]: tensor<2xi32> {graph.role = "query_start"}
// CHECK-SAME:    %[[CONTEXT:[^:]*]]: tensor<1xi32> {graph.role = "context_length"}
// CHECK-SAME:    %[[TABLE:[^:]*]]: tensor<1x?xi32, #graph.dims<[1, P]>> {graph.role = "block_table"}
// CHECK-SAME:    -> (tensor<1x4xf32> {graph.role = "logits"})
// CHECK-SAME:    attributes {graph.bucket = 1 : i64, graph.phase = "decode", graph.symbols = [#graph.symbol<"P", min = 1, max = 8, hint = 4>]}
// CHECK-NEXT:    graph.constant
// CHECK-NEXT:    %[[X:.*]] = graph.gather %{{.*}}, %[[IDS]] : tensor<8x4xf32>, tensor<1xi64> -> tensor<1x4xf32>
// CHECK-NEXT:    graph.fusion "loop"(%[[X]]) : (tensor<1x4xf32>) -> tensor<1x4xf32>
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<1x4xf32>):
// CHECK-NOT:     graph.last_token
// CHECK:         return

// CHECK-LABEL: func.func @decode_4(
// CHECK-SAME:    tensor<4xi64>
// CHECK-SAME:    tensor<5xi32>
// CHECK-SAME:    tensor<4x?xi32, #graph.dims<[4, P]>>
// CHECK-SAME:    graph.bucket = 4 : i64
// CHECK-NOT:   func.func @decode

// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    tensor<?xi64, #graph.dims<[T]>>
// CHECK-SAME:    tensor<?xi32, #graph.dims<["R + 1"]>>
// CHECK-SAME:    graph.phase = "prefill", graph.symbols = [#graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>, #graph.symbol<"P", min = 1, max = 8, hint = 4>]
// CHECK:         graph.last_token
// CHECK-NOT:   func.func
func.func @step(%ids: tensor<?xi64, #graph.dims<[T]>> {graph.role = "token_ids"}, %start: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.role = "query_start"},
                %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"}, %blocks: tensor<?x?xi32, #graph.dims<[R, P]>> {graph.role = "block_table"})
    -> (tensor<?x4xf32, #graph.dims<[R, 4]>> {graph.role = "logits"})
    attributes {graph.phase = "step", graph.symbols = [#graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>,
                                                       #graph.symbol<"P", min = 1, max = 8, hint = 4>]} {
  %table = graph.constant dense<1.0> : tensor<8x4xf32>
  %x = graph.gather %table, %ids : tensor<8x4xf32>, tensor<?xi64, #graph.dims<[T]>> -> tensor<?x4xf32, #graph.dims<[T, 4]>>
  %e = graph.fusion "loop"(%x) : (tensor<?x4xf32, #graph.dims<[T, 4]>>) -> tensor<?x4xf32, #graph.dims<[T, 4]>> {
  ^bb0(%a: tensor<?x4xf32, #graph.dims<[T, 4]>>):
    %0 = graph.exp %a : tensor<?x4xf32, #graph.dims<[T, 4]>>
    graph.yield %0 : tensor<?x4xf32, #graph.dims<[T, 4]>>
  }
  %l = graph.last_token %e, %start : tensor<?x4xf32, #graph.dims<[T, 4]>>, tensor<?xi32, #graph.dims<["R + 1"]>> -> tensor<?x4xf32, #graph.dims<[R, 4]>>
  return %l : tensor<?x4xf32, #graph.dims<[R, 4]>>
}
