// RUN: mlsys-opt %s -mlsys-decompose -mlsys-derive-cache | FileCheck %s
//
// A mixture of experts keeps tokens apart: each has its own experts.

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
!v = tensor<?x?x2xf32, #graph.dims<[B, S, 2]>>
!e = tensor<?x?x2xi32, #graph.dims<[B, S, 2]>>
!y = tensor<?x?x2x8xf32, #graph.dims<[B, S, 2, 8]>>

// CHECK-LABEL: func.func @step
// CHECK: graph.reduce max %{{.*}} dims [1]
// CHECK: %[[E:.*]] = graph.concat %{{.*}}, %{{.*}} dim 1 : {{.*}} -> tensor<?x2xi32, #graph.dims<[T, 2]>>
// CHECK: %[[Y:.*]] = graph.expert_dot %{{.*}}, %{{.*}}, %[[E]] : tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<4x8x8xf32>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x8xf32, #graph.dims<[T, 2, 8]>>
// CHECK: graph.slice %[[Y]] offsets [0, 1, 0]
// CHECK: graph.paged_attention
// After the last attention only the last tokens are computed.
// CHECK: graph.expert_dot %{{.*}} -> tensor<?x2x8xf32, #graph.dims<[R, 2, 8]>>
func.func @experts(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x8xf32>
  %w = graph.constant dense<1.0> : tensor<4x8x8xf32>
  %x = graph.gather %table, %ids : tensor<4x8xf32>, !ids -> !x
  %r = graph.slice %x offsets [0, 0, 0] : !x -> tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
  %v, %i = graph.top_k %r k 2 : tensor<?x?x4xf32, #graph.dims<[B, S, 4]>> -> !v, !e
  %0 = graph.expert_dot %x, %w, %i : !x, tensor<4x8x8xf32>, !e -> !y
  %1 = graph.reduce sum %0 dims [2] : !y -> !x
  %q = graph.reshape %1 : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %2 = graph.reshape %a : !q -> !x
  %3 = graph.expert_dot %2, %w, %i : !x, tensor<4x8x8xf32>, !e -> !y
  %4 = graph.reduce sum %3 dims [2] : !y -> !x
  return %4 : !x
}
