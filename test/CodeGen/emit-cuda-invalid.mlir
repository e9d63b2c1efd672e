// RUN: split-file %s %t
// RUN: not mlsys compile %t/type.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/type.mlir
// RUN: not mlsys compile %t/constant.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/constant.mlir
// RUN: not mlsys compile %t/operation.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/operation.mlir
// RUN: not mlsys compile %t/unsigned.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/unsigned.mlir
// RUN: not mlsys compile %t/unsigned-convert.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/unsigned-convert.mlir
// RUN: not mlsys compile %t/extract.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/extract.mlir
// RUN: not mlsys compile %t/region.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/region.mlir
// RUN: not mlsys compile %t/blob.mlir --target cuda -o %t/o.mlsys 2>&1 | FileCheck %t/blob.mlir

//--- type.mlir
// CHECK: 'kernel.func' op has type 'f64', which CUDA kernels do not have
kernel.func @k(%x: memref<?xf64>) attributes {target = "cuda", kind = "loop"} { kernel.return }
//--- constant.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} {
  // CHECK: 'arith.constant' op is not an f32 constant
  %0 = arith.constant 1.0e-300 : f64
  kernel.return
}
//--- operation.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} {
  %0 = arith.constant 1.0 : f32
  // CHECK: 'math.atan' op has no CUDA text
  %1 = math.atan %0 : f32
  kernel.return
}
//--- unsigned.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} {
  %0 = arith.constant 1 : i32
  // CHECK: 'arith.divui' op has no CUDA text
  %1 = arith.divui %0, %0 : i32
  kernel.return
}
//--- unsigned-convert.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} {
  %0 = arith.constant 1 : i32
  // CHECK: 'arith.uitofp' op has no CUDA text
  %1 = arith.uitofp %0 : i32 to f32
  kernel.return
}
//--- extract.mlir
kernel.func @k(%x: memref<?xf32>, %i: index) attributes {target = "cuda", kind = "loop"} {
  %0 = arith.constant dense<1.0> : vector<4xf32>
  // CHECK: 'vector.extract' op has no CUDA text
  %1 = vector.extract %0[%i] : f32 from vector<4xf32>
  kernel.return
}
//--- region.mlir
kernel.func @k(%x: memref<?xf32>, %i: index) attributes {target = "cuda", kind = "loop"} {
  %c1 = arith.constant 1 : index
  // CHECK: 'scf.parallel' op has no CUDA text
  scf.parallel (%j) = (%c1) to (%i) step (%c1) {
  }
  kernel.return
}
//--- blob.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} {
  // CHECK: 'arith.constant' op has a constant without CUDA text
  %0 = arith.constant dense_resource<blob> : tensor<1xf32>
  kernel.return
}
{-#
  dialect_resources: { builtin: { blob: "0x040000000000803F" } }
#-}
