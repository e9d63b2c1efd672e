// RUN: mlsys-translate --interpret %s | FileCheck %s

// CHECK-LABEL: @unary
func.func @unary() -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %x = graph.constant dense<[-1.5, 0.0, 2.0]> : tensor<3xf32>
  %0 = graph.neg %x : tensor<3xf32>
  %1 = graph.abs %x : tensor<3xf32>
  %2 = graph.exp %x : tensor<3xf32>
  %3 = graph.sigmoid %x : tensor<3xf32>
  %4 = graph.silu %x : tensor<3xf32>
  %5 = graph.tanh %x : tensor<3xf32>
  // CHECK-NEXT: f32 [3]: 1.5 -0 -2
  // CHECK-NEXT: f32 [3]: 1.5 0 2
  // CHECK-NEXT: f32 [3]: 0.22313 1 7.38906
  // CHECK-NEXT: f32 [3]: 0.182426 0.5 0.880797
  // CHECK-NEXT: f32 [3]: -0.273638 0 1.76159
  // CHECK-NEXT: f32 [3]: -0.905148 0 0.964028
  return %0, %1, %2, %3, %4, %5 : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}

// CHECK-LABEL: @roots
func.func @roots() -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %x = graph.constant dense<[0.25, 2.0]> : tensor<2xf32>
  %0 = graph.sqrt %x : tensor<2xf32>
  %1 = graph.rsqrt %x : tensor<2xf32>
  %2 = graph.log %x : tensor<2xf32>
  %3 = graph.erf %x : tensor<2xf32>
  %4 = graph.sin %x : tensor<2xf32>
  %5 = graph.cos %x : tensor<2xf32>
  // CHECK-NEXT: f32 [2]: 0.5 1.41421
  // CHECK-NEXT: f32 [2]: 2 0.707107
  // CHECK-NEXT: f32 [2]: -1.38629 0.693147
  // CHECK-NEXT: f32 [2]: 0.276326 0.995322
  // CHECK-NEXT: f32 [2]: 0.247404 0.909297
  // CHECK-NEXT: f32 [2]: 0.968912 -0.416147
  return %0, %1, %2, %3, %4, %5 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// CHECK-LABEL: @rounding
func.func @rounding() -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %x = graph.constant dense<[-1.5, 2.5]> : tensor<2xf32>
  %0 = graph.floor %x : tensor<2xf32>
  %1 = graph.ceil %x : tensor<2xf32>
  %2 = graph.round %x : tensor<2xf32>
  // CHECK-NEXT: f32 [2]: -2 2
  // CHECK-NEXT: f32 [2]: -1 3
  // CHECK-NEXT: f32 [2]: -2 2
  return %0, %1, %2 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// CHECK-LABEL: @binary
func.func @binary() -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %x = graph.constant dense<[3.0, -2.0, 0x7FC00000]> : tensor<3xf32>
  %y = graph.constant dense<[2.0, 3.0, 1.0]> : tensor<3xf32>
  %0 = graph.sub %x, %y : tensor<3xf32>
  %1 = graph.div %x, %y : tensor<3xf32>
  %2 = graph.max %x, %y : tensor<3xf32>
  %3 = graph.min %y, %x : tensor<3xf32>
  %4 = graph.pow %x, %y : tensor<3xf32>
  // CHECK-NEXT: f32 [3]: 1 -5 nan
  // CHECK-NEXT: f32 [3]: 1.5 -0.666667 nan
  // CHECK-NEXT: f32 [3]: 3 3 nan
  // CHECK-NEXT: f32 [3]: 2 -2 nan
  // CHECK-NEXT: f32 [3]: 9 -8 nan
  return %0, %1, %2, %3, %4 : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}

// Every result is rounded to its type: 1 + 1/256 is 1 in bf16.
// CHECK-LABEL: @rounds_to_bf16
func.func @rounds_to_bf16() -> (tensor<3xbf16>, tensor<2xf16>) {
  %x = graph.constant dense<[1.0, 1.0, 256.0]> : tensor<3xbf16>
  %y = graph.constant dense<[0.00390625, 0.0078125, 1.0]> : tensor<3xbf16>
  %0 = graph.add %x, %y : tensor<3xbf16>
  %a = graph.constant dense<[2048.0, 60000.0]> : tensor<2xf16>
  %b = graph.constant dense<[1.0, 60000.0]> : tensor<2xf16>
  %1 = graph.add %a, %b : tensor<2xf16>
  // CHECK-NEXT: bf16 [3]: 1 1.00781 256
  // CHECK-NEXT: f16 [2]: 2048 inf
  return %0, %1 : tensor<3xbf16>, tensor<2xf16>
}

// CHECK-LABEL: @integers
func.func @integers() -> (tensor<2xi8>, tensor<2xi32>, tensor<2xi64>) {
  %x = graph.constant dense<[127, -128]> : tensor<2xi8>
  %y = graph.constant dense<[1, -1]> : tensor<2xi8>
  %0 = graph.add %x, %y : tensor<2xi8>
  %a = graph.constant dense<[-7, 7]> : tensor<2xi32>
  %b = graph.constant dense<2> : tensor<2xi32>
  %1 = graph.div %a, %b : tensor<2xi32>
  %c = graph.convert %a : tensor<2xi32> -> tensor<2xi64>
  %2 = graph.mul %c, %c : tensor<2xi64>
  // CHECK-NEXT: i8 [2]: -128 127
  // CHECK-NEXT: i32 [2]: -3 3
  // CHECK-NEXT: i64 [2]: 49 49
  return %0, %1, %2 : tensor<2xi8>, tensor<2xi32>, tensor<2xi64>
}

// CHECK-LABEL: @choices
func.func @choices() -> (tensor<3xi1>, tensor<3xi1>, tensor<3xf32>, tensor<3xi1>) {
  %x = graph.constant dense<[1.0, 2.0, 0x7FC00000]> : tensor<3xf32>
  %y = graph.constant dense<2.0> : tensor<3xf32>
  %lt = graph.compare lt %x, %y : tensor<3xf32> -> tensor<3xi1>
  %ne = graph.compare ne %x, %y : tensor<3xf32> -> tensor<3xi1>
  %s = graph.select %lt, %x, %y : tensor<3xi1>, tensor<3xf32>
  %not = graph.not %lt : tensor<3xi1>
  %and = graph.and %not, %ne : tensor<3xi1>
  // CHECK-NEXT: bool [3]: 1 0 0
  // CHECK-NEXT: bool [3]: 1 0 1
  // CHECK-NEXT: f32 [3]: 1 2 2
  // CHECK-NEXT: bool [3]: 0 0 1
  return %lt, %ne, %s, %and : tensor<3xi1>, tensor<3xi1>, tensor<3xf32>, tensor<3xi1>
}

// CHECK-LABEL: @conversions
func.func @conversions() -> (tensor<3xi32>, tensor<3xi1>, tensor<3xf16>, tensor<3xf64>) {
  %x = graph.constant dense<[-1.75, 0.0, 3.3]> : tensor<3xf32>
  %0 = graph.convert %x : tensor<3xf32> -> tensor<3xi32>
  %1 = graph.convert %x : tensor<3xf32> -> tensor<3xi1>
  %2 = graph.convert %x : tensor<3xf32> -> tensor<3xf16>
  %3 = graph.convert %0 : tensor<3xi32> -> tensor<3xf64>
  // CHECK-NEXT: i32 [3]: -1 0 3
  // CHECK-NEXT: bool [3]: 1 0 1
  // CHECK-NEXT: f16 [3]: -1.75 0 3.30078
  // CHECK-NEXT: f64 [3]: -1 0 3
  return %0, %1, %2, %3 : tensor<3xi32>, tensor<3xi1>, tensor<3xf16>, tensor<3xf64>
}

// As PyTorch on x86: the low bits of an i32.
// CHECK-LABEL: @narrow_integers
func.func @narrow_integers() -> (tensor<6xi8>, tensor<6xui8>, tensor<4xi8>) {
  %x = graph.constant dense<[1.9, -1.9, 127.6, -300.5, 1000.0, 0.49]> : tensor<6xf32>
  %i = graph.constant dense<[200, -1, 70000, -129]> : tensor<4xi32>
  %0 = graph.convert %x : tensor<6xf32> -> tensor<6xi8>
  %1 = graph.convert %x : tensor<6xf32> -> tensor<6xui8>
  %2 = graph.convert %i : tensor<4xi32> -> tensor<4xi8>
  // CHECK-NEXT: i8 [6]: 1 -1 127 -44 -24 0
  // CHECK-NEXT: u8 [6]: 1 255 127 212 232 0
  // CHECK-NEXT: i8 [4]: -56 -1 112 127
  return %0, %1, %2 : tensor<6xi8>, tensor<6xui8>, tensor<4xi8>
}
