// RUN: mlsys-translate --interpret %s | FileCheck %s
//
// Expected values: the formulas of each op's description, in Python.

// CHECK-LABEL: @norm
func.func @norm() -> (tensor<2x4xf32>, tensor<3xf32>) {
  %x = graph.constant dense<[[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %s = graph.constant dense<[1.0, 0.5, 2.0, 1.0]> : tensor<4xf32>
  %0 = graph.rms_norm %x, %s epsilon 1.0e-5 : tensor<2x4xf32>, tensor<4xf32>
  %y = graph.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %1 = graph.softmax %y dim 0 : tensor<3xf32>
  // CHECK-NEXT: f32 [2, 4]: 0.365148 0.365148 2.19089 1.46059 0 0 0 0
  // CHECK-NEXT: f32 [3]: 0.0900306 0.244728 0.665241
  return %0, %1 : tensor<2x4xf32>, tensor<3xf32>
}

// Positions of [S] serve every batch entry.
// CHECK-LABEL: @rope
func.func @rope() -> tensor<2x2x1x4xf32> {
  %x = graph.constant dense<[[[[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0]]],
                             [[[0.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]]]]> : tensor<2x2x1x4xf32>
  %p = graph.constant dense<[0, 2]> : tensor<2xi32>
  %f = graph.constant dense<[1.0, 0.125]> : tensor<2xf32>
  %0 = graph.rope %x, %p, %f : tensor<2x2x1x4xf32>, tensor<2xi32>, tensor<2xf32>
  // CHECK-NEXT: 1 2 3 4 -3.14404 0.948209 -0.339143 4.37046 0 0 0 0 -3.14404 0.948209 -0.339143 4.37046
  return %0 : tensor<2x2x1x4xf32>
}

// CHECK-LABEL: @embedding
func.func @embedding() -> tensor<1x2x2xf32> {
  %t = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %i = graph.constant dense<[[1, 0]]> : tensor<1x2xi64>
  %0 = graph.embedding %i, %t : tensor<1x2xi64>, tensor<2x2xf32> -> tensor<1x2x2xf32>
  // CHECK-NEXT: f32 [1, 2, 2]: 3 4 1 2
  return %0 : tensor<1x2x2xf32>
}

// CHECK-LABEL: @fused
func.func @fused() -> tensor<2xf32> {
  %x = graph.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = graph.fusion "loop"(%x) : (tensor<2xf32>) -> tensor<2xf32> {
  ^bb0(%a: tensor<2xf32>):
    %1 = graph.mul %a, %a : tensor<2xf32>
    %2 = graph.add %1, %a : tensor<2xf32>
    graph.yield %2 : tensor<2xf32>
  }
  // CHECK-NEXT: f32 [2]: 2 6
  return %0 : tensor<2xf32>
}

func.func @twice(%x: tensor<?xf32, #graph.dims<[N]>>) -> tensor<?xf32, #graph.dims<[N]>> {
  %0 = graph.add %x, %x : tensor<?xf32, #graph.dims<[N]>>
  return %0 : tensor<?xf32, #graph.dims<[N]>>
}

// Of equal elements the first comes first, minus infinity as well; NaN is the largest.
// CHECK-LABEL: @top_k
func.func @top_k() -> (tensor<4x3xf32>, tensor<4x3xi32>, tensor<4x1xbf16>, tensor<4x1xi64>) {
  %x = graph.constant dense<[[1.0, 3.0, 2.0, 3.0], [0xFF800000, 0xFF800000, -5.0, 0xFF800000], [1.0, 0x7FC00000, 2.0, 0x7FC00000], [4.0, 3.0, 2.0, 0x7F800000]]> : tensor<4x4xf32>
  %v, %i = graph.top_k %x k 3 : tensor<4x4xf32> -> tensor<4x3xf32>, tensor<4x3xi32>
  %b = graph.convert %x : tensor<4x4xf32> -> tensor<4x4xbf16>
  %w, %j = graph.top_k %b k 1 : tensor<4x4xbf16> -> tensor<4x1xbf16>, tensor<4x1xi64>
  // CHECK-NEXT: f32 [4, 3]: 3 3 2 -5 -inf -inf nan nan 2 inf 4 3
  // CHECK-NEXT: i32 [4, 3]: 1 3 2 2 0 1 1 3 2 3 0 1
  // CHECK-NEXT: bf16 [4, 1]: 3 -5 nan inf
  // CHECK-NEXT: i64 [4, 1]: 1 2 1 3
  return %v, %i, %w, %j : tensor<4x3xf32>, tensor<4x3xi32>, tensor<4x1xbf16>, tensor<4x1xi64>
}
