// RUN: not mlsys-translate --to-cuda %s 2>&1 | FileCheck %s
//
// What has no CUDA text. Each kernel has one thing that is wrong, and all are reported.

// CHECK: error: 'kernel.func' op is a kernel for the CPU, which has no CUDA text
kernel.func @cpu(%x: memref<?xf32>, %s: memref<?xi8>, %b: index, %e: index) attributes {kind = "loop", target = "cpu"} {
  kernel.return
}

// CHECK: error: 'kernel.func' op has type 'f64', which CUDA kernels do not have
kernel.func @f64_buffer(%x: memref<?xf64>) attributes {kind = "loop", target = "cuda"} {
  kernel.return
}

// CHECK: error: 'arith.extf' op has type 'f64', which CUDA kernels do not have
kernel.func @f64_value(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xf32>
  %1 = arith.extf %0 : f32 to f64
  kernel.return
}

// CHECK: error: 'arith.constant' op is not an f32 constant
kernel.func @f64_constant(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %0 = arith.constant 0.1 : f64
  kernel.return
}

// CHECK: error: 'arith.constant' op has a constant without CUDA text
kernel.func @odd_constant(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %0 = arith.constant sparse<[[0]], [1.0]> : vector<4xf32>
  kernel.return
}

// CHECK: error: 'math.atan' op has no CUDA text
kernel.func @function(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xf32>
  %1 = math.atan %0 : f32
  kernel.return
}

// Integers of graphs have signs; an unsigned division would print as a signed one.
// CHECK: error: 'arith.divui' op has no CUDA text
kernel.func @unsigned(%x: memref<?xi32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xi32>
  %1 = arith.divui %0, %0 : i32
  kernel.return
}

// CHECK: error: 'arith.cmpi' op has no CUDA text
kernel.func @unsigned_comparison(%x: memref<?xi32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xi32>
  %1 = arith.cmpi ult, %0, %0 : i32
  kernel.return
}

// CHECK: error: 'arith.cmpf' op has no CUDA text
kernel.func @comparison(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xf32>
  %1 = arith.cmpf uno, %0, %0 : f32
  kernel.return
}

// CHECK: error: 'arith.uitofp' op has no CUDA text
kernel.func @unsigned_to_float(%x: memref<?xi32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = memref.load %x[%i] : memref<?xi32>
  %1 = arith.uitofp %0 : i32 to f32
  kernel.return
}

// CHECK: error: 'vector.extract' op has no CUDA text
kernel.func @dynamic_lane(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %i = kernel.thread_id
  %0 = vector.load %x[%i] : memref<?xf32>, vector<4xf32>
  %1 = vector.extract %0[%i] : f32 from vector<4xf32>
  kernel.return
}

// CHECK: error: 'scf.while' op has no CUDA text
kernel.func @while(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %c = arith.constant false
  scf.while : () -> () {
    scf.condition(%c)
  } do {
    scf.yield
  }
  kernel.return
}
