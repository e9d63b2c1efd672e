// RUN: mlsys-translate --interpret %s | FileCheck %s

// CHECK-LABEL: @moves
func.func @moves() -> (tensor<3x2xi32>, tensor<3x2xi32>, tensor<2x2xi32>, tensor<2x5xi32>, tensor<2x2x3xi32>) {
  %x = graph.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi32>
  %t = graph.transpose %x permutation [1, 0] : tensor<2x3xi32> -> tensor<3x2xi32>
  %r = graph.reshape %x : tensor<2x3xi32> -> tensor<3x2xi32>
  %s = graph.slice %x offsets [0, 1] : tensor<2x3xi32> -> tensor<2x2xi32>
  %c = graph.concat %x, %s dim 1 : (tensor<2x3xi32>, tensor<2x2xi32>) -> tensor<2x5xi32>
  %b = graph.broadcast %x dims [0, 2] : tensor<2x3xi32> -> tensor<2x2x3xi32>
  // CHECK-NEXT: i32 [3, 2]: 1 4 2 5 3 6
  // CHECK-NEXT: i32 [3, 2]: 1 2 3 4 5 6
  // CHECK-NEXT: i32 [2, 2]: 2 3 5 6
  // CHECK-NEXT: i32 [2, 5]: 1 2 3 2 3 4 5 6 5 6
  // CHECK-NEXT: i32 [2, 2, 3]: 1 2 3 1 2 3 4 5 6 4 5 6
  return %t, %r, %s, %c, %b : tensor<3x2xi32>, tensor<3x2xi32>, tensor<2x2xi32>, tensor<2x5xi32>, tensor<2x2x3xi32>
}

// CHECK-LABEL: @broadcast_ones
func.func @broadcast_ones() -> tensor<2x3xf32> {
  %x = graph.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %b = graph.broadcast %x dims [0, 1] : tensor<2x1xf32> -> tensor<2x3xf32>
  // CHECK-NEXT: f32 [2, 3]: 1 1 1 2 2 2
  return %b : tensor<2x3xf32>
}

// CHECK-LABEL: @rows
func.func @rows() -> (tensor<3x2xf32>, tensor<2x2xi32>, tensor<2x2xf32>) {
  %table = graph.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %ids = graph.constant dense<[2, 0, 2]> : tensor<3xi64>
  %g = graph.gather %table, %ids : tensor<3x2xf32>, tensor<3xi64> -> tensor<3x2xf32>
  %i = graph.iota dim 1 : tensor<2x2xi32>
  %start = graph.constant dense<[0, 1, 3]> : tensor<3xi32>
  %l = graph.last_token %table, %start : tensor<3x2xf32>, tensor<3xi32> -> tensor<2x2xf32>
  // CHECK-NEXT: f32 [3, 2]: 5 6 1 2 5 6
  // CHECK-NEXT: i32 [2, 2]: 0 1 0 1
  // CHECK-NEXT: f32 [2, 2]: 1 2 5 6
  return %g, %i, %l : tensor<3x2xf32>, tensor<2x2xi32>, tensor<2x2xf32>
}
