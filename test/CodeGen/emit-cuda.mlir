// RUN: mlsys compile %s --target cuda -o %t.mlsys 2>/dev/null
// RUN: FileCheck %s --input-file %t.mlsys
//
// The text of kernels, as it stands in the program file. That it computes what it should is
// shown by running it (test/cuda, test/end-to-end).

// Buffers are pointers without restrict, symbols are 64-bit integers; constants are written by their bits.
// CHECK-LABEL: #include "mlsys/types.cuh"
// CHECK:       extern "C" __global__ void __launch_bounds__(128) reduce(bf16 *a0, f32 *a1, long long s2) {
// CHECK:         thread_x()
// CHECK:         for (i64 [[I:[a-z0-9]+]] = {{.*}}; [[I]] < s2; [[I]] += {{.*}}) {
// CHECK:           a0{{\[}}[[I]]]
// CHECK:           convert<f32>(
// CHECK:         }
// CHECK:         block_max(
// CHECK:         bar_sync();
// CHECK:         float_from_bits(1065353216u)
// CHECK:         if (
// CHECK:         a1[
kernel.func @reduce(%x: memref<?xbf16>, %y: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "row"} {
  %t = kernel.thread_id
  %b = kernel.block_id 1
  %c128 = arith.constant 128 : index
  %low = arith.constant 0xFF800000 : f32
  %m = scf.for %i = %t to %n step %c128 iter_args(%so = %low) -> (f32) {
    %v = memref.load %x[%i] : memref<?xbf16>
    %w = arith.extf %v : bf16 to f32
    %a = arith.maximumf %so, %w : f32
    scf.yield %a : f32
  }
  %r = kernel.reduce max block %m : f32
  kernel.barrier
  %one = arith.constant 1.0 : f32
  %s = arith.addf %r, %one : f32
  %c0 = arith.constant 0 : index
  %first = arith.cmpi eq, %t, %c0 : index
  scf.if %first {
    memref.store %s, %y[%b] : memref<?xf32>
  }
  kernel.return
}

func.func @f(%x: memref<?xbf16> {graph.dims = #graph.dims<[T, 64]>}, %y: memref<?xf32> {graph.dims = #graph.dims<[T]>, graph.result})
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  kernel.launch @reduce(%x, %y) writes [1] grid affine_map<()[s0] -> (1, s0, 1)> symbols affine_map<()[s0] -> (64)> block [128, 1, 1] : memref<?xbf16>, memref<?xf32>
  return
}
