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

// PyTorch: torch._int_mm(x, w.t()) and einsum("bmk,bnk->bmn", u.long(), v.long()).
// CHECK-LABEL: @integers
func.func @integers() -> (tensor<3x2xi32>, tensor<2x2x3xi32>) {
  %x = graph.constant dense<[[44, -81, -11, 64, -61, 123, 67, -25], [-119, 83, -107, 114, -92, -41, -58, 88], [-40, 12, -70, 65, 102, -89, -41, 46]]> : tensor<3x8xi8>
  %w = graph.constant dense<[[-40, -47, 37, -103, -51, -56, -119, 20], [-13, 80, 115, 69, 126, -49, 47, 64]]> : tensor<2x8xi8>
  %u = graph.constant dense<[[[82, 99, 216, 177, 243], [29, 147, 147, 142, 167]], [[32, 193, 9, 185, 127], [32, 31, 202, 244, 151]]]> : tensor<2x2x5xui8>
  %v = graph.constant dense<[[[35, 126, 75, -14, 55], [-100, -94, 0, 0, 36], [-75, 5, -90, 104, 116]], [[-111, -49, 4, -23, -86], [58, -97, -8, -127, -63], [103, 41, -71, -93, -26]]]> : tensor<2x3x5xi8>
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<3x8xi8>, tensor<2x8xi8> -> tensor<3x2xi32>
  %1 = graph.dot %u, %v batch [0] x [0] contract [2] x [2] : tensor<2x2x5xui8>, tensor<2x3x5xi8> -> tensor<2x2x3xi32>
  // CHECK-NEXT: i32 [3, 2]: -17202 -16065 808 -2929 -2668 16145
  // CHECK-NEXT: i32 [2, 2, 3]: 42431 -8758 21501 37759 -10706 19470 -28150 -48433 -9937 -22861 -43268 -36393
  return %0, %1 : tensor<3x2xi32>, tensor<2x2x3xi32>
}
