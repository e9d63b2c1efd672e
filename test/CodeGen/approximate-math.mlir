// RUN: mlsys-opt %s -pass-pipeline="builtin.module(func.func(mlsys-approximate-math))" | FileCheck %s
// RUN: mlsys-opt %s -pass-pipeline="builtin.module(func.func(mlsys-approximate-math{avx512}))" | FileCheck %s --check-prefix=AVX512

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

// AVX-512 has an instruction for the factor 2^n.
// CHECK-LABEL: @scaled
// CHECK-NOT:     call_intrinsic
// AVX512-LABEL: @scaled
// AVX512:         llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// AVX512-LABEL: @narrow
// AVX512-NOT:     call_intrinsic
func.func @scaled(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.exp %x : vector<16xf32>
  return %0 : vector<16xf32>
}
func.func @narrow(%x: vector<4xf32>) -> vector<4xf32> {
  %0 = math.exp %x : vector<4xf32>
  return %0 : vector<4xf32>
}

// Two registers at once; roughly where that is enough.
// AVX512-LABEL: @rough
// AVX512-COUNT-2: llvm.call_intrinsic "llvm.x86.avx512.mask.reduce.ps.512"
// AVX512-COUNT-2: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// AVX512:         return
func.func @rough(%x: vector<32xf32>) -> vector<32xf32> {
  %0 = math.exp %x {mlsys.rough} : vector<32xf32>
  return %0 : vector<32xf32>
}

// The C library is called where any angle is far from zero.
// CHECK-LABEL: @waves
// CHECK-SAME:    (%[[X:.*]]: vector<8xf32>, %[[S:.*]]: f32)
// CHECK:         %[[SIZE:.*]] = math.absf %[[X]]
// CHECK:         %[[FAR:.*]] = arith.cmpf olt, %{{.*}}, %[[SIZE]]
// CHECK:         %[[ANY:.*]] = vector.reduction <or>, %[[FAR]]
// CHECK:         scf.if %[[ANY]]
// CHECK-NEXT:      math.sin %[[X]] {mlsys.library}
// CHECK:         } else {
// CHECK-NOT:       math.{{(sin|cos)}}
// CHECK:         scf.if
// CHECK-NEXT:      math.cos %[[S]] {mlsys.library}
func.func @waves(%x: vector<8xf32>, %s: f32) -> (vector<8xf32>, f32) {
  %0 = math.sin %x : vector<8xf32>
  %1 = math.cos %s : f32
  return %0, %1 : vector<8xf32>, f32
}

// NaN in either operand is kept.
// CHECK-LABEL: @extremes
// CHECK-SAME:    (%[[A:.*]]: vector<8xf32>, %[[B:.*]]: vector<8xf32>)
// CHECK-DAG:     %[[GREATER:.*]] = arith.cmpf ogt, %[[A]], %[[B]]
// CHECK-DAG:     %[[LARGER:.*]] = arith.select %[[GREATER]], %[[A]], %[[B]]
// CHECK-DAG:     %[[NAN:.*]] = arith.cmpf uno, %[[A]], %[[A]]
// CHECK:         arith.select %[[NAN]], %[[A]], %[[LARGER]]
func.func @extremes(%a: vector<8xf32>, %b: vector<8xf32>) -> vector<8xf32> {
  %0 = arith.maximumf %a, %b : vector<8xf32>
  return %0 : vector<8xf32>
}

// Of f64 there are no polynomials.
// CHECK-LABEL: @kept
// CHECK:         math.exp
// CHECK:         math.sin
func.func @kept(%d: f64) -> (f64, f64) {
  %0 = math.exp %d : f64
  %1 = math.sin %d : f64
  return %0, %1 : f64, f64
}
