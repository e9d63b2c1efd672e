// RUN: mlsys-translate --interpret %s | FileCheck %s

// CHECK-LABEL: @matmul
func.func @matmul() -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %x = graph.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %w = graph.constant dense<[[1.0, 0.0, -1.0], [2.0, 1.0, 0.5]]> : tensor<2x3xf32>
  %b = graph.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x2xf32>
  %1 = graph.linear %x, %w bias %b : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  // CHECK-NEXT: f32 [2, 2]: -2 5.5 -2 16
  // CHECK-NEXT: f32 [2, 2]: 8 25.5 8 36
  return %0, %1 : tensor<2x2xf32>, tensor<2x2xf32>
}

// numpy: einsum("kbm,bkn->bmn", arange(8).reshape(2, 2, 2), arange(8).reshape(2, 2, 2))
// CHECK-LABEL: @batched_transposed
func.func @batched_transposed() -> tensor<2x2x2xf32> {
  %x = graph.constant dense<[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]> : tensor<2x2x2xf32>
  %0 = graph.dot %x, %x batch [1] x [0] contract [0] x [1] : tensor<2x2x2xf32>, tensor<2x2x2xf32> -> tensor<2x2x2xf32>
  // CHECK-NEXT: f32 [2, 2, 2]: 8 12 10 16 44 52 54 64
  return %0 : tensor<2x2x2xf32>
}

// Longer than one step of the inner loop; 1 + ... + 19 = 190.
// CHECK-LABEL: @long
func.func @long() -> (tensor<f32>, tensor<f64>) {
  %i = graph.iota dim 0 : tensor<20xf32>
  %one = graph.constant dense<1.0> : tensor<20xf32>
  %0 = graph.dot %i, %one batch [] x [] contract [0] x [0] : tensor<20xf32>, tensor<20xf32> -> tensor<f32>
  %d = graph.convert %i : tensor<20xf32> -> tensor<20xf64>
  %1 = graph.dot %d, %d batch [] x [] contract [0] x [0] : tensor<20xf64>, tensor<20xf64> -> tensor<f64>
  // CHECK-NEXT: f32 []: 190
  // CHECK-NEXT: f64 []: 2470
  return %0, %1 : tensor<f32>, tensor<f64>
}

// CHECK-LABEL: @widened
func.func @widened() -> (tensor<f32>, tensor<bf16>) {
  %x = graph.constant dense<[256.0, 1.0]> : tensor<2xbf16>
  %y = graph.constant dense<1.0> : tensor<2xbf16>
  %0 = graph.dot %x, %y batch [] x [] contract [0] x [0] : tensor<2xbf16>, tensor<2xbf16> -> tensor<f32>
  %1 = graph.dot %x, %y batch [] x [] contract [0] x [0] : tensor<2xbf16>, tensor<2xbf16> -> tensor<bf16>
  // CHECK-NEXT: f32 []: 257
  // CHECK-NEXT: bf16 []: 256
  return %0, %1 : tensor<f32>, tensor<bf16>
}

// Rows for each token, and then one for each of its experts. An expert may stand twice.
// CHECK-LABEL: @experts
func.func @experts() -> (tensor<2x2x2xf32>, tensor<2x2x1xf32>) {
  %x = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %w = graph.constant dense<[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, -1.0]], [[2.0, 0.0], [0.0, 2.0]]]> : tensor<3x2x2xf32>
  %e = graph.constant dense<[[1, 0], [2, 2]]> : tensor<2x2xi32>
  %0 = graph.expert_dot %x, %w, %e : tensor<2x2xf32>, tensor<3x2x2xf32>, tensor<2x2xi32> -> tensor<2x2x2xf32>
  %v = graph.constant dense<[[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]]> : tensor<3x1x2xf32>
  %1 = graph.expert_dot %0, %v, %e : tensor<2x2x2xf32>, tensor<3x1x2xf32>, tensor<2x2xi32> -> tensor<2x2x1xf32>
  // CHECK-NEXT: f32 [2, 2, 2]: 3 -1 1 2 6 8 6 8
  // CHECK-NEXT: f32 [2, 2, 1]: -1 1 14 14
  return %0, %1 : tensor<2x2x2xf32>, tensor<2x2x1xf32>
}
