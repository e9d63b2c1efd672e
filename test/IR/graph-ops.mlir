// RUN: mlsys-opt %s | mlsys-opt | FileCheck %s
// RUN: mlsys-opt %s -mlir-print-op-generic | mlsys-opt | FileCheck %s
//
// Every operation of the graph dialect is read and printed again.

!cache = !graph.kv_cache<layers = 3, heads = 2, dim = 16, page = 8, bf16>
!layer = !graph.kv_layer<layers = 3, heads = 2, dim = 16, page = 8, bf16>

// CHECK: module attributes {graph.weight_files = ["model.safetensors"]}
module attributes {graph.weight_files = ["model.safetensors"]} {

// CHECK-LABEL: func.func @constants
func.func @constants() -> (tensor<f32>, tensor<2x2xi64>, tensor<64x8xbf16>, tensor<8x8xf32>, tensor<4xf16>) {
  // CHECK: graph.constant dense<2.000000e+00> : tensor<f32>
  %0 = graph.constant dense<2.0> : tensor<f32>
  // CHECK: graph.constant {made_by = "hand"} dense<{{\[\[}}1, 2], [3, 4]]> : tensor<2x2xi64>
  %1 = graph.constant {made_by = "hand"} dense<[[1, 2], [3, 4]]> : tensor<2x2xi64>
  // CHECK: graph.weight "embed" : tensor<64x8xbf16> from #graph.weight_source<file = 0, offset = 64, bytes = 1024, dtype = "bf16", shape = [64, 8]>
  %2 = graph.weight "embed" : tensor<64x8xbf16> from #graph.weight_source<file = 0, offset = 64, bytes = 1024, dtype = "bf16", shape = [64, 8]>
  // CHECK: graph.weight "q" : tensor<8x8xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 64, dtype = "q8_0", shape = [8, 8] unpermute_rows = 4>
  %3 = graph.weight "q" : tensor<8x8xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 64, dtype = "q8_0", shape = [8, 8] unpermute_rows = 4>
  // CHECK: graph.weight "r" : tensor<4xf16> from #graph.weight_source<file = -1, offset = 7, bytes = 0, dtype = "random", shape = [4]>
  %4 = graph.weight "r" : tensor<4xf16> from #graph.weight_source<file = -1, offset = 7, bytes = 0, dtype = "random", shape = [4]>
  return %0, %1, %2, %3, %4 : tensor<f32>, tensor<2x2xi64>, tensor<64x8xbf16>, tensor<8x8xf32>, tensor<4xf16>
}

// CHECK-LABEL: func.func @float_unary
// CHECK-SAME:    (%[[X:.*]]: tensor<?x4xf32, #graph.dims<[T, 4]>>)
func.func @float_unary(%x: tensor<?x4xf32, #graph.dims<[T, 4]>>) {
  // CHECK: graph.neg %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.abs %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.exp %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.log %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.sqrt %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.rsqrt %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.tanh %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.sigmoid %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.erf %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.sin %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.cos %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.floor %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.ceil %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.round %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  // CHECK: graph.silu %[[X]] : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %0 = graph.neg %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %1 = graph.abs %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %2 = graph.exp %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %3 = graph.log %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %4 = graph.sqrt %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %5 = graph.rsqrt %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %6 = graph.tanh %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %7 = graph.sigmoid %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %8 = graph.erf %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %9 = graph.sin %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %10 = graph.cos %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %11 = graph.floor %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %12 = graph.ceil %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %round = graph.round %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  %13 = graph.silu %x : tensor<?x4xf32, #graph.dims<[T, 4]>>
  return
}

// CHECK-LABEL: func.func @binary
// CHECK-SAME:    (%[[X:.*]]: tensor<4xi32>, %[[Y:.*]]: tensor<4xi32>, %[[P:.*]]: tensor<4xi1>, %[[Q:.*]]: tensor<4xi1>)
func.func @binary(%x: tensor<4xi32>, %y: tensor<4xi32>, %p: tensor<4xi1>, %q: tensor<4xi1>) {
  // CHECK: graph.add %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.sub %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.mul %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.div %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.max %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.min %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.pow %[[X]], %[[Y]] : tensor<4xi32>
  // CHECK: graph.and %[[P]], %[[Q]] : tensor<4xi1>
  // CHECK: graph.or %[[P]], %[[Q]] : tensor<4xi1>
  // CHECK: graph.not %[[P]] : tensor<4xi1>
  %0 = graph.add %x, %y : tensor<4xi32>
  %1 = graph.sub %x, %y : tensor<4xi32>
  %2 = graph.mul %x, %y : tensor<4xi32>
  %3 = graph.div %x, %y : tensor<4xi32>
  %4 = graph.max %x, %y : tensor<4xi32>
  %5 = graph.min %x, %y : tensor<4xi32>
  %6 = graph.pow %x, %y : tensor<4xi32>
  %7 = graph.and %p, %q : tensor<4xi1>
  %8 = graph.or %p, %q : tensor<4xi1>
  %9 = graph.not %p : tensor<4xi1>
  return
}

// CHECK-LABEL: func.func @choices
// CHECK-SAME:    (%[[X:.*]]: tensor<4xf32>, %[[Y:.*]]: tensor<4xf32>)
func.func @choices(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xui8> {
  // CHECK: graph.compare eq %[[X]], %[[Y]] : tensor<4xf32> -> tensor<4xi1>
  // CHECK: graph.compare ne
  // CHECK: %[[LESS:.*]] = graph.compare lt
  // CHECK: graph.compare le
  // CHECK: graph.compare gt
  // CHECK: graph.compare ge
  %0 = graph.compare eq %x, %y : tensor<4xf32> -> tensor<4xi1>
  %1 = graph.compare ne %x, %y : tensor<4xf32> -> tensor<4xi1>
  %2 = graph.compare lt %x, %y : tensor<4xf32> -> tensor<4xi1>
  %3 = graph.compare le %x, %y : tensor<4xf32> -> tensor<4xi1>
  %4 = graph.compare gt %x, %y : tensor<4xf32> -> tensor<4xi1>
  %5 = graph.compare ge %x, %y : tensor<4xf32> -> tensor<4xi1>
  // CHECK: %[[CHOICE:.*]] = graph.select %[[LESS]], %[[X]], %[[Y]] : tensor<4xi1>, tensor<4xf32>
  %6 = graph.select %2, %x, %y : tensor<4xi1>, tensor<4xf32>
  // CHECK: graph.convert %[[CHOICE]] : tensor<4xf32> -> tensor<4xui8>
  %7 = graph.convert %6 : tensor<4xf32> -> tensor<4xui8>
  return %7 : tensor<4xui8>
}

// CHECK-LABEL: func.func @reductions
// CHECK-SAME:    (%[[X:.*]]: tensor<4x8x?xf32, #graph.dims<[4, 8, T]>>)
func.func @reductions(%x: tensor<4x8x?xf32, #graph.dims<[4, 8, T]>>) {
  // CHECK: graph.reduce sum %[[X]] dims [1] : tensor<4x8x?xf32, #graph.dims<[4, 8, T]>> -> tensor<4x?xf32, #graph.dims<[4, T]>>
  // CHECK: graph.reduce max %[[X]] dims [0, 2] : {{.*}} -> tensor<8xf32>
  // CHECK: graph.reduce min %[[X]] dims [0, 1, 2] : {{.*}} -> tensor<f32>
  // CHECK: graph.reduce prod %[[X]] dims [2] : {{.*}} -> tensor<4x8xf32>
  %0 = graph.reduce sum %x dims [1] : tensor<4x8x?xf32, #graph.dims<[4, 8, T]>> -> tensor<4x?xf32, #graph.dims<[4, T]>>
  %1 = graph.reduce max %x dims [0, 2] : tensor<4x8x?xf32, #graph.dims<[4, 8, T]>> -> tensor<8xf32>
  %2 = graph.reduce min %x dims [0, 1, 2] : tensor<4x8x?xf32, #graph.dims<[4, 8, T]>> -> tensor<f32>
  %3 = graph.reduce prod %x dims [2] : tensor<4x8x?xf32, #graph.dims<[4, 8, T]>> -> tensor<4x8xf32>
  return
}

// CHECK-LABEL: func.func @movement
// CHECK-SAME:    (%[[X:.*]]: tensor<4x64xf32>, %[[S:.*]]: tensor<1x64xf32>, %[[IDS:.*]]: tensor<?x2xi32, #graph.dims<[T, 2]>>)
func.func @movement(%x: tensor<4x64xf32>, %s: tensor<1x64xf32>, %ids: tensor<?x2xi32, #graph.dims<[T, 2]>>) {
  // CHECK: graph.broadcast %[[S]] dims [1, 2] : tensor<1x64xf32> -> tensor<?x4x64xf32, #graph.dims<[T, 4, 64]>>
  %0 = graph.broadcast %s dims [1, 2] : tensor<1x64xf32> -> tensor<?x4x64xf32, #graph.dims<[T, 4, 64]>>
  // CHECK: graph.reshape %[[X]] : tensor<4x64xf32> -> tensor<4x4x16xf32>
  %1 = graph.reshape %x : tensor<4x64xf32> -> tensor<4x4x16xf32>
  // CHECK: graph.transpose %{{.*}} permutation [2, 0, 1] : tensor<4x4x16xf32> -> tensor<16x4x4xf32>
  %2 = graph.transpose %1 permutation [2, 0, 1] : tensor<4x4x16xf32> -> tensor<16x4x4xf32>
  // CHECK: graph.slice %[[X]] offsets [1, 8] : tensor<4x64xf32> -> tensor<2x8xf32>
  %3 = graph.slice %x offsets [1, 8] : tensor<4x64xf32> -> tensor<2x8xf32>
  // CHECK: graph.concat %[[X]], %[[S]] dim 0 : (tensor<4x64xf32>, tensor<1x64xf32>) -> tensor<5x64xf32>
  %4 = graph.concat %x, %s dim 0 : (tensor<4x64xf32>, tensor<1x64xf32>) -> tensor<5x64xf32>
  // CHECK: graph.gather %[[X]], %[[IDS]] : tensor<4x64xf32>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x64xf32, #graph.dims<[T, 2, 64]>>
  %5 = graph.gather %x, %ids : tensor<4x64xf32>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x64xf32, #graph.dims<[T, 2, 64]>>
  // CHECK: graph.iota dim 1 : tensor<2x?xi32, #graph.dims<[2, S]>>
  %6 = graph.iota dim 1 : tensor<2x?xi32, #graph.dims<[2, S]>>
  return
}

// CHECK-LABEL: func.func @heroes
func.func @heroes(%x: tensor<4x64xbf16>, %w: tensor<128x64xbf16>, %a: tensor<2x3x5xf32>, %b: tensor<5x2x7xf32>,
                  %q: tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, %k: tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>) {
  // CHECK: graph.dot %{{.*}}, %{{.*}} batch [] x [] contract [1] x [1] : tensor<4x64xbf16>, tensor<128x64xbf16> -> tensor<4x128xf32>
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<4x64xbf16>, tensor<128x64xbf16> -> tensor<4x128xf32>
  // CHECK: graph.dot %{{.*}}, %{{.*}} batch [0] x [1] contract [2] x [0] : tensor<2x3x5xf32>, tensor<5x2x7xf32> -> tensor<2x3x7xf32>
  %1 = graph.dot %a, %b batch [0] x [1] contract [2] x [0] : tensor<2x3x5xf32>, tensor<5x2x7xf32> -> tensor<2x3x7xf32>
  // CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}} causal scale 2.500000e-01 : tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>
  %2 = graph.attention %q, %k, %k causal scale 2.5e-1 : tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>
  // CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}} causal window 4096 softcap 5.000000e+01 scale 2.500000e-01 :
  %windowed = graph.attention %q, %k, %k causal window 4096 softcap 50.0 scale 2.5e-1 : tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>
  // CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}} causal slopes [5.000000e-01, 2.500000e-01, 1.250000e-01, 6.250000e-02] scale 2.500000e-01 :
  %biased = graph.attention %q, %k, %k causal slopes [0.5, 0.25, 0.125, 0.0625] scale 2.5e-1 : tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>
  // CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}} scale 1.000000e+00
  %3 = graph.attention %q, %k, %k scale 1.0 : tensor<1x?x4x16xf32, #graph.dims<[1, S, 4, 16]>>, tensor<1x?x2x16xf32, #graph.dims<[1, S, 2, 16]>>
  return
}

// CHECK-LABEL: func.func @cache
// CHECK-SAME:    %[[CACHE:[^:]*]]: !graph.kv_cache<layers = 3, heads = 2, dim = 16, page = 8, bf16>
func.func @cache(%cache: !cache, %k: tensor<?x2x16xbf16, #graph.dims<[T, 2, 16]>>, %q: tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>,
                 %slots: tensor<?xi64, #graph.dims<[T]>>, %start: tensor<?xi32, #graph.dims<["R + 1"]>>,
                 %context: tensor<?xi32, #graph.dims<[R]>>, %table: tensor<?x?xi32, #graph.dims<[R, P]>>)
    -> tensor<?x4x16xbf16, #graph.dims<[R, 4, 16]>> {
  // CHECK: %[[L0:.*]] = graph.cache_layer %[[CACHE]] layer 2 : <layers = 3, heads = 2, dim = 16, page = 8, bf16> -> <layers = 3, heads = 2, dim = 16, page = 8, bf16>
  %l0 = graph.cache_layer %cache layer 2 : !cache -> !layer
  // CHECK: %[[L1:.*]] = graph.cache_write key %[[L0]], %{{.*}}, %{{.*}} : <layers = 3, heads = 2, dim = 16, page = 8, bf16>, tensor<?x2x16xbf16, #graph.dims<[T, 2, 16]>>, tensor<?xi64, #graph.dims<[T]>>
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, tensor<?x2x16xbf16, #graph.dims<[T, 2, 16]>>, tensor<?xi64, #graph.dims<[T]>>
  // CHECK: %[[L2:.*]] = graph.cache_write value %[[L1]]
  %l2 = graph.cache_write value %l1, %k, %slots : !layer, tensor<?x2x16xbf16, #graph.dims<[T, 2, 16]>>, tensor<?xi64, #graph.dims<[T]>>
  // CHECK: %[[A:.*]] = graph.paged_attention %{{.*}}, %[[L2]], %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01 : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, <layers = 3, heads = 2, dim = 16, page = 8, bf16>, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  %a = graph.paged_attention %q, %l2, %start, %context, %table scale 2.5e-1 : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, !layer,
    tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  // CHECK: graph.paged_attention %{{.*}} window 64 softcap 3.000000e+01 scale 2.500000e-01 :
  %windowed = graph.paged_attention %q, %l2, %start, %context, %table window 64 softcap 30.0 scale 2.5e-1 : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, !layer,
    tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  // CHECK: graph.paged_attention %{{.*}} slopes [1.000000e+00, 5.000000e-01, 2.500000e-01, 1.250000e-01] scale 2.500000e-01 :
  %biased = graph.paged_attention %q, %l2, %start, %context, %table slopes [1.0, 0.5, 0.25, 0.125] scale 2.5e-1 : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, !layer,
    tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  // CHECK: graph.paged_attention %{{.*}} bidirectional scale 2.500000e-01 :
  %e = graph.paged_attention %q, %l2, %start, %context, %table bidirectional scale 2.5e-1 : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, !layer,
    tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  // CHECK: graph.last_token %[[A]], %{{.*}} : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, tensor<?xi32, #graph.dims<["R + 1"]>> -> tensor<?x4x16xbf16, #graph.dims<[R, 4, 16]>>
  %y = graph.last_token %a, %start : tensor<?x4x16xbf16, #graph.dims<[T, 4, 16]>>, tensor<?xi32, #graph.dims<["R + 1"]>> -> tensor<?x4x16xbf16, #graph.dims<[R, 4, 16]>>
  return %y : tensor<?x4x16xbf16, #graph.dims<[R, 4, 16]>>
}

// CHECK-LABEL: func.func @composites
func.func @composites(%ids: tensor<4xi64>, %table: tensor<512x64xf16>, %w: tensor<128x64xf16>, %b: tensor<128xf16>, %scale: tensor<64xf16>,
                      %q: tensor<1x8x4x16xf32>, %positions: tensor<8xi32>, %frequencies: tensor<8xf32>) {
  // CHECK: graph.embedding %{{.*}}, %{{.*}} : tensor<4xi64>, tensor<512x64xf16> -> tensor<4x64xf16>
  %x = graph.embedding %ids, %table : tensor<4xi64>, tensor<512x64xf16> -> tensor<4x64xf16>
  // CHECK: graph.rms_norm %{{.*}}, %{{.*}} epsilon 9.99999974E-6 : tensor<4x64xf16>, tensor<64xf16>
  %n = graph.rms_norm %x, %scale epsilon 1.0e-5 : tensor<4x64xf16>, tensor<64xf16>
  // CHECK: graph.linear %{{.*}}, %{{.*}} bias %{{.*}} : (tensor<4x64xf16>, tensor<128x64xf16>, tensor<128xf16>) -> tensor<4x128xf16>
  %y = graph.linear %n, %w bias %b : (tensor<4x64xf16>, tensor<128x64xf16>, tensor<128xf16>) -> tensor<4x128xf16>
  // CHECK: graph.linear %{{[^,]*}}, %{{[^ ]*}} : (tensor<4x64xf16>, tensor<128x64xf16>) -> tensor<4x128xf32>
  %z = graph.linear %n, %w : (tensor<4x64xf16>, tensor<128x64xf16>) -> tensor<4x128xf32>
  // CHECK: graph.softmax %{{.*}} dim 1 : tensor<4x128xf32>
  %s = graph.softmax %z dim 1 : tensor<4x128xf32>
  // CHECK: graph.rope %{{.*}}, %{{.*}}, %{{.*}} : tensor<1x8x4x16xf32>, tensor<8xi32>, tensor<8xf32>
  %r = graph.rope %q, %positions, %frequencies : tensor<1x8x4x16xf32>, tensor<8xi32>, tensor<8xf32>
  return
}

// CHECK-LABEL: func.func @fusion
// CHECK-SAME:    (%[[X:.*]]: tensor<4xf32>, %[[Z:.*]]: tensor<4xf32>)
func.func @fusion(%x: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: %[[Y:.*]]:2 = graph.fusion "loop"(%[[X]], %[[Z]]) attributes {note = "two"} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  // CHECK: ^bb0(%[[A:.*]]: tensor<4xf32>, %[[B:.*]]: tensor<4xf32>):
  // CHECK:   %[[SUM:.*]] = graph.add %[[A]], %[[B]]
  // CHECK:   graph.yield %[[SUM]], %[[A]] : tensor<4xf32>, tensor<4xf32>
  %y:2 = graph.fusion "loop"(%x, %z) attributes {note = "two"} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  ^bb0(%a: tensor<4xf32>, %b: tensor<4xf32>):
    %0 = graph.add %a, %b : tensor<4xf32>
    graph.yield %0, %a : tensor<4xf32>, tensor<4xf32>
  }
  // A fusion without results may leave its terminator out.
  // CHECK: graph.fusion "loop"() : () -> () {
  // CHECK-NEXT: }
  graph.fusion "loop"() : () -> () {
  }
  // CHECK: return %[[Y]]#1
  return %y#1 : tensor<4xf32>
}

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x8xbf16, #graph.dims<[T, 8]>>, %w: tensor<4x16x8xbf16>, %p: tensor<?x4xf32, #graph.dims<[T, 4]>>)
    -> tensor<?x2x16xf32, #graph.dims<[T, 2, 16]>> {
  // CHECK: %[[V:.*]], %[[I:.*]] = graph.top_k %{{.*}} k 2 : tensor<?x4xf32, #graph.dims<[T, 4]>> -> tensor<?x2xf32, #graph.dims<[T, 2]>>, tensor<?x2xi32, #graph.dims<[T, 2]>>
  %v, %i = graph.top_k %p k 2 : tensor<?x4xf32, #graph.dims<[T, 4]>> -> tensor<?x2xf32, #graph.dims<[T, 2]>>, tensor<?x2xi32, #graph.dims<[T, 2]>>
  // CHECK: graph.expert_dot %{{.*}}, %{{.*}}, %[[I]] : tensor<?x8xbf16, #graph.dims<[T, 8]>>, tensor<4x16x8xbf16>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x16xf32, #graph.dims<[T, 2, 16]>>
  %y = graph.expert_dot %x, %w, %i : tensor<?x8xbf16, #graph.dims<[T, 8]>>, tensor<4x16x8xbf16>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x16xf32, #graph.dims<[T, 2, 16]>>
  return %y : tensor<?x2x16xf32, #graph.dims<[T, 2, 16]>>
}

// Extents are kept in one form: sums of products, longest products first, 1 where nothing is.
// CHECK-LABEL: func.func private @dims(
// CHECK-SAME:    tensor<?x?xf32, #graph.dims<["B*S + 2*B + 1", S]>>
// CHECK-SAME:    tensor<?x5xf32, #graph.dims<[T, 5]>>
// CHECK-SAME:    tensor<?x6xf32, #graph.dims<["2*S", 6]>>
func.func private @dims(tensor<?x?xf32, #graph.dims<["1 + B + S*B + B", S]>>, tensor<?x5xf32, #graph.dims<["T", 5]>>,
                        tensor<?x6xf32, #graph.dims<["S + S", "2*3"]>>)

// CHECK-LABEL: func.func private @symbols()
// CHECK-SAME:    graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>, #graph.symbol<"P", min = 0, max = -1, hint = 4>]
func.func private @symbols() attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>, #graph.symbol<"P", min = 0, max = -1, hint = 4>]}

}

// CHECK-LABEL: @integer_products
func.func @integer_products(%x: tensor<?x8xi8, #graph.dims<[T, 8]>>, %u: tensor<2x?x8xui8, #graph.dims<[2, T, 8]>>) {
  // CHECK: graph.weight "w" : tensor<6x8xi8> from
  %w = graph.weight "w" : tensor<6x8xi8> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [6, 8]>
  // CHECK: graph.dot {{.*}} : tensor<?x8xi8, #graph.dims<[T, 8]>>, tensor<6x8xi8> -> tensor<?x6xi32, #graph.dims<[T, 6]>>
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<?x8xi8, #graph.dims<[T, 8]>>, tensor<6x8xi8> -> tensor<?x6xi32, #graph.dims<[T, 6]>>
  // CHECK: graph.dot {{.*}} : tensor<2x?x8xui8, #graph.dims<[2, T, 8]>>, tensor<2x5x8xi8> -> tensor<2x?x5xi32, #graph.dims<[2, T, 5]>>
  %v = graph.constant dense<1> : tensor<2x5x8xi8>
  %1 = graph.dot %u, %v batch [0] x [0] contract [2] x [2] : tensor<2x?x8xui8, #graph.dims<[2, T, 8]>>, tensor<2x5x8xi8> -> tensor<2x?x5xi32, #graph.dims<[2, T, 5]>>
  return
}
