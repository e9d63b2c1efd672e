// RUN: mlsys-opt %s -mlsys-fuse | FileCheck %s

// One decode step of a transformer layer is five kernels: the norm and the
// three projections with rope and the cache writes; attention; the output projection
// with the residual; the norm, gate and up with their product; down with the residual.

// CHECK-LABEL: @layer
// CHECK: %[[QKV:.*]]:3 = graph.fusion "dot"(
// CHECK:   graph.reduce
// CHECK-COUNT-3: graph.dot
// CHECK:   graph.cache_write key
// CHECK:   graph.cache_write value
// CHECK:   graph.yield
// CHECK: %[[A:.*]] = graph.fusion "attention"(%[[QKV]]#0, %[[QKV]]#2
// CHECK: %[[O:.*]] = graph.fusion "dot"(%[[A]]
// CHECK-NEXT: ^bb0
// CHECK-NEXT: graph.dot
// CHECK-NEXT: graph.add
// CHECK-NEXT: graph.yield
// CHECK: %[[H:.*]] = graph.fusion "dot"(%[[O]]
// CHECK:   graph.reduce
// CHECK-COUNT-2: graph.dot
// CHECK:   graph.sigmoid
// CHECK: graph.fusion "dot"(%[[H]]
// CHECK:   graph.dot
// CHECK-NEXT: graph.add
// CHECK-NOT: graph.fusion
// CHECK: return
func.func @layer(%x: tensor<1x64xf32>, %cos: tensor<1x8xf32>, %sin: tensor<1x8xf32>, %slots: tensor<1xi64>, %qs: tensor<2xi32>, %cl: tensor<1xi32>, %bt: tensor<1x4xi32>,
  %cache: !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 16, f32>) -> tensor<1x64xf32> {
  %wn = graph.weight "n" : tensor<64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [64]>
  %wq = graph.weight "q" : tensor<64x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 16384, dtype = "f32", shape = [64, 64]>
  %wk = graph.weight "k" : tensor<32x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 8192, dtype = "f32", shape = [32, 64]>
  %wv = graph.weight "v" : tensor<32x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 8192, dtype = "f32", shape = [32, 64]>
  %wo = graph.weight "o" : tensor<64x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 16384, dtype = "f32", shape = [64, 64]>
  %wg = graph.weight "g" : tensor<128x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 32768, dtype = "f32", shape = [128, 64]>
  %wu = graph.weight "u" : tensor<128x64xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 32768, dtype = "f32", shape = [128, 64]>
  %wd = graph.weight "d" : tensor<64x128xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 32768, dtype = "f32", shape = [64, 128]>
  %eps = graph.constant dense<1.0e-5> : tensor<f32>
  %inv = graph.constant dense<0.015625> : tensor<f32>
  %ns = graph.mul %x, %x : tensor<1x64xf32>
  %nr = graph.reduce sum %ns dims [1] : tensor<1x64xf32> -> tensor<1xf32>
  %ni = graph.broadcast %inv dims [] : tensor<f32> -> tensor<1xf32>
  %nm = graph.mul %nr, %ni : tensor<1xf32>
  %ne = graph.broadcast %eps dims [] : tensor<f32> -> tensor<1xf32>
  %na = graph.add %nm, %ne : tensor<1xf32>
  %nq = graph.rsqrt %na : tensor<1xf32>
  %nb = graph.broadcast %nq dims [0] : tensor<1xf32> -> tensor<1x64xf32>
  %nn = graph.mul %x, %nb : tensor<1x64xf32>
  %nw = graph.broadcast %wn dims [1] : tensor<64xf32> -> tensor<1x64xf32>
  %n = graph.mul %nn, %nw : tensor<1x64xf32>
  %q = graph.dot %n, %wq batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<64x64xf32> -> tensor<1x64xf32>
  %k = graph.dot %n, %wk batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<32x64xf32> -> tensor<1x32xf32>
  %v = graph.dot %n, %wv batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<32x64xf32> -> tensor<1x32xf32>
  %rqh = graph.reshape %q : tensor<1x64xf32> -> tensor<1x4x16xf32>
  %rq0 = graph.slice %rqh offsets [0, 0, 0] : tensor<1x4x16xf32> -> tensor<1x4x8xf32>
  %rq1 = graph.slice %rqh offsets [0, 0, 8] : tensor<1x4x16xf32> -> tensor<1x4x8xf32>
  %rqc = graph.broadcast %cos dims [0, 2] : tensor<1x8xf32> -> tensor<1x4x8xf32>
  %rqs = graph.broadcast %sin dims [0, 2] : tensor<1x8xf32> -> tensor<1x4x8xf32>
  %rq2 = graph.mul %rq0, %rqc : tensor<1x4x8xf32>
  %rq3 = graph.mul %rq1, %rqs : tensor<1x4x8xf32>
  %rq4 = graph.sub %rq2, %rq3 : tensor<1x4x8xf32>
  %rq5 = graph.mul %rq1, %rqc : tensor<1x4x8xf32>
  %rq6 = graph.mul %rq0, %rqs : tensor<1x4x8xf32>
  %rq7 = graph.add %rq5, %rq6 : tensor<1x4x8xf32>
  %rq = graph.concat %rq4, %rq7 dim 2 : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x16xf32>
  %rkh = graph.reshape %k : tensor<1x32xf32> -> tensor<1x2x16xf32>
  %rk0 = graph.slice %rkh offsets [0, 0, 0] : tensor<1x2x16xf32> -> tensor<1x2x8xf32>
  %rk1 = graph.slice %rkh offsets [0, 0, 8] : tensor<1x2x16xf32> -> tensor<1x2x8xf32>
  %rkc = graph.broadcast %cos dims [0, 2] : tensor<1x8xf32> -> tensor<1x2x8xf32>
  %rks = graph.broadcast %sin dims [0, 2] : tensor<1x8xf32> -> tensor<1x2x8xf32>
  %rk2 = graph.mul %rk0, %rkc : tensor<1x2x8xf32>
  %rk3 = graph.mul %rk1, %rks : tensor<1x2x8xf32>
  %rk4 = graph.sub %rk2, %rk3 : tensor<1x2x8xf32>
  %rk5 = graph.mul %rk1, %rkc : tensor<1x2x8xf32>
  %rk6 = graph.mul %rk0, %rks : tensor<1x2x8xf32>
  %rk7 = graph.add %rk5, %rk6 : tensor<1x2x8xf32>
  %rk = graph.concat %rk4, %rk7 dim 2 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x16xf32>
  %vh = graph.reshape %v : tensor<1x32xf32> -> tensor<1x2x16xf32>
  %l0 = graph.cache_layer %cache layer 0 : !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 16, f32> -> !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>
  %l1 = graph.cache_write key %l0, %rk, %slots : !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>, tensor<1x2x16xf32>, tensor<1xi64>
  %l2 = graph.cache_write value %l1, %vh, %slots : !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>, tensor<1x2x16xf32>, tensor<1xi64>
  %at = graph.paged_attention %rq, %l2, %qs, %cl, %bt scale 2.5e-1 : tensor<1x4x16xf32>, !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>, tensor<2xi32>, tensor<1xi32>, tensor<1x4xi32>
  %ar = graph.reshape %at : tensor<1x4x16xf32> -> tensor<1x64xf32>
  %o = graph.dot %ar, %wo batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<64x64xf32> -> tensor<1x64xf32>
  %y = graph.add %x, %o : tensor<1x64xf32>
  %ms = graph.mul %y, %y : tensor<1x64xf32>
  %mr = graph.reduce sum %ms dims [1] : tensor<1x64xf32> -> tensor<1xf32>
  %mi = graph.broadcast %inv dims [] : tensor<f32> -> tensor<1xf32>
  %mm = graph.mul %mr, %mi : tensor<1xf32>
  %me = graph.broadcast %eps dims [] : tensor<f32> -> tensor<1xf32>
  %ma = graph.add %mm, %me : tensor<1xf32>
  %mq = graph.rsqrt %ma : tensor<1xf32>
  %mb = graph.broadcast %mq dims [0] : tensor<1xf32> -> tensor<1x64xf32>
  %mn = graph.mul %y, %mb : tensor<1x64xf32>
  %mw = graph.broadcast %wn dims [1] : tensor<64xf32> -> tensor<1x64xf32>
  %m = graph.mul %mn, %mw : tensor<1x64xf32>
  %g = graph.dot %m, %wg batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<128x64xf32> -> tensor<1x128xf32>
  %u = graph.dot %m, %wu batch [] x [] contract [1] x [1] : tensor<1x64xf32>, tensor<128x64xf32> -> tensor<1x128xf32>
  %gs = graph.sigmoid %g : tensor<1x128xf32>
  %gg = graph.mul %g, %gs : tensor<1x128xf32>
  %gu = graph.mul %gg, %u : tensor<1x128xf32>
  %d = graph.dot %gu, %wd batch [] x [] contract [1] x [1] : tensor<1x128xf32>, tensor<64x128xf32> -> tensor<1x64xf32>
  %z = graph.add %y, %d : tensor<1x64xf32>
  return %z : tensor<1x64xf32>
}
