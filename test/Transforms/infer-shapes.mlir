// RUN: mlsys-opt %s -mlsys-infer-shapes | FileCheck %s
// RUN: mlsys-opt %s -mlsys-infer-shapes | mlsys-opt -mlsys-infer-shapes | FileCheck %s
//
// Arguments name their extents; every result gets its names from them.

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>

// CHECK-LABEL: func.func @model
// CHECK-SAME:    -> (tensor<?x?x16xf32, #graph.dims<[B, S, 16]>> {graph.role = "logits"})
func.func @model(%ids: !ids) -> (tensor<?x?x16xf32, #graph.dims<[B, _, 16]>> {graph.role = "logits"}) {
  %table = graph.constant dense<1.0> : tensor<16x8xf32>
  %scale = graph.constant dense<1.0> : tensor<8xf32>
  // CHECK: graph.embedding {{.*}} -> tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
  %x = graph.embedding %ids, %table : !ids, tensor<16x8xf32> -> tensor<?x?x?xf32>
  // CHECK: graph.rms_norm {{.*}} : tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
  %n = graph.rms_norm %x, %scale epsilon 1.0e-5 : tensor<?x?x?xf32>, tensor<8xf32>
  // One extent without a name follows from the number of elements.
  // CHECK: graph.reshape {{.*}} -> tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
  %q = graph.reshape %n : tensor<?x?x?xf32> -> tensor<?x?x2x4xf32, #graph.dims<[B, _, 2, 4]>>
  // CHECK: graph.attention {{.*}} : tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
  %a = graph.attention %q, %q, %q causal scale 5.0e-1 : tensor<?x?x2x4xf32, #graph.dims<[B, _, 2, 4]>>, tensor<?x?x2x4xf32, #graph.dims<[B, _, 2, 4]>>
  // CHECK: graph.transpose {{.*}} -> tensor<?x2x?x4xf32, #graph.dims<[B, 2, S, 4]>>
  %t = graph.transpose %a permutation [0, 2, 1, 3] : tensor<?x?x2x4xf32, #graph.dims<[B, _, 2, 4]>> -> tensor<?x2x?x4xf32>
  // CHECK: graph.transpose {{.*}} -> tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
  %u = graph.transpose %t permutation [0, 2, 1, 3] : tensor<?x2x?x4xf32> -> tensor<?x?x?x?xf32>
  // CHECK: graph.reshape {{.*}} -> tensor<?x8xf32, #graph.dims<["B*S", 8]>>
  %f = graph.reshape %u : tensor<?x?x?x?xf32> -> tensor<?x8xf32>
  // CHECK: graph.linear {{.*}} -> tensor<?x16xf32, #graph.dims<["B*S", 16]>>
  %l = graph.linear %f, %table : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x?xf32>
  // CHECK: graph.reshape {{.*}} -> tensor<?x?x16xf32, #graph.dims<[B, S, 16]>>
  %r = graph.reshape %l : tensor<?x?xf32> -> tensor<?x?x16xf32, #graph.dims<[B, _, 16]>>
  // CHECK: graph.exp {{.*}} : tensor<?x?x16xf32, #graph.dims<[B, S, 16]>>
  %e = graph.exp %r : tensor<?x?x16xf32, #graph.dims<[B, _, 16]>>
  // CHECK: graph.slice {{.*}} -> tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
  %s = graph.slice %e offsets [0, 0, 12] : tensor<?x?x16xf32, #graph.dims<[B, _, 16]>> -> tensor<?x?x4xf32>
  // CHECK: graph.concat {{.*}} -> tensor<?x?x12xf32, #graph.dims<[B, S, 12]>>
  %c = graph.concat %s, %s, %s dim 2 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x?xf32>
  // CHECK: graph.reduce sum {{.*}} -> tensor<?x12xf32, #graph.dims<[B, 12]>>
  %d = graph.reduce sum %c dims [1] : tensor<?x?x?xf32> -> tensor<?x?xf32>
  // CHECK: graph.broadcast {{.*}} -> tensor<?x5x12xf32, #graph.dims<[B, 5, 12]>>
  %b = graph.broadcast %d dims [0, 2] : tensor<?x?xf32> -> tensor<?x5x?xf32>
  // CHECK: graph.dot {{.*}} -> tensor<?x5x5xf32, #graph.dims<[B, 5, 5]>>
  %p = graph.dot %b, %b batch [0] x [0] contract [2] x [2] : tensor<?x5x?xf32>, tensor<?x5x?xf32> -> tensor<?x?x?xf32>
  // CHECK: graph.convert {{.*}} -> tensor<?x5x5xbf16, #graph.dims<[B, 5, 5]>>
  %h = graph.convert %p : tensor<?x?x?xf32> -> tensor<?x?x?xbf16>
  // CHECK: return %{{.*}} : tensor<?x?x16xf32, #graph.dims<[B, S, 16]>>
  return %e : tensor<?x?x16xf32, #graph.dims<[B, _, 16]>>
}

// A gather, and the rows of a step.
// CHECK-LABEL: func.func @rows
func.func @rows(%t: tensor<8x4xf32>, %i: tensor<?x2xi32, #graph.dims<[T, 2]>>, %start: tensor<?xi32, #graph.dims<["R + 1"]>>) -> tensor<?x?x?xf32> {
  // CHECK: graph.gather {{.*}} -> tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>>
  %0 = graph.gather %t, %i : tensor<8x4xf32>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x?x?xf32>
  // CHECK: graph.last_token {{.*}} -> tensor<?x2x4xf32, #graph.dims<[R, 2, 4]>>
  %1 = graph.last_token %0, %start : tensor<?x?x?xf32>, tensor<?xi32, #graph.dims<["R + 1"]>> -> tensor<?x?x?xf32>
  return %1 : tensor<?x?x?xf32>
}

// Inside a fusion too.
// CHECK-LABEL: func.func @fusion
func.func @fusion(%x: tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32> {
  // CHECK: graph.fusion "loop"(%{{.*}}) : (tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>> {
  // CHECK: ^bb0(%{{.*}}: tensor<?xf32, #graph.dims<[T]>>):
  // CHECK:   graph.yield %{{.*}} : tensor<?xf32, #graph.dims<[T]>>
  %y = graph.broadcast %x dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xf32>
  %z = graph.fusion "loop"(%y) : (tensor<?xf32>) -> tensor<?xf32> {
  ^bb0(%a: tensor<?xf32>):
    %0 = graph.exp %a : tensor<?xf32>
    graph.yield %0 : tensor<?xf32>
  }
  return %z : tensor<?xf32>
}

// Nothing gives these a name.
// CHECK-LABEL: func.func @nothing_to_do
// CHECK:         graph.exp %{{.*}} : tensor<?xf32>
func.func @nothing_to_do(%x: tensor<?xf32>) -> tensor<?xf32> {
  %0 = graph.exp %x : tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK: func.func private @declaration(tensor<?xf32>)
func.func private @declaration(tensor<?xf32>)
