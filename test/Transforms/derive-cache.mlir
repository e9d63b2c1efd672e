// RUN: mlsys-opt %s -mlsys-derive-cache="page-size=2 prefill-chunk=32" | FileCheck %s
// RUN: mlsys-opt %s -mlsys-decompose -mlsys-derive-cache="page-size=2" | FileCheck %s --check-prefix=PRIMITIVE
//
// The step gives the last row of the plain function: one request in one step, and two requests
// in one ragged step. Both as it is and decomposed.
// RUN: mlsys-opt %s -mlsys-derive-cache="page-size=2" -o %t.mlir
// RUN: mlsys-opt %s -mlsys-decompose -mlsys-derive-cache="page-size=2" -canonicalize -cse -o %t.primitive.mlir
// RUN: mlsys-translate --interpret %s --function forward --input "dense<[[3, 1, 2], [0, 2, 1]]> : tensor<2x3xi64>" > %t.out
// RUN: mlsys-translate --interpret %t.mlir --function step --cache-pages 6 --input "dense<[3, 1, 2]> : tensor<3xi64>" --input "dense<[0, 1, 2]> : tensor<3xi32>" --input "dense<[2, 3, 10]> : tensor<3xi64>" --input "dense<[0, 3]> : tensor<2xi32>" --input "dense<3> : tensor<1xi32>" --input "dense<[[1, 5]]> : tensor<1x2xi32>" >> %t.out
// RUN: mlsys-translate --interpret %t.primitive.mlir --function forward --input "dense<[[3, 1, 2], [0, 2, 1]]> : tensor<2x3xi64>" >> %t.out
// RUN: mlsys-translate --interpret %t.primitive.mlir --function step --cache-pages 6 --input "dense<[3, 1, 2, 0, 2, 1]> : tensor<6xi64>" --input "dense<[0, 1, 2, 0, 1, 2]> : tensor<6xi32>" --input "dense<[2, 3, 10, 8, 9, 4]> : tensor<6xi64>" --input "dense<[0, 3, 6]> : tensor<3xi32>" --input "dense<3> : tensor<2xi32>" --input "dense<[[1, 5], [4, 2]]> : tensor<2x2xi32>" >> %t.out
// RUN: FileCheck %s --check-prefix=VALUES < %t.out

// VALUES: @forward
// VALUES-NEXT: f32 [2, 3, 4]: {{(([^ ]+ ){8})}}[[LAST:[^ ]+ [^ ]+ [^ ]+ [^ ]+]] {{.*}}
// VALUES: @step
// VALUES-NEXT: f32 [1, 4]: [[LAST]]
// VALUES: @forward
// VALUES-NEXT: f32 [2, 3, 4]: {{(([^ ]+ ){8})}}[[FIRST:[^ ]+ [^ ]+ [^ ]+ [^ ]+]] {{(([^ ]+ ){8})}}[[SECOND:.*]]
// VALUES: @step
// VALUES-NEXT: f32 [2, 4]: [[FIRST]] [[SECOND]]

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
!k1 = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!k = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!logits = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// The plain function stays.
// CHECK-LABEL: func.func @forward
// CHECK:         graph.attention
// CHECK-LABEL: func.func @step
// CHECK-SAME:    %[[IDS:[^:]*]]: tensor<?xi64, #graph.dims<[T]>> {graph.name = "token_ids", graph.role = "token_ids"}
// CHECK-SAME:    %[[POSITIONS:[^:]*]]: tensor<?xi32, #graph.dims<[T]>> {graph.name = "positions", graph.role = "positions"}
// CHECK-SAME:    %[[SLOTS:[^:]*]]: tensor<?xi64, #graph.dims<[T]>> {graph.name = "slots", graph.role = "slots"}
// CHECK-SAME:    %[[START:[^:]*]]: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.name = "query_start", graph.role = "query_start"}
// CHECK-SAME:    %[[CONTEXT:[^:]*]]: tensor<?xi32, #graph.dims<[R]>> {graph.name = "context_length", graph.role = "context_length"}
// CHECK-SAME:    %[[TABLE:[^:]*]]: tensor<?x?xi32, #graph.dims<[R, P]>> {graph.name = "block_table", graph.role = "block_table"}
// CHECK-SAME:    %[[CACHE:[^:]*]]: !graph.kv_cache<layers = 2, heads = 1, dim = 4, page = 2, f32> {graph.name = "kv_cache", graph.role = "kv_cache"}
// CHECK-SAME:    -> (tensor<?x4xf32, #graph.dims<[R, 4]>> {graph.name = "logits", graph.role = "logits"})
// CHECK-SAME:    graph.phase = "step"
// CHECK-SAME:    #graph.symbol<"T", min = 1, max = 32, hint = 32>, #graph.symbol<"R", min = 1, max = 32, hint = 1>, #graph.symbol<"P", min = 1, max = 8, hint = 4>
// CHECK:         %[[X:.*]] = graph.embedding %[[IDS]]
// CHECK-NOT:     graph.iota
// CHECK:         %[[Q:.*]] = graph.rope %{{.*}}, %[[POSITIONS]],
// CHECK:         %[[K:.*]] = graph.rope %{{.*}}, %[[POSITIONS]],
// CHECK:         %[[L0:.*]] = graph.cache_layer %[[CACHE]] layer 0
// CHECK:         %[[L1:.*]] = graph.cache_write key %[[L0]], %[[K]], %[[SLOTS]]
// CHECK:         %[[L2:.*]] = graph.cache_write value %[[L1]], %[[V:.*]], %[[SLOTS]]
// CHECK:         %[[A:.*]] = graph.paged_attention %[[Q]], %[[L2]], %[[START]], %[[CONTEXT]], %[[TABLE]] scale 5.000000e-01
// CHECK:         %[[A2:.*]] = graph.reshape %[[A]] : {{.*}} -> tensor<?x8xf32, #graph.dims<[T, 8]>>
// CHECK:         %[[Y:.*]] = graph.add %[[X]], %[[A2]]
// CHECK:         %[[L3:.*]] = graph.cache_layer %[[CACHE]] layer 1
// CHECK:         %[[B:.*]] = graph.paged_attention
// After the last attention there are R rows only, and the residual is gathered too.
// CHECK-NEXT:    %[[BLAST:.*]] = graph.last_token %[[B]], %[[START]]
// CHECK-NEXT:    %[[B2:.*]] = graph.reshape %[[BLAST]] : {{.*}} -> tensor<?x8xf32, #graph.dims<[R, 8]>>
// CHECK-NEXT:    %[[YLAST:.*]] = graph.last_token %[[Y]], %[[START]]
// CHECK-NEXT:    %[[Z:.*]] = graph.add %[[YLAST]], %[[B2]]
// CHECK-NOT:     dims<[T
// CHECK:         return %{{.*}} : tensor<?x4xf32, #graph.dims<[R, 4]>>

// Angles are made of the positions and broadcast to the heads.
// PRIMITIVE-LABEL: func.func @step
// PRIMITIVE:         %[[P:.*]] = graph.convert %arg1 : tensor<?xi32, #graph.dims<[T]>> -> tensor<?xf32, #graph.dims<[T]>>
// PRIMITIVE:         graph.broadcast %[[P]] dims [0] : {{.*}} -> tensor<?x2xf32, #graph.dims<[T, 2]>>
// PRIMITIVE:         %[[COS:.*]] = graph.cos
// PRIMITIVE:         graph.broadcast %[[COS]] dims [0, 2] : {{.*}} -> tensor<?x2x2xf32, #graph.dims<[T, 2, 2]>>
// PRIMITIVE:         graph.slice %{{.*}} offsets [0, 0, 2]
// PRIMITIVE:         graph.concat %{{.*}} dim 2
func.func @forward(%ids: !ids {graph.role = "token_ids", graph.name = "input_ids"})
    -> (!logits {graph.role = "logits", graph.name = "logits"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"B", min = 1, max = -1, hint = 1>,
                                                        #graph.symbol<"S", min = 1, max = 16, hint = 8>]} {
  %table = graph.constant dense<[[0.1, 0.5, -0.3, 0.2, 0.7, -0.6, 0.4, 0.9], [-0.8, 0.3, 0.6, -0.1, 0.2, 0.5, -0.7, 0.1],
                                 [0.4, -0.9, 0.1, 0.8, -0.2, 0.3, 0.6, -0.5], [0.9, 0.2, -0.4, -0.6, 0.1, 0.8, -0.3, 0.7]]> : tensor<4x8xf32>
  %wk = graph.constant dense<[[0.3, -0.2, 0.5, 0.1, -0.4, 0.6, 0.2, -0.1], [0.7, 0.1, -0.3, 0.4, 0.2, -0.5, 0.3, 0.6],
                              [-0.6, 0.4, 0.2, -0.3, 0.5, 0.1, -0.2, 0.3], [0.2, 0.5, 0.1, 0.6, -0.3, 0.4, 0.7, -0.4]]> : tensor<4x8xf32>
  %scale = graph.constant dense<[1.0, 0.5, 1.5, 1.0, 0.8, 1.2, 0.9, 1.1]> : tensor<8xf32>
  %f = graph.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %p = graph.iota dim 0 : tensor<?xi32, #graph.dims<[S]>>
  %x = graph.embedding %ids, %table : !ids, tensor<4x8xf32> -> !x
  %h = graph.rms_norm %x, %scale epsilon 1.0e-5 : !x, tensor<8xf32>
  %q = graph.reshape %h : !x -> !q
  %k1 = graph.linear %h, %wk : (!x, tensor<4x8xf32>) -> !k1
  %k = graph.reshape %k1 : !k1 -> !k
  %qr = graph.rope %q, %p, %f : !q, tensor<?xi32, #graph.dims<[S]>>, tensor<2xf32>
  %kr = graph.rope %k, %p, %f : !k, tensor<?xi32, #graph.dims<[S]>>, tensor<2xf32>
  %a = graph.attention %qr, %kr, %k causal scale 5.0e-1 : !q, !k
  %a2 = graph.reshape %a : !q -> !x
  %y = graph.add %x, %a2 : !x
  %q2 = graph.reshape %y : !x -> !q
  %k2 = graph.linear %y, %wk : (!x, tensor<4x8xf32>) -> !k1
  %v2 = graph.reshape %k2 : !k1 -> !k
  %b = graph.attention %q2, %kr, %v2 causal scale 5.0e-1 : !q, !k
  %b2 = graph.reshape %b : !q -> !x
  %z = graph.add %y, %b2 : !x
  %s = graph.silu %z : !x
  %l = graph.linear %s, %table : (!x, tensor<4x8xf32>) -> !logits
  return %l : !logits
}
