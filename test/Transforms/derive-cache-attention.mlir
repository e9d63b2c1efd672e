// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache="page-size=2 prefill-chunk=32 kv-type=bf16" | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache="page-size=2" -mlsys-specialize-phases | FileCheck %s --check-prefix=PHASES
//
// What attention may be: windows, soft caps, encoders; and the type of the cache.

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>

// The largest window is that of the step.
// CHECK-LABEL: func.func @step
// CHECK-SAME:    !graph.kv_cache<layers = 2, heads = 2, dim = 4, page = 2, bf16>
// CHECK-SAME:    graph.window = 6 : i64
// CHECK:         graph.paged_attention {{.*}} window 4 softcap 3.000000e+01 scale 5.000000e-01
// CHECK:         graph.paged_attention {{.*}} window 6 slopes [5.000000e-01, 2.500000e-01] scale 5.000000e-01
// PHASES-LABEL: func.func @decode_1
// PHASES-SAME:    graph.window = 6 : i64
// PHASES:       func.func @prefill
// PHASES-SAME:    graph.window = 6 : i64
func.func @windows(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<0.5> : tensor<4x8xf32>
  %x = graph.embedding %ids, %table : !ids, tensor<4x8xf32> -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal window 4 softcap 30.0 scale 0.5 : !q, !q
  %b = graph.attention %a, %a, %a causal window 6 slopes [0.5, 0.25] scale 0.5 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>

// One layer sees everything: no page may be freed.
// CHECK-LABEL: func.func @step
// CHECK-NOT:     graph.window
// CHECK:         graph.paged_attention {{.*}} window 4
// CHECK:         graph.paged_attention
func.func @alternating(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<0.5> : tensor<4x8xf32>
  %x = graph.embedding %ids, %table : !ids, tensor<4x8xf32> -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal window 4 scale 0.5 : !q, !q
  %b = graph.attention %a, %a, %a causal scale 0.5 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>

// An encoder: one layer of cache, written again by each attention after the one before has
// read it; rows of all tokens; no decode functions.
// CHECK-LABEL: func.func @step
// CHECK-SAME:    %[[CACHE:[^:]*]]: !graph.kv_cache<layers = 1, heads = 2, dim = 4, page = 2, bf16>
// CHECK-SAME:    %[[TYPES:[^:]*]]: tensor<?xi64, #graph.dims<[T]>> {graph.name = "token_types", graph.role = "token_types"}
// CHECK-SAME:    -> (tensor<?x8xf32, #graph.dims<[T, 8]>> {graph.name = "logits", graph.role = "logits"})
// CHECK-SAME:    graph.bidirectional, graph.per_token
// CHECK-SAME:    #graph.symbol<"T", min = 1, max = 64, hint = 32>
// CHECK:         graph.embedding %[[TYPES]]
// CHECK:         %[[L0:.*]] = graph.cache_layer %[[CACHE]] layer 0
// CHECK:         %[[L1:.*]] = graph.cache_write key %[[L0]]
// CHECK:         %[[L2:.*]] = graph.cache_write value %[[L1]]
// CHECK:         graph.paged_attention %{{.*}}, %[[L2]], {{.*}} bidirectional scale
// CHECK:         %[[L3:.*]] = graph.cache_write key %[[L2]]
// CHECK:         %[[L4:.*]] = graph.cache_write value %[[L3]]
// CHECK:         graph.paged_attention %{{.*}}, %[[L4]], {{.*}} bidirectional scale
// CHECK-NOT:     graph.last_token
// PHASES-LABEL: func.func @encoder
// PHASES-NOT:   func.func @decode
// PHASES:       func.func @prefill
func.func @encoder(%ids: !ids {graph.role = "token_ids"}, %types: !ids {graph.role = "token_types"})
    -> (!x {graph.role = "logits", graph.per_token})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"B", min = 1, max = -1, hint = 1>, #graph.symbol<"S", min = 1, max = 64, hint = 8>]} {
  %table = graph.constant dense<0.5> : tensor<4x8xf32>
  %x0 = graph.embedding %ids, %table : !ids, tensor<4x8xf32> -> !x
  %x1 = graph.embedding %types, %table : !ids, tensor<4x8xf32> -> !x
  %x = graph.add %x0, %x1 : !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q scale 0.5 : !q, !q
  %b = graph.attention %a, %a, %a scale 0.5 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>

// Without graph.per_token an encoder, too, gives the last token's row.
// CHECK-LABEL: func.func @step
// CHECK-SAME:    -> (tensor<?x8xf32, #graph.dims<[R, 8]>>
// CHECK:         graph.last_token
func.func @last(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<0.5> : tensor<4x8xf32>
  %x = graph.embedding %ids, %table : !ids, tensor<4x8xf32> -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q scale 0.5 : !q, !q
  %l = graph.reshape %a : !q -> !x
  return %l : !x
}
