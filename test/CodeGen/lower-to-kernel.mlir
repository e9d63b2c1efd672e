// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="isa=x86-64-v3 threads=2" | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="target=cuda" | FileCheck %s --check-prefix=CUDA
//
// Functions become lists of launches over flat buffers. The bodies of kernels have tests of their own.

// Arguments keep their attributes; results become arguments; what is between gets a buffer.
// CHECK-DAG: #[[T:.*]] = affine_map<()[s0, s1] -> (s0)>
// CHECK-DAG: #[[BYTES:.*]] = affine_map<()[s0, s1] -> (s0 * 64)>
// CHECK-LABEL: func.func @buffers(
// CHECK-SAME:    %[[X:[^:]*]]: memref<?xf32> {graph.dims = #graph.dims<[T, 8]>, graph.name = "x", graph.role = "other"}
// CHECK-SAME:    %[[Y:[^:]*]]: memref<?xf32> {graph.dims = #graph.dims<[8, T]>, graph.name = "y", graph.result})
// CHECK-SAME:    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>, #graph.symbol<"U", min = 1, max = 8, hint = 8>]} {
// CHECK-NEXT:    %[[A:.*]] = kernel.alloc memref<?xf32> dims <[T, 8]>
// CHECK-NEXT:    kernel.launch @loop_0(%[[X]], %[[A]]) writes [1] grid #{{.*}} symbols #[[T]] {bytes = #[[BYTES]], flops = #{{.*}}, label = "exp"} : memref<?xf32>, memref<?xf32>
// CHECK-NEXT:    kernel.launch @loop_1(%[[A]], %[[Y]]) writes [1]
// CHECK-NEXT:    return
// CHECK:       kernel.func @loop_0(%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>, %{{.*}}: index, %{{.*}}: memref<?xi8>, %{{.*}}: index, %{{.*}}: index) attributes {kind = "loop", scratch_bytes = 0 : i64, target = "cpu"}
// CUDA-LABEL: func.func @buffers(
// CUDA:         kernel.launch @loop_0({{.*}}) writes [1] grid #{{.*}} symbols #{{.*}} block [
// CUDA:       kernel.func @loop_0(%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>, %{{.*}}: index) attributes {kind = "loop", scratch_bytes = 0 : i64, target = "cuda"}
func.func @buffers(%x: tensor<?x8xf32, #graph.dims<[T, 8]>> {graph.name = "x", graph.role = "other"}) -> (tensor<8x?xf32, #graph.dims<[8, T]>> {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>, #graph.symbol<"U", min = 1, max = 8, hint = 8>]} {
  %0 = graph.fusion "loop"(%x) : (tensor<?x8xf32, #graph.dims<[T, 8]>>) -> tensor<?x8xf32, #graph.dims<[T, 8]>> {
  ^bb0(%a: tensor<?x8xf32, #graph.dims<[T, 8]>>):
    %1 = graph.exp %a : tensor<?x8xf32, #graph.dims<[T, 8]>>
    graph.yield %1 : tensor<?x8xf32, #graph.dims<[T, 8]>>
  }
  %y = graph.fusion "loop"(%0) : (tensor<?x8xf32, #graph.dims<[T, 8]>>) -> tensor<8x?xf32, #graph.dims<[8, T]>> {
  ^bb0(%a: tensor<?x8xf32, #graph.dims<[T, 8]>>):
    %1 = graph.transpose %a permutation [1, 0] : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<8x?xf32, #graph.dims<[8, T]>>
    graph.yield %1 : tensor<8x?xf32, #graph.dims<[8, T]>>
  }
  return %y : tensor<8x?xf32, #graph.dims<[8, T]>>
}

// -----

// Fusions of equal bodies share a kernel; another type makes another.
// CHECK-LABEL: func.func @shared
// CHECK:         kernel.launch @loop_0
// CHECK:         kernel.launch @loop_0
// CHECK:         kernel.launch @loop_1
// CHECK:       kernel.func @loop_0
// CHECK:       kernel.func @loop_1
// CHECK-NOT:   kernel.func
func.func @shared(%x: tensor<8xf32>, %h: tensor<8xf16>) -> (tensor<8xf32>, tensor<8xf16>) {
  %0 = graph.fusion "loop"(%x) : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: tensor<8xf32>):
    %1 = graph.exp %a : tensor<8xf32>
    graph.yield %1 : tensor<8xf32>
  }
  %2 = graph.fusion "loop"(%0) : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: tensor<8xf32>):
    %1 = graph.exp %a : tensor<8xf32>
    graph.yield %1 : tensor<8xf32>
  }
  %3 = graph.fusion "loop"(%h) : (tensor<8xf16>) -> tensor<8xf16> {
  ^bb0(%a: tensor<8xf16>):
    %1 = graph.exp %a : tensor<8xf16>
    graph.yield %1 : tensor<8xf16>
  }
  return %2, %3 : tensor<8xf32>, tensor<8xf16>
}

// -----

// Functions with other symbols share kernels whose code is the same.
// CHECK: func.func @symbols_of_one
// CHECK: kernel.launch @loop_0
// CHECK: func.func @symbols_of_two
// CHECK: kernel.launch @loop_0
func.func @symbols_of_one(%x: tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>> attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  %0 = graph.fusion "loop"(%x) : (tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>> {
  ^bb0(%a: tensor<?xf32, #graph.dims<[T]>>):
    %1 = graph.exp %a : tensor<?xf32, #graph.dims<[T]>>
    graph.yield %1 : tensor<?xf32, #graph.dims<[T]>>
  }
  return %0 : tensor<?xf32, #graph.dims<[T]>>
}
func.func @symbols_of_two(%x: tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>>
    attributes {graph.symbols = [#graph.symbol<"S", min = 1, max = 8, hint = 8>, #graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  %0 = graph.fusion "loop"(%x) : (tensor<?xf32, #graph.dims<[T]>>) -> tensor<?xf32, #graph.dims<[T]>> {
  ^bb0(%a: tensor<?xf32, #graph.dims<[T]>>):
    %1 = graph.exp %a : tensor<?xf32, #graph.dims<[T]>>
    graph.yield %1 : tensor<?xf32, #graph.dims<[T]>>
  }
  return %0 : tensor<?xf32, #graph.dims<[T]>>
}

// -----

// A weight is one constant in each layout that is asked for: the CPU packs it for the dot.
// CUDA reads it as it is. A table of constants comes out of the kernel; a splat goes into it; an input
// that is given twice is one.
// CHECK-LABEL: func.func @constants(
// CHECK-SAME:    %[[X:[^:]*]]: memref<?xf32> {{.*}}, %[[Y:[^:]*]]: memref<?xf32> {{.*}}, %[[Z:[^:]*]]: memref<?xf32>
// CHECK-DAG:     %[[ROWS:.*]] = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [8, 8]> shape [8, 8] : memref<?xf32>
// CHECK-DAG:     %[[PANELS:.*]] = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [8, 8]> shape [8, 8] panels 32 x 1 : memref<?xf32>
// CHECK-DAG:     %[[TABLE:.*]] = kernel.constant "{{.*}}" value dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00, 5.000000e+00, 6.000000e+00, 7.000000e+00, 8.000000e+00]> : tensor<8xf32> shape [8] : memref<?xf32>
// CHECK:         kernel.launch @dot_0(%[[X]], %[[PANELS]], %[[Y]])
// CHECK:         kernel.launch @loop_0(%[[ROWS]], %[[TABLE]], %[[Z]])
// CUDA-LABEL: func.func @constants(
// CUDA-NOT:     panels
// CUDA:         kernel.launch @dot_0
func.func @constants(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<8x8xf32>) {
  %w = graph.weight "w" : tensor<8x8xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [8, 8]>
  %c = graph.constant dense<2.0> : tensor<f32>
  %0 = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %1 : tensor<4x8xf32>
  }
  %2 = graph.fusion "loop"(%w, %c, %w) : (tensor<8x8xf32>, tensor<f32>, tensor<8x8xf32>) -> tensor<8x8xf32> {
  ^bb0(%a: tensor<8x8xf32>, %s: tensor<f32>, %b: tensor<8x8xf32>):
    %table = graph.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
    %1 = graph.broadcast %s dims [] : tensor<f32> -> tensor<8x8xf32>
    %3 = graph.broadcast %table dims [1] : tensor<8xf32> -> tensor<8x8xf32>
    %4 = graph.mul %a, %1 : tensor<8x8xf32>
    %5 = graph.mul %4, %3 : tensor<8x8xf32>
    %6 = graph.add %5, %b : tensor<8x8xf32>
    graph.yield %6 : tensor<8x8xf32>
  }
  return %0, %2 : tensor<4x8xf32>, tensor<8x8xf32>
}

// -----

// A reshape is the same buffer; what is returned twice, or is an argument, is copied.
// CHECK-LABEL: func.func @results(
// CHECK-SAME:    %[[X:[^:]*]]: memref<?xf32> {{{[^}]*}}}, %[[A:[^:]*]]: memref<?xf32> {{{[^}]*}}}, %[[B:[^:]*]]: memref<?xf32> {{{[^}]*}}}, %[[C:[^:]*]]: memref<?xf32>
// CHECK-NEXT:    kernel.launch @loop_0(%[[X]], %[[A]])
// CHECK-NEXT:    kernel.launch @loop_1(%[[A]], %[[B]])
// CHECK-NEXT:    kernel.launch @loop_1(%[[X]], %[[C]])
// CHECK-NEXT:    return
func.func @results(%x: tensor<4x2xf32>) -> (tensor<8xf32>, tensor<4x2xf32>, tensor<4x2xf32>) {
  %0 = graph.fusion "loop"(%x) : (tensor<4x2xf32>) -> tensor<4x2xf32> {
  ^bb0(%a: tensor<4x2xf32>):
    %1 = graph.exp %a : tensor<4x2xf32>
    graph.yield %1 : tensor<4x2xf32>
  }
  %2 = graph.reshape %0 : tensor<4x2xf32> -> tensor<8xf32>
  return %2, %0, %x : tensor<8xf32>, tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

!cache = !graph.kv_cache<layers = 2, heads = 1, dim = 8, page = 16, f32>
!layer = !graph.kv_layer<layers = 2, heads = 1, dim = 8, page = 16, f32>

// A layer is a part of each page (keys and values of 16 tokens, f32: 1024 bytes a layer); a write
// to it is a write to its buffer, and the layer after it is the same buffer.
// CHECK-LABEL: func.func @cache(
// CHECK-SAME:    %[[CACHE:[^:]*]]: memref<?xi8> {graph.role = "kv_cache", graph.type = !graph.kv_cache<layers = 2, heads = 1, dim = 8, page = 16, f32>}
// CHECK-SAME:    %[[BYTES:[^:]*]]: memref<?xi8> {graph.dims = #graph.dims<[4]>, graph.type = tensor<4xui8>}
// CHECK:         %[[L:.*]] = kernel.view %[[CACHE]][1024] : memref<?xi8> to memref<?xf32>
// CHECK-NEXT:    kernel.launch @loop_0(%[[L]], %{{.*}}, %{{.*}}) writes [0]
// CHECK-NEXT:    kernel.launch @loop_1(%[[L]], %{{.*}}, %{{.*}}) writes [0]
// CHECK-NEXT:    kernel.launch @attention_0(%{{.*}}, %[[L]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) writes [5]
func.func @cache(%cache: !cache {graph.role = "kv_cache"}, %k: tensor<4x1x8xf32>, %slots: tensor<4xi64>, %start: tensor<2xi32>, %context: tensor<1xi32>,
                 %blocks: tensor<1x2xi32>, %u: tensor<4xui8>) -> tensor<4x1x8xf32> {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %l1 = graph.fusion "loop"(%l0, %k, %slots) : (!layer, tensor<4x1x8xf32>, tensor<4xi64>) -> !layer {
  ^bb0(%l: !layer, %a: tensor<4x1x8xf32>, %s: tensor<4xi64>):
    %0 = graph.cache_write key %l, %a, %s : !layer, tensor<4x1x8xf32>, tensor<4xi64>
    graph.yield %0 : !layer
  }
  %l2 = graph.fusion "loop"(%l1, %k, %slots) : (!layer, tensor<4x1x8xf32>, tensor<4xi64>) -> !layer {
  ^bb0(%l: !layer, %a: tensor<4x1x8xf32>, %s: tensor<4xi64>):
    %0 = graph.cache_write value %l, %a, %s : !layer, tensor<4x1x8xf32>, tensor<4xi64>
    graph.yield %0 : !layer
  }
  %y = graph.fusion "attention"(%k, %l2, %start, %context, %blocks) : (tensor<4x1x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x2xi32>) -> tensor<4x1x8xf32> {
  ^bb0(%q: tensor<4x1x8xf32>, %l: !layer, %s: tensor<2xi32>, %c: tensor<1xi32>, %b: tensor<1x2xi32>):
    %0 = graph.paged_attention %q, %l, %s, %c, %b scale 1.0 : tensor<4x1x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x2xi32>
    graph.yield %0 : tensor<4x1x8xf32>
  }
  return %y : tensor<4x1x8xf32>
}

// -----

// CHECK: func.func private @nothing_to_do(tensor<4xf32>)
// CHECK-NOT: kernel
func.func private @nothing_to_do(tensor<4xf32>)

// -----

// A matrix that a product reads as panels is gathered from as panels, so that one copy is loaded: pairs
// lie 64 elements apart. CUDA reads rows in both places.
// CHECK-LABEL: func.func @tied
// CHECK:         %[[TABLE:.*]] = kernel.constant "w" {{.*}} panels 32 x 2
// CHECK-NOT:     kernel.constant
// CHECK:         kernel.launch @loop_0(%[[TABLE]],
// CHECK:         kernel.launch @dot_0({{.*}}%[[TABLE]]
// CHECK:       kernel.func @loop_0(%[[W:[^:]*]]: memref<?xbf16>
// CHECK:         vector.load %[[W]]{{.*}} vector<2xbf16>
// CHECK:         vector.from_elements {{.*}} : vector<4xi32>
// CUDA-LABEL:  func.func @tied
// CUDA:          kernel.constant "w"
// CUDA-NOT:      panels
// CUDA:        kernel.func @loop_0
func.func @tied(%ids: tensor<4xi64>, %x: tensor<4x8xbf16>) -> (tensor<4x8xf32>, tensor<4x100xf32>) {
  %w = graph.weight "w" : tensor<100x8xbf16> from #graph.weight_source<file = 0, offset = 0, bytes = 1600, dtype = "bf16", shape = [100, 8]>
  %0 = graph.fusion "loop"(%w, %ids) : (tensor<100x8xbf16>, tensor<4xi64>) -> tensor<4x8xf32> {
  ^bb0(%table: tensor<100x8xbf16>, %i: tensor<4xi64>):
    %1 = graph.gather %table, %i : tensor<100x8xbf16>, tensor<4xi64> -> tensor<4x8xbf16>
    %2 = graph.convert %1 : tensor<4x8xbf16> -> tensor<4x8xf32>
    graph.yield %2 : tensor<4x8xf32>
  }
  %3 = graph.fusion "dot"(%x, %w) : (tensor<4x8xbf16>, tensor<100x8xbf16>) -> tensor<4x100xf32> {
  ^bb0(%a: tensor<4x8xbf16>, %b: tensor<100x8xbf16>):
    %4 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xbf16>, tensor<100x8xbf16> -> tensor<4x100xf32>
    graph.yield %4 : tensor<4x100xf32>
  }
  return %0, %3 : tensor<4x8xf32>, tensor<4x100xf32>
}
