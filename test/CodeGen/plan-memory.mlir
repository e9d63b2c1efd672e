// RUN: mlsys-opt %s -mlsys-plan-memory | FileCheck %s

kernel.func @move(%x: memref<?xf32>, %y: memref<?xf32>, %scratch: memref<?xi8>, %begin: index, %end: index)
    attributes {target = "cpu", kind = "loop"} { kernel.return }

// A chain needs two slots: what a launch reads and what it writes.
// CHECK-LABEL: @chain
func.func @chain(%x: memref<?xf32> {graph.dims = #graph.dims<[T, 4]>},
           %y: memref<?xf32> {graph.dims = #graph.dims<[T, 4]>, graph.result})
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = -1, hint = 16>]} {
  // CHECK: kernel.alloc {{.*}}[T, 4]> slot 0
  // CHECK: kernel.alloc {{.*}}[T, 4]> slot 1
  // CHECK: kernel.alloc {{.*}}[T, 4]> slot 0
  %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 4]>
  %b = kernel.alloc memref<?xf32> dims #graph.dims<[T, 4]>
  %c = kernel.alloc memref<?xf32> dims #graph.dims<[T, 4]>
  kernel.launch @move(%x, %a) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%a, %b) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%b, %c) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%c, %y) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  return
}

// Two slots are free for the last buffer; it takes the tighter one.
// CHECK-LABEL: @best_fit
func.func @best_fit(%x: memref<?xf32> {graph.dims = #graph.dims<[8]>},
           %y: memref<?xf32> {graph.dims = #graph.dims<[8]>, graph.result}) {
  // CHECK: kernel.alloc {{.*}}[64]> slot 0
  // CHECK: kernel.alloc {{.*}}[32]> slot 1
  // CHECK: kernel.alloc {{.*}}[8]> slot 1
  %big = kernel.alloc memref<?xf32> dims #graph.dims<[64]>
  %middle = kernel.alloc memref<?xf32> dims #graph.dims<[32]>
  %small = kernel.alloc memref<?xf32> dims #graph.dims<[8]>
  kernel.launch @move(%x, %big) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%big, %middle) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%middle, %y) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%x, %small) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%small, %y) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  return
}

// T is 16 at its hint: the buffer of T rows is the larger.
// CHECK-LABEL: @hints
func.func @hints(%x: memref<?xf32> {graph.dims = #graph.dims<[T]>},
           %y: memref<?xf32> {graph.dims = #graph.dims<[T]>, graph.result})
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = -1, hint = 16>]} {
  // CHECK: kernel.alloc {{.*}}[8]> slot 1
  // CHECK: kernel.alloc {{.*}}[T]> slot 0
  %few = kernel.alloc memref<?xf32> dims #graph.dims<[8]>
  %many = kernel.alloc memref<?xf32> dims #graph.dims<[T]>
  kernel.launch @move(%x, %few) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%few, %many) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%many, %y) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  return
}

// A view keeps its buffer alive; a buffer that no launch uses disappears.
// CHECK-LABEL: @views
func.func @views(%x: memref<?xf32> {graph.dims = #graph.dims<[8]>},
           %y: memref<?xf32> {graph.dims = #graph.dims<[8]>, graph.result}) {
  // CHECK: kernel.alloc {{.*}}[8]> slot 0
  // CHECK: kernel.alloc {{.*}}[8]> slot 1
  // CHECK-NOT: kernel.alloc
  // CHECK: kernel.view
  // CHECK-NOT: kernel.view
  %a = kernel.alloc memref<?xf32> dims #graph.dims<[8]>
  %b = kernel.alloc memref<?xf32> dims #graph.dims<[8]>
  %unused = kernel.alloc memref<?xf32> dims #graph.dims<[8]>
  %view = kernel.view %a[16] : memref<?xf32> to memref<?xf32>
  %gone = kernel.view %unused[16] : memref<?xf32> to memref<?xf32>
  kernel.launch @move(%x, %a) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%x, %b) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  kernel.launch @move(%view, %y) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>, memref<?xf32>
  return
}

// Other functions have nothing to plan.
// CHECK-LABEL: @nothing_to_do
// CHECK-NEXT:    return
func.func @nothing_to_do() {
  return
}
