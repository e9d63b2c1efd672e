// RUN: mlsys-opt %s -mlsys-decompose | FileCheck %s
//
// The values are those of the composites.
// RUN: mlsys-opt %S/../Interpreter/composites.mlir -mlsys-decompose -canonicalize \
// RUN:   | mlsys-translate --interpret - | FileCheck %S/../Interpreter/composites.mlir

// CHECK-LABEL: @embedding
// CHECK-SAME:    %[[IDS:.*]]: tensor<4xi64>, %[[TABLE:.*]]: tensor<512x64xf32>
func.func @embedding(%ids: tensor<4xi64>, %table: tensor<512x64xf32>) -> tensor<4x64xf32> {
  // CHECK: graph.gather %[[TABLE]], %[[IDS]]
  %0 = graph.embedding %ids, %table : tensor<4xi64>, tensor<512x64xf32> -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

// The result keeps its type; the bias is brought to it.
// CHECK-LABEL: @linear
// CHECK-SAME:    %[[X:[^:]*]]: tensor<?x4x64xbf16, #graph.dims<[T, 4, 64]>>, %[[W:[^:]*]]: tensor<128x64xbf16>, %[[B:.*]]: tensor<128xbf16>
func.func @linear(%x: tensor<?x4x64xbf16, #graph.dims<[T, 4, 64]>>, %w: tensor<128x64xbf16>, %b: tensor<128xbf16>)
    -> tensor<?x4x128xf32, #graph.dims<[T, 4, 128]>> {
  // CHECK: %[[DOT:.*]] = graph.dot %[[X]], %[[W]] batch [] x [] contract [2] x [1]
  // CHECK: %[[WIDE:.*]] = graph.convert %[[B]] : tensor<128xbf16> -> tensor<128xf32>
  // CHECK: %[[BIAS:.*]] = graph.broadcast %[[WIDE]] dims [2]
  // CHECK: graph.add %[[DOT]], %[[BIAS]]
  %0 = graph.linear %x, %w bias %b : (tensor<?x4x64xbf16, #graph.dims<[T, 4, 64]>>, tensor<128x64xbf16>, tensor<128xbf16>) -> tensor<?x4x128xf32, #graph.dims<[T, 4, 128]>>
  return %0 : tensor<?x4x128xf32, #graph.dims<[T, 4, 128]>>
}

// CHECK-LABEL: @linear_without_bias
func.func @linear_without_bias(%x: tensor<4x64xf32>, %w: tensor<128x64xf32>) -> tensor<4x128xf32> {
  // CHECK: graph.dot
  // CHECK-NOT: graph.add
  %0 = graph.linear %x, %w : (tensor<4x64xf32>, tensor<128x64xf32>) -> tensor<4x128xf32>
  return %0 : tensor<4x128xf32>
}

// All of it is in f32; only the result is rounded.
// CHECK-LABEL: @rms_norm
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %[[W:.*]]: tensor<64xbf16>
func.func @rms_norm(%x: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %w: tensor<64xbf16>) -> tensor<?x64xbf16, #graph.dims<[T, 64]>> {
  // CHECK: %[[WIDE:.*]] = graph.convert %[[X]]
  // CHECK: %[[SQUARE:.*]] = graph.mul %[[WIDE]], %[[WIDE]]
  // CHECK: %[[SUM:.*]] = graph.reduce sum %[[SQUARE]] dims [1] : {{.*}} -> tensor<?xf32, #graph.dims<[T]>>
  // CHECK: graph.constant dense<1.562500e-02> : tensor<f32>
  // CHECK: %[[MEAN:.*]] = graph.mul %[[SUM]]
  // CHECK: %[[SHIFTED:.*]] = graph.add %[[MEAN]]
  // CHECK: %[[INVERSE:.*]] = graph.rsqrt %[[SHIFTED]]
  // CHECK: %[[ROWS:.*]] = graph.broadcast %[[INVERSE]] dims [0]
  // CHECK: %[[NORMAL:.*]] = graph.mul %[[WIDE]], %[[ROWS]]
  // CHECK: %[[FLOAT:.*]] = graph.convert %[[W]] : tensor<64xbf16> -> tensor<64xf32>
  // CHECK: %[[SCALE:.*]] = graph.broadcast %[[FLOAT]] dims [1]
  // CHECK: %[[Y:.*]] = graph.mul %[[NORMAL]], %[[SCALE]] : tensor<?x64xf32
  // CHECK: graph.convert %[[Y]] : {{.*}} -> tensor<?x64xbf16
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<64xbf16>
  return %0 : tensor<?x64xbf16, #graph.dims<[T, 64]>>
}

// A wider scale multiplies before rounding.
// CHECK-LABEL: @rms_norm_wide_scale
func.func @rms_norm_wide_scale(%x: tensor<4x64xbf16>, %w: tensor<64xf32>) -> tensor<4x64xbf16> {
  // CHECK: %[[SCALE:.*]] = graph.broadcast %{{.*}} dims [1] : tensor<64xf32>
  // CHECK: %[[Y:.*]] = graph.mul %{{.*}}, %[[SCALE]] : tensor<4x64xf32>
  // CHECK: graph.convert %[[Y]] : tensor<4x64xf32> -> tensor<4x64xbf16>
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<4x64xbf16>, tensor<64xf32>
  return %0 : tensor<4x64xbf16>
}

// Cosines and sines are [S, D / 2]: once a position, for all batch entries and heads.
// CHECK-LABEL: @rope
// CHECK-SAME:    %[[X:[^:]*]]: tensor<?x?x4x16xf32, {{[^>]*>>}}, %[[P:[^:]*]]: {{[^%]*}}%[[F:.*]]: tensor<8xf32>
func.func @rope(%x: tensor<?x?x4x16xf32, #graph.dims<[B, S, 4, 16]>>, %p: tensor<?xi32, #graph.dims<[S]>>,
                %f: tensor<8xf32>) -> tensor<?x?x4x16xf32, #graph.dims<[B, S, 4, 16]>> {
  // CHECK: %[[FLOAT:.*]] = graph.convert %[[P]]
  // CHECK: %[[POSITIONS:.*]] = graph.broadcast %[[FLOAT]] dims [0] : {{.*}} -> tensor<?x8xf32, #graph.dims<[S, 8]>>
  // CHECK: %[[FREQUENCIES:.*]] = graph.broadcast %[[F]] dims [1] : {{.*}} -> tensor<?x8xf32, #graph.dims<[S, 8]>>
  // CHECK: %[[ANGLES:.*]] = graph.mul %[[POSITIONS]], %[[FREQUENCIES]]
  // CHECK: %[[COS:.*]] = graph.cos %[[ANGLES]]
  // CHECK: %[[C:.*]] = graph.broadcast %[[COS]] dims [1, 3]
  // CHECK: %[[SIN:.*]] = graph.sin %[[ANGLES]]
  // CHECK: %[[S:.*]] = graph.broadcast %[[SIN]] dims [1, 3]
  // CHECK: %[[LOW:.*]] = graph.slice %[[X]] offsets [0, 0, 0, 0]
  // CHECK: %[[HIGH:.*]] = graph.slice %[[X]] offsets [0, 0, 0, 8]
  // CHECK-DAG: %[[LC:.*]] = graph.mul %[[LOW]], %[[C]]
  // CHECK-DAG: %[[HS:.*]] = graph.mul %[[HIGH]], %[[S]]
  // CHECK: %[[A:.*]] = graph.sub %[[LC]], %[[HS]]
  // CHECK-DAG: %[[HC:.*]] = graph.mul %[[HIGH]], %[[C]]
  // CHECK-DAG: %[[LS:.*]] = graph.mul %[[LOW]], %[[S]]
  // CHECK: %[[B:.*]] = graph.add %[[HC]], %[[LS]]
  // CHECK: graph.concat %[[A]], %[[B]] dim 3
  %0 = graph.rope %x, %p, %f : tensor<?x?x4x16xf32, #graph.dims<[B, S, 4, 16]>>, tensor<?xi32, #graph.dims<[S]>>, tensor<8xf32>
  return %0 : tensor<?x?x4x16xf32, #graph.dims<[B, S, 4, 16]>>
}

// CHECK-LABEL: @silu
// CHECK-SAME:    %[[X:.*]]: tensor<4xf32>
func.func @silu(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: %[[GATE:.*]] = graph.sigmoid %[[X]]
  // CHECK: graph.mul %[[X]], %[[GATE]]
  %y = graph.silu %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: @softmax
// CHECK-SAME:    %[[X:.*]]: tensor<4x2x8xf16>
func.func @softmax(%x: tensor<4x2x8xf16>) -> tensor<4x2x8xf16> {
  // CHECK: %[[WIDE:.*]] = graph.convert %[[X]]
  // CHECK: %[[MAX:.*]] = graph.reduce max %[[WIDE]] dims [2] : {{.*}} -> tensor<4x2xf32>
  // CHECK: %[[MAXES:.*]] = graph.broadcast %[[MAX]] dims [0, 1]
  // CHECK: %[[SHIFTED:.*]] = graph.sub %[[WIDE]], %[[MAXES]]
  // CHECK: %[[EXP:.*]] = graph.exp %[[SHIFTED]]
  // CHECK: %[[SUM:.*]] = graph.reduce sum %[[EXP]] dims [2]
  // CHECK: %[[SUMS:.*]] = graph.broadcast %[[SUM]] dims [0, 1]
  // CHECK: %[[Y:.*]] = graph.div %[[EXP]], %[[SUMS]]
  // CHECK: graph.convert %[[Y]] : tensor<4x2x8xf32> -> tensor<4x2x8xf16>
  %y = graph.softmax %x dim 2 : tensor<4x2x8xf16>
  return %y : tensor<4x2x8xf16>
}

// Primitives and attention stay.
// CHECK-LABEL: @primitives
func.func @primitives(%q: tensor<1x8x4x16xf32>, %k: tensor<1x8x2x16xf32>) -> tensor<1x8x4x16xf32> {
  // CHECK-NEXT: graph.attention
  // CHECK-NEXT: graph.exp
  // CHECK-NEXT: return
  %0 = graph.attention %q, %k, %k causal scale 2.5e-1 : tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>
  %1 = graph.exp %0 : tensor<1x8x4x16xf32>
  return %1 : tensor<1x8x4x16xf32>
}

// Primitives stay.
// CHECK-LABEL: @nothing_to_do
// CHECK-NEXT:    graph.attention
// CHECK-NEXT:    graph.reduce
// CHECK-NEXT:    return
func.func @nothing_to_do(%x: tensor<1x2x2x4xf32>) -> tensor<1x2x2xf32> {
  %0 = graph.attention %x, %x, %x scale 1.0 : tensor<1x2x2x4xf32>, tensor<1x2x2x4xf32>
  %1 = graph.reduce max %0 dims [3] : tensor<1x2x2x4xf32> -> tensor<1x2x2xf32>
  return %1 : tensor<1x2x2xf32>
}

// Rounds of a maximum and the first place where it is; what is left comes after the last one.
// CHECK-LABEL: @top_k
// CHECK-SAME:    %[[X:.*]]: tensor<4x8xf32>
func.func @top_k(%x: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi32>) {
  // CHECK: %[[NAN:.*]] = graph.compare ne %[[X]], %[[X]]
  // CHECK: %[[PLACE:.*]] = graph.iota dim 1 : tensor<4x8xi32>
  // CHECK: %[[MAX:.*]] = graph.reduce max %[[X]] dims [1]
  // CHECK: %[[EQUAL:.*]] = graph.compare eq %[[X]],
  // CHECK: %[[LARGEST:.*]] = graph.or %[[EQUAL]], %[[NAN]]
  // CHECK: %[[PLACES:.*]] = graph.select %[[LARGEST]], %[[PLACE]],
  // CHECK: %[[FIRST:.*]] = graph.reduce min %[[PLACES]] dims [1]
  // CHECK: graph.compare lt %[[X]],
  // CHECK: graph.compare gt %[[PLACE]],
  // CHECK: %[[AFTER:.*]] = graph.or
  // CHECK: %[[LEFT:.*]] = graph.select %[[AFTER]], %[[X]],
  // CHECK: graph.reduce max %[[LEFT]] dims [1]
  // CHECK: graph.and %{{.*}}, %[[AFTER]]
  // CHECK: graph.reduce min
  // CHECK: graph.concat %{{.*}}, %{{.*}} dim 1 : (tensor<4x1xf32>, tensor<4x1xf32>) -> tensor<4x2xf32>
  // CHECK: graph.concat %{{.*}}, %{{.*}} dim 1 : (tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x2xi32>
  // CHECK-NOT: graph.reduce
  %v, %i = graph.top_k %x k 2 : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<4x2xi32>
  return %v, %i : tensor<4x2xf32>, tensor<4x2xi32>
}

// A short dimension that is not the last is cut into slices, added in f32.
// CHECK-LABEL: @short_reduction
func.func @short_reduction(%x: tensor<?x2x8xbf16, #graph.dims<[T, 2, 8]>>) -> tensor<?x8xbf16, #graph.dims<[T, 8]>> {
  // CHECK: graph.slice %{{.*}} offsets [0, 0, 0] : {{.*}} -> tensor<?x1x8xbf16, #graph.dims<[T, 1, 8]>>
  // CHECK: %[[A:.*]] = graph.convert %{{.*}} -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  // CHECK: graph.slice %{{.*}} offsets [0, 1, 0]
  // CHECK: %[[B:.*]] = graph.convert
  // CHECK: %[[SUM:.*]] = graph.add %[[A]], %[[B]]
  // CHECK: graph.convert %[[SUM]]
  // CHECK-NOT: graph.reduce
  %y = graph.reduce sum %x dims [1] : tensor<?x2x8xbf16, #graph.dims<[T, 2, 8]>> -> tensor<?x8xbf16, #graph.dims<[T, 8]>>
  return %y : tensor<?x8xbf16, #graph.dims<[T, 8]>>
}

// Longer ones, and several, move to the end.
// CHECK-LABEL: @long_reduction
func.func @long_reduction(%x: tensor<3x64x8xf32>) -> (tensor<3x8xf32>, tensor<64xf32>) {
  // CHECK: %[[MOVED:.*]] = graph.transpose %{{.*}} permutation [0, 2, 1]
  // CHECK: graph.reduce max %[[MOVED]] dims [2] : tensor<3x8x64xf32> -> tensor<3x8xf32>
  %y = graph.reduce max %x dims [1] : tensor<3x64x8xf32> -> tensor<3x8xf32>
  // CHECK: %[[BOTH:.*]] = graph.transpose %{{.*}} permutation [1, 0, 2]
  // CHECK: %[[JOINED:.*]] = graph.reshape %[[BOTH]] : tensor<64x3x8xf32> -> tensor<64x24xf32>
  // CHECK: graph.reduce sum %[[JOINED]] dims [1]
  %z = graph.reduce sum %x dims [0, 2] : tensor<3x64x8xf32> -> tensor<64xf32>
  return %y, %z : tensor<3x8xf32>, tensor<64xf32>
}
