// RUN: mlsys-opt %s -pass-pipeline="builtin.module(func.func(mlsys-approximate-math))" | FileCheck %s

// CHECK-LABEL: @polynomials
// CHECK-NOT:     math.{{(exp|log|tanh|erf) }}
// CHECK:         return
func.func @polynomials(%x: vector<8xf32>) -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
  %0 = math.exp %x : vector<8xf32>
  %1 = math.log %x : vector<8xf32>
  %2 = math.tanh %x : vector<8xf32>
  %3 = math.erf %x : vector<8xf32>
  return %0, %1, %2, %3 : vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>
}

// Far from zero a polynomial of an angle is inaccurate; of f64 there is none.
// CHECK-LABEL: @kept
// CHECK:         math.sin
// CHECK:         math.cos
// CHECK:         math.exp
func.func @kept(%x: f32, %d: f64) -> (f32, f32, f64) {
  %0 = math.sin %x : f32
  %1 = math.cos %x : f32
  %2 = math.exp %d : f64
  return %0, %1, %2 : f32, f32, f64
}
