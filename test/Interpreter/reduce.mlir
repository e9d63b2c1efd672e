// RUN: mlsys-translate --interpret %s | FileCheck %s

// CHECK-LABEL: @kinds
func.func @kinds() -> (tensor<2xf32>, tensor<3xf32>, tensor<2xf32>, tensor<f32>) {
  %x = graph.constant dense<[[1.0, 2.0, 3.0], [4.0, -5.0, 0x7FC00000]]> : tensor<2x3xf32>
  %0 = graph.reduce sum %x dims [1] : tensor<2x3xf32> -> tensor<2xf32>
  %1 = graph.reduce max %x dims [0] : tensor<2x3xf32> -> tensor<3xf32>
  %2 = graph.reduce min %x dims [1] : tensor<2x3xf32> -> tensor<2xf32>
  %y = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %3 = graph.reduce prod %y dims [0, 1] : tensor<2x2xf32> -> tensor<f32>
  // CHECK-NEXT: f32 [2]: 6 nan
  // CHECK-NEXT: f32 [3]: 4 2 nan
  // CHECK-NEXT: f32 [2]: 1 nan
  // CHECK-NEXT: f32 []: 24
  return %0, %1, %2, %3 : tensor<2xf32>, tensor<3xf32>, tensor<2xf32>, tensor<f32>
}

// The sum is rounded once: 256 + 1 + 1 is 258 although 257 is no bf16.
// CHECK-LABEL: @accumulates_wide
func.func @accumulates_wide() -> tensor<bf16> {
  %x = graph.constant dense<[256.0, 1.0, 1.0]> : tensor<3xbf16>
  %0 = graph.reduce sum %x dims [0] : tensor<3xbf16> -> tensor<bf16>
  // CHECK-NEXT: bf16 []: 258
  return %0 : tensor<bf16>
}

// CHECK-LABEL: @integers
func.func @integers() -> (tensor<2xi32>, tensor<2xi32>) {
  %x = graph.constant dense<[[1, -7], [4, 5]]> : tensor<2x2xi32>
  %0 = graph.reduce sum %x dims [0] : tensor<2x2xi32> -> tensor<2xi32>
  %1 = graph.reduce max %x dims [1] : tensor<2x2xi32> -> tensor<2xi32>
  // CHECK-NEXT: i32 [2]: 5 -2
  // CHECK-NEXT: i32 [2]: 1 5
  return %0, %1 : tensor<2xi32>, tensor<2xi32>
}
