// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="isa=x86-64-v4 threads=2" | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="isa=avx512bf16 threads=2" -mlsys-lower-to-llvm="isa=avx512bf16" | FileCheck %s --check-prefix=LLVM
//
// Results that leave the caches are stored past them.

// 128 MiB: more than any cache. Inputs are fetched ahead.
// CHECK-LABEL: kernel.func @loop_0
// CHECK:         memref.prefetch
// CHECK:         vector.store {{.*}} {alignment = 64 : i64, nontemporal = true}
// CHECK-NOT:     nontemporal = false
func.func @large(%x: tensor<4096x4096xf32>) -> tensor<4096x4096xf32> {
  %0 = graph.fusion "loop"(%x) : (tensor<4096x4096xf32>) -> tensor<4096x4096xf32> {
  ^bb0(%a: tensor<4096x4096xf32>):
    %1 = graph.neg %a : tensor<4096x4096xf32>
    graph.yield %1 : tensor<4096x4096xf32>
  }
  return %0 : tensor<4096x4096xf32>
}

// -----

// CHECK-LABEL: kernel.func @loop_0
// CHECK-NOT:     nontemporal
// CHECK-NOT:     prefetch
// CHECK:         kernel.return
func.func @small(%x: tensor<512x4096xf32>) -> tensor<512x4096xf32> {
  %0 = graph.fusion "loop"(%x) : (tensor<512x4096xf32>) -> tensor<512x4096xf32> {
  ^bb0(%a: tensor<512x4096xf32>):
    %1 = graph.neg %a : tensor<512x4096xf32>
    graph.yield %1 : tensor<512x4096xf32>
  }
  return %0 : tensor<512x4096xf32>
}

// -----

// Rows that do not start aligned cannot.
// CHECK-LABEL: kernel.func @loop_0
// CHECK-NOT:     nontemporal
// CHECK:         kernel.return
func.func @odd(%x: tensor<4096x4095xf32>) -> tensor<4096x4095xf32> {
  %0 = graph.fusion "loop"(%x) : (tensor<4096x4095xf32>) -> tensor<4096x4095xf32> {
  ^bb0(%a: tensor<4096x4095xf32>):
    %1 = graph.neg %a : tensor<4096x4095xf32>
    graph.yield %1 : tensor<4096x4095xf32>
  }
  return %0 : tensor<4096x4095xf32>
}

// -----

// Symbols choose at run time.
// CHECK-LABEL: kernel.func @loop_0
// CHECK:         %[[LARGE:.*]] = arith.cmpi ult, %c33554432, %{{.*}} : index
// CHECK:         scf.if %[[LARGE]] {
// CHECK:           nontemporal = true
// CHECK:         } else {
// CHECK-NOT:       nontemporal
// CHECK:         kernel.return
func.func @symbols(%x: tensor<?x4096xf32, #graph.dims<[T, 4096]>>) -> tensor<?x4096xf32, #graph.dims<[T, 4096]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8192, hint = 512>]} {
  %0 = graph.fusion "loop"(%x) : (tensor<?x4096xf32, #graph.dims<[T, 4096]>>) -> tensor<?x4096xf32, #graph.dims<[T, 4096]>> {
  ^bb0(%a: tensor<?x4096xf32, #graph.dims<[T, 4096]>>):
    %1 = graph.neg %a : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
    graph.yield %1 : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
  }
  return %0 : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
}

// -----

// A symbol's range may say that everything is small.
// CHECK-LABEL: kernel.func @loop_0
// CHECK-NOT:     scf.if
// CHECK-NOT:     nontemporal
// CHECK:         kernel.return
func.func @bounded(%x: tensor<?x4096xf32, #graph.dims<[T, 4096]>>) -> tensor<?x4096xf32, #graph.dims<[T, 4096]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 512>]} {
  %0 = graph.fusion "loop"(%x) : (tensor<?x4096xf32, #graph.dims<[T, 4096]>>) -> tensor<?x4096xf32, #graph.dims<[T, 4096]>> {
  ^bb0(%a: tensor<?x4096xf32, #graph.dims<[T, 4096]>>):
    %1 = graph.neg %a : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
    graph.yield %1 : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
  }
  return %0 : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
}

// -----

// Softmax computes its exponentials once, keeps them in scratch memory, and divides once a row.
// CHECK-LABEL: kernel.func @row_0
// CHECK-SAME:    scratch_bytes = 16384
// CHECK:         memref.view
// A result of 16 bits needs no exact exponential; two registers make a line.
// CHECK:         math.exp %{{.*}} {mlsys.rough} : vector<32xf32>
// CHECK:         arith.divf %{{.*}}, %{{.*}} : f32
// CHECK-NOT:     math.exp
// CHECK-NOT:     arith.divf %{{.*}}, %{{.*}} : vector
// CHECK:         nontemporal = true
// LLVM-LABEL: llvm.func @row_0
// Two registers are converted at once. LLVM drops the hint from stores of 16-bit floats.
// LLVM:         llvm.call_intrinsic "llvm.x86.avx512.mask.reduce.ps.512"
// LLVM:         llvm.call_intrinsic "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
// LLVM:         llvm.inline_asm has_side_effects "vmovntps $1, ($0)", "r,v,~{memory}" {{.*}}: (!llvm.ptr, vector<16xf32>)
func.func @softmax(%x: tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16> {
  %0 = graph.fusion "row"(%x) : (tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16> {
  ^bb0(%a: tensor<4096x4096xbf16>):
    %f = graph.convert %a : tensor<4096x4096xbf16> -> tensor<4096x4096xf32>
    %max = graph.reduce max %f dims [1] : tensor<4096x4096xf32> -> tensor<4096xf32>
    %maxes = graph.broadcast %max dims [0] : tensor<4096xf32> -> tensor<4096x4096xf32>
    %shifted = graph.sub %f, %maxes : tensor<4096x4096xf32>
    %e = graph.exp %shifted : tensor<4096x4096xf32>
    %sum = graph.reduce sum %e dims [1] : tensor<4096x4096xf32> -> tensor<4096xf32>
    %sums = graph.broadcast %sum dims [0] : tensor<4096xf32> -> tensor<4096x4096xf32>
    %q = graph.div %e, %sums : tensor<4096x4096xf32>
    %r = graph.convert %q : tensor<4096x4096xf32> -> tensor<4096x4096xbf16>
    graph.yield %r : tensor<4096x4096xbf16>
  }
  return %0 : tensor<4096x4096xbf16>
}
