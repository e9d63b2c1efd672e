// RUN: mlsys-opt %s -mlsys-lower-to-llvm | FileCheck %s

// Buffers come from an array of pointers, symbols from an array of integers; the scratch memory and the
// range of tasks are arguments.
// CHECK-LABEL: llvm.func @scale
// CHECK-SAME:    (%[[BUFFERS:.*]]: !llvm.ptr, %[[SYMBOLS:.*]]: !llvm.ptr, %[[SCRATCH:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK-DAG:     llvm.load %[[BUFFERS]]
// CHECK-DAG:     llvm.getelementptr{{.*}} %[[BUFFERS]]
// CHECK-DAG:     llvm.load %[[SYMBOLS]]
// CHECK:         llvm.fmul
// CHECK:         llvm.return
// Nothing of the other dialects is left, and the runtime calls kernels by itself.
// CHECK-NOT:     {{(arith|memref|scf|vector|kernel|func|builtin.unrealized)[._]}}
// CHECK-NOT:     @forward
kernel.func @scale(%x: memref<?xf32>, %y: memref<?xf32>, %T: index, %scratch: memref<?xi8>, %begin: index, %end: index) attributes {target = "cpu", kind = "loop"} {
  %c1 = arith.constant 1 : index
  scf.for %i = %begin to %end step %c1 {
    %j = arith.muli %i, %T : index
    %a = memref.load %x[%j] : memref<?xf32>
    %b = arith.mulf %a, %a : f32
    memref.store %b, %y[%j] : memref<?xf32>
  }
  kernel.return
}

func.func @forward(%x: memref<?xf32>, %y: memref<?xf32>) attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  kernel.launch @scale(%x, %y) writes [1] grid affine_map<()[s0] -> (s0)> symbols affine_map<()[s0] -> (s0)> : memref<?xf32>, memref<?xf32>
  return
}
