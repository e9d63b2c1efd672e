// RUN: mlsys-opt %s -canonicalize | FileCheck %s

// CHECK-LABEL: @neutral
// CHECK-SAME:    %[[X:.*]]: tensor<4xf32>
// CHECK:         return %[[X]], %[[X]], %[[X]], %[[X]], %[[X]], %[[X]]
func.func @neutral(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %one = graph.constant dense<1.0> : tensor<f32>
  %ones = graph.broadcast %one dims [] : tensor<f32> -> tensor<4xf32>
  %minus = graph.constant dense<-0.0> : tensor<4xf32>
  %zero = graph.constant dense<0.0> : tensor<4xf32>
  %0 = graph.mul %ones, %x : tensor<4xf32>
  %1 = graph.mul %x, %ones : tensor<4xf32>
  %2 = graph.div %x, %ones : tensor<4xf32>
  %3 = graph.add %minus, %x : tensor<4xf32>
  %4 = graph.sub %x, %zero : tensor<4xf32>
  %n = graph.neg %x : tensor<4xf32>
  %5 = graph.neg %n : tensor<4xf32>
  return %0, %1, %2, %3, %4, %5 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -0 + 0 is 0, and 0 - (-0) is 0: neither gives x for every x.
// CHECK-LABEL: @signed_zero
func.func @signed_zero(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %minus = graph.constant dense<-0.0> : tensor<4xf32>
  %zero = graph.constant dense<0.0> : tensor<4xf32>
  // CHECK: graph.add
  %0 = graph.add %x, %zero : tensor<4xf32>
  // CHECK: graph.sub
  %1 = graph.sub %x, %minus : tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: @splats
func.func @splats() -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %a = graph.constant dense<6.0> : tensor<4xf32>
  %b = graph.constant dense<2.0> : tensor<4xf32>
  // CHECK-DAG: %[[SUM:.*]] = graph.constant dense<8.000000e+00>
  // CHECK-DAG: %[[DIFFERENCE:.*]] = graph.constant dense<4.000000e+00>
  // CHECK-DAG: %[[PRODUCT:.*]] = graph.constant dense<1.200000e+01>
  // CHECK-DAG: %[[QUOTIENT:.*]] = graph.constant dense<3.000000e+00>
  %0 = graph.add %a, %b : tensor<4xf32>
  %1 = graph.sub %a, %b : tensor<4xf32>
  %2 = graph.mul %a, %b : tensor<4xf32>
  %3 = graph.div %a, %b : tensor<4xf32>
  // CHECK: return %[[SUM]], %[[DIFFERENCE]], %[[PRODUCT]], %[[QUOTIENT]]
  return %0, %1, %2, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: @convert_constant
func.func @convert_constant() -> tensor<2xbf16> {
  // 1.00390625 lies between two bf16 values and goes to the even one.
  %c = graph.constant dense<1.00390625> : tensor<2xf32>
  // CHECK: graph.constant dense<1.000000e+00> : tensor<2xbf16>
  %0 = graph.convert %c : tensor<2xf32> -> tensor<2xbf16>
  return %0 : tensor<2xbf16>
}

// CHECK-LABEL: @convert_chain
// CHECK-SAME:    %[[X:.*]]: tensor<4xbf16>
func.func @convert_chain(%x: tensor<4xbf16>) -> (tensor<4xbf16>, tensor<4xf64>, tensor<4xbf16>) {
  %0 = graph.convert %x : tensor<4xbf16> -> tensor<4xf32>
  %1 = graph.convert %0 : tensor<4xf32> -> tensor<4xbf16>
  // CHECK: %[[WIDE:.*]] = graph.convert %[[X]] : tensor<4xbf16> -> tensor<4xf64>
  %2 = graph.convert %0 : tensor<4xf32> -> tensor<4xf64>
  %3 = graph.convert %x : tensor<4xbf16> -> tensor<4xbf16>
  // CHECK: return %[[X]], %[[WIDE]], %[[X]]
  return %1, %2, %3 : tensor<4xbf16>, tensor<4xf64>, tensor<4xbf16>
}

// Rounding is kept, and f16 does not hold all of bf16.
// CHECK-LABEL: @convert_rounds
func.func @convert_rounds(%x: tensor<4xf32>, %y: tensor<4xbf16>) -> (tensor<4xf32>, tensor<4xbf16>) {
  // CHECK-COUNT-4: graph.convert
  %0 = graph.convert %x : tensor<4xf32> -> tensor<4xbf16>
  %1 = graph.convert %0 : tensor<4xbf16> -> tensor<4xf32>
  %2 = graph.convert %y : tensor<4xbf16> -> tensor<4xf16>
  %3 = graph.convert %2 : tensor<4xf16> -> tensor<4xbf16>
  return %1, %3 : tensor<4xf32>, tensor<4xbf16>
}

// CHECK-LABEL: @broadcast_chain
// CHECK-SAME:    %[[X:.*]]: tensor<8xf32>
func.func @broadcast_chain(%x: tensor<8xf32>) -> (tensor<2x4x3x8xf32>, tensor<8xf32>) {
  %0 = graph.broadcast %x dims [1] : tensor<8xf32> -> tensor<4x8xf32>
  // CHECK: %[[Y:.*]] = graph.broadcast %[[X]] dims [3] : tensor<8xf32> -> tensor<2x4x3x8xf32>
  %1 = graph.broadcast %0 dims [1, 3] : tensor<4x8xf32> -> tensor<2x4x3x8xf32>
  %2 = graph.broadcast %x dims [0] : tensor<8xf32> -> tensor<8xf32>
  // CHECK: return %[[Y]], %[[X]]
  return %1, %2 : tensor<2x4x3x8xf32>, tensor<8xf32>
}

// CHECK-LABEL: @reshape_chain
// CHECK-SAME:    %[[X:.*]]: tensor<4x6xf32>
func.func @reshape_chain(%x: tensor<4x6xf32>) -> (tensor<24xf32>, tensor<4x6xf32>, tensor<4x6xf32>) {
  %0 = graph.reshape %x : tensor<4x6xf32> -> tensor<2x12xf32>
  // CHECK: %[[FLAT:.*]] = graph.reshape %[[X]] : tensor<4x6xf32> -> tensor<24xf32>
  %1 = graph.reshape %0 : tensor<2x12xf32> -> tensor<24xf32>
  %2 = graph.reshape %0 : tensor<2x12xf32> -> tensor<4x6xf32>
  %3 = graph.reshape %x : tensor<4x6xf32> -> tensor<4x6xf32>
  // CHECK: return %[[FLAT]], %[[X]], %[[X]]
  return %1, %2, %3 : tensor<24xf32>, tensor<4x6xf32>, tensor<4x6xf32>
}

// CHECK-LABEL: @reshape_constant
func.func @reshape_constant() -> tensor<2x2xi32> {
  // CHECK: graph.constant
  // CHECK-SAME: dense<{{\[\[}}1, 2], [3, 4]]> : tensor<2x2xi32>
  %c = graph.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %0 = graph.reshape %c : tensor<4xi32> -> tensor<2x2xi32>
  return %0 : tensor<2x2xi32>
}

// CHECK-LABEL: @transpose_chain
// CHECK-SAME:    %[[X:.*]]: tensor<2x3x4xf32>
func.func @transpose_chain(%x: tensor<2x3x4xf32>) -> (tensor<3x4x2xf32>, tensor<2x3x4xf32>) {
  %0 = graph.transpose %x permutation [2, 0, 1] : tensor<2x3x4xf32> -> tensor<4x2x3xf32>
  // CHECK: %[[Y:.*]] = graph.transpose %[[X]] permutation [1, 2, 0]
  %1 = graph.transpose %0 permutation [2, 0, 1] : tensor<4x2x3xf32> -> tensor<3x4x2xf32>
  %2 = graph.transpose %0 permutation [1, 2, 0] : tensor<4x2x3xf32> -> tensor<2x3x4xf32>
  // CHECK: return %[[Y]], %[[X]]
  return %1, %2 : tensor<3x4x2xf32>, tensor<2x3x4xf32>
}

// CHECK-LABEL: @slice_chain
// CHECK-SAME:    %[[X:.*]]: tensor<4x16xf32>
func.func @slice_chain(%x: tensor<4x16xf32>) -> (tensor<1x4xf32>, tensor<4x16xf32>) {
  %0 = graph.slice %x offsets [1, 4] : tensor<4x16xf32> -> tensor<3x8xf32>
  // CHECK: %[[Y:.*]] = graph.slice %[[X]] offsets [3, 5] : tensor<4x16xf32> -> tensor<1x4xf32>
  %1 = graph.slice %0 offsets [2, 1] : tensor<3x8xf32> -> tensor<1x4xf32>
  %2 = graph.slice %x offsets [0, 0] : tensor<4x16xf32> -> tensor<4x16xf32>
  // CHECK: return %[[Y]], %[[X]]
  return %1, %2 : tensor<1x4xf32>, tensor<4x16xf32>
}

// CHECK-LABEL: @nothing_to_do
// CHECK-SAME:    %[[X:.*]]: tensor<4x16xf32>
// CHECK:         return %[[X]], %[[X]]
func.func @nothing_to_do(%x: tensor<4x16xf32>) -> (tensor<4x16xf32>, tensor<4x16xf32>) {
  %0 = graph.concat %x dim 1 : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %1 = graph.reduce sum %x dims [] : tensor<4x16xf32> -> tensor<4x16xf32>
  return %0, %1 : tensor<4x16xf32>, tensor<4x16xf32>
}
