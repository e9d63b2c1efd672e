// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache | FileCheck %s
//
// Models that hold their tokens in other ways than [B, S, ...].

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
!h = tensor<?x2x?x4xf32, #graph.dims<[B, 2, S, 4]>>
!flat = tensor<?x8xf32, #graph.dims<["B*S", 8]>>

// Heads before the sequence, the batch and the sequence as one dimension, products of
// two per-token values, a mask for each token.
// CHECK-LABEL: func.func @step
// CHECK-SAME:    %[[IDS:[^:]*]]: tensor<?xi64, #graph.dims<[T]>>
func.func @forward(%ids: !ids {graph.role = "token_ids"}, %positions: tensor<?x?xi64, #graph.dims<[B, S]>> {graph.role = "positions"},
                   %t: tensor<4x8xf32>) -> (!x {graph.role = "logits"}) attributes {graph.phase = "other"} {
  %0 = graph.embedding %ids, %t : !ids, tensor<4x8xf32> -> !x
  return %0 : !x
}
func.func @plain(%ids: !ids {graph.role = "token_ids"}, %positions: !ids {graph.role = "positions"})
    -> (tensor<?x8xbf16, #graph.dims<["B*S", 8]>> {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x8xf32>
  // CHECK: %[[LOOKUP:.*]] = graph.convert %arg1 : tensor<?xi32, #graph.dims<[T]>> -> tensor<?xi64, #graph.dims<[T]>>
  // CHECK: graph.gather %{{.*}}, %[[IDS]] : tensor<4x8xf32>, tensor<?xi64, #graph.dims<[T]>> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  %x = graph.gather %table, %ids : tensor<4x8xf32>, !ids -> !x
  // CHECK: graph.gather %{{.*}}, %[[LOOKUP]]
  %e = graph.gather %table, %positions : tensor<4x8xf32>, !ids -> !x
  %y = graph.add %x, %e : !x
  // CHECK: %[[FLAT:.*]] = graph.reshape %{{.*}} : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  %flat = graph.reshape %y : !x -> !flat
  // CHECK: graph.broadcast %{{.*}} dims [] : tensor<f32> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  %c = graph.constant dense<2.0> : tensor<f32>
  %cs = graph.broadcast %c dims [] : tensor<f32> -> !flat
  // CHECK: %[[SCALED:.*]] = graph.mul %[[FLAT]]
  %scaled = graph.mul %flat, %cs : !flat
  %q = graph.reshape %scaled : !flat -> !q
  // CHECK: graph.transpose %{{.*}} permutation [1, 0, 2] : tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>> -> tensor<2x?x4xf32, #graph.dims<[2, T, 4]>>
  %h = graph.transpose %q permutation [0, 2, 1, 3] : !q -> !h
  // The index along the sequence, in another layout and type.
  // CHECK: %[[INDEX:.*]] = graph.convert %arg1 : {{.*}} -> tensor<?xf32, #graph.dims<[T]>>
  // CHECK: graph.broadcast %[[INDEX]] dims [1] : tensor<?xf32, #graph.dims<[T]>> -> tensor<2x?x4xf32, #graph.dims<[2, T, 4]>>
  %i = graph.iota dim 2 : !h
  // CHECK: graph.iota dim 2 : tensor<2x?x4xf32, #graph.dims<[2, T, 4]>>
  %j = graph.iota dim 3 : !h
  %ij = graph.mul %i, %j : !h
  %hi = graph.add %h, %ij : !h
  // Broadcast from [1, S, 1, 1]: the batch goes.
  // CHECK: %[[UNIT:.*]] = graph.reshape %{{.*}} : tensor<1x?x1x1xf32, #graph.dims<[1, T, 1, 1]>> -> tensor<?x1x1xf32, #graph.dims<[T, 1, 1]>>
  // CHECK: graph.broadcast %[[UNIT]] dims [0, 1, 2] : {{.*}} -> tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>>
  %n = graph.iota dim 1 : tensor<1x?x1x1xf32, #graph.dims<[1, S, 1, 1]>>
  %ns = graph.broadcast %n dims [0, 1, 2, 3] : tensor<1x?x1x1xf32, #graph.dims<[1, S, 1, 1]>> -> !q
  // CHECK: graph.transpose %{{.*}} permutation [1, 0, 2]
  %back = graph.transpose %hi permutation [0, 2, 1, 3] : !h -> !q
  %query = graph.add %back, %ns : !q
  // Each token's own matrices.
  // CHECK: graph.dot %{{.*}}, %{{.*}} batch [0] x [0] contract [2] x [2] : {{.*}} -> tensor<?x2x2xf32, #graph.dims<[T, 2, 2]>>
  %d = graph.dot %query, %q batch [0, 1] x [0, 1] contract [3] x [3] : !q, !q -> tensor<?x?x2x2xf32, #graph.dims<[B, S, 2, 2]>>
  // CHECK: graph.reduce max %{{.*}} dims [1] : {{.*}} -> tensor<?x2xf32, #graph.dims<[T, 2]>>
  %r = graph.reduce max %d dims [2] : tensor<?x?x2x2xf32, #graph.dims<[B, S, 2, 2]>> -> tensor<?x?x2xf32, #graph.dims<[B, S, 2]>>
  // CHECK: graph.softmax %{{.*}} dim 1
  %m = graph.softmax %r dim 2 : tensor<?x?x2xf32, #graph.dims<[B, S, 2]>>
  // CHECK: graph.broadcast %{{.*}} dims [0, 1] : tensor<?x2xf32, #graph.dims<[T, 2]>> -> tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>>
  %ms = graph.broadcast %m dims [0, 1, 2] : tensor<?x?x2xf32, #graph.dims<[B, S, 2]>> -> !q
  %key = graph.add %query, %ms : !q
  // CHECK: %[[A:.*]] = graph.paged_attention
  %a = graph.attention %query, %key, %q causal scale 1.0 : !q, !q
  // CHECK: graph.last_token %[[A]]
  // CHECK-NEXT: graph.transpose %{{.*}} permutation [1, 0, 2] : tensor<?x2x4xf32, #graph.dims<[R, 2, 4]>>
  %at = graph.transpose %a permutation [0, 2, 1, 3] : !q -> !h
  // The rows of a value with the tokens inside are brought to the front and back.
  // CHECK: %[[FRONT:.*]] = graph.transpose %{{.*}} permutation [1, 0, 2] : tensor<2x?x4xf32, #graph.dims<[2, T, 4]>> -> tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>>
  // CHECK: %[[LAST:.*]] = graph.last_token %[[FRONT]]
  // CHECK: graph.transpose %[[LAST]] permutation [1, 0, 2] : tensor<?x2x4xf32, #graph.dims<[R, 2, 4]>> -> tensor<2x?x4xf32, #graph.dims<[2, R, 4]>>
  %sum = graph.add %at, %hi : !h
  // Positions of the last tokens.
  // CHECK: %[[LASTP:.*]] = graph.last_token %arg1, %arg3
  // CHECK: graph.convert %[[LASTP]] : tensor<?xi32, #graph.dims<[R]>> -> tensor<?xf32, #graph.dims<[R]>>
  %i2 = graph.iota dim 2 : !h
  %sum2 = graph.sub %sum, %i2 : !h
  %half = graph.slice %sum2 offsets [0, 0, 0, 2] : !h -> tensor<?x2x?x2xf32, #graph.dims<[B, 2, S, 2]>>
  // CHECK: graph.slice %{{.*}} offsets [0, 0, 2] : {{.*}} -> tensor<2x?x2xf32, #graph.dims<[2, R, 2]>>
  // CHECK: graph.concat %{{.*}} dim 2
  %two = graph.concat %half, %half dim 3 : (tensor<?x2x?x2xf32, #graph.dims<[B, 2, S, 2]>>, tensor<?x2x?x2xf32, #graph.dims<[B, 2, S, 2]>>) -> !h
  %fin = graph.transpose %two permutation [0, 2, 1, 3] : !h -> !q
  %out = graph.reshape %fin : !q -> !flat
  %narrow = graph.convert %out : !flat -> tensor<?x8xbf16, #graph.dims<["B*S", 8]>>
  // Logits are f32.
  // CHECK: graph.convert %{{.*}} : tensor<?x8xbf16, #graph.dims<[R, 8]>> -> tensor<?x8xf32, #graph.dims<[R, 8]>>
  // CHECK-NEXT: return
  return %narrow : tensor<?x8xbf16, #graph.dims<["B*S", 8]>>
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// What the logits do not need is not in the step, whatever it mixes; nor are other results.
// CHECK-LABEL: func.func @step
// CHECK-SAME:    -> (tensor<?x4xf32, #graph.dims<[R, 4]>> {graph.name = "logits", graph.role = "logits"})
// CHECK-NOT:     graph.reduce
// CHECK:         return %{{[0-9]+}} :
func.func @forward(%ids: !ids {graph.role = "token_ids"}) -> (tensor<?x4xf32, #graph.dims<[B, 4]>>, !x {graph.role = "logits"})
    attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %l = graph.reshape %a : !q -> !x
  %m = graph.reduce max %l dims [1] : !x -> tensor<?x4xf32, #graph.dims<[B, 4]>>
  return %m, %l : tensor<?x4xf32, #graph.dims<[B, 4]>>, !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// Rows that are equal for all tokens are made for the last tokens, not looked up.
// CHECK-LABEL: func.func @step
// CHECK:         %[[C:.*]] = graph.constant dense<2.000000e+00>
// CHECK:         graph.broadcast %[[C]] dims [] : tensor<f32> -> tensor<?x4xf32, #graph.dims<[T, 4]>>
// CHECK:         graph.paged_attention
// CHECK-COUNT-1: graph.last_token
// CHECK-NOT:     graph.last_token
// CHECK:         %[[LAST:.*]] = graph.broadcast %[[C]] dims [] : tensor<f32> -> tensor<?x4xf32, #graph.dims<[R, 4]>>
// CHECK:         graph.mul %{{.*}}, %[[LAST]]
func.func @forward(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %c = graph.constant dense<2.0> : tensor<f32>
  %cs = graph.broadcast %c dims [] : tensor<f32> -> !x
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %y = graph.mul %x, %cs : !x
  %q = graph.reshape %y : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %l = graph.reshape %a : !q -> !x
  %z = graph.mul %l, %cs : !x
  return %z : !x
}
