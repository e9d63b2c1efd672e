// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="isa=x86-64-v3 threads=8" | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="isa=x86-64-v3 threads=1" | FileCheck %s --check-prefix=FEW
//
// One token and one key head for eight workers: over a table of 8 pages or more each does a part of the
// keys, and a second kernel joins them. Shorter tables have one part, and no join.

!layer = !graph.kv_layer<layers = 1, heads = 1, dim = 8, page = 64, f32>
!table = tensor<1x?xi32, #graph.dims<[1, P]>>

// CHECK-DAG: #[[GRID:.*]] = affine_map<()[s0] -> (((s0 floordiv 8) ceildiv 16) * 7 + 1)>
// CHECK-DAG: #[[JOIN:.*]] = affine_map<()[s0] -> (((s0 floordiv 8) ceildiv 16) * 2)>
// CHECK-LABEL: func.func @long(
// CHECK:         %[[PARTS:.*]] = kernel.alloc
// CHECK-SAME:    dims <[160]>
// CHECK-NEXT:    kernel.launch @attention_0({{.*}}, %[[PARTS]]) writes [5, 6] grid #[[GRID]]
// CHECK-NEXT:    kernel.launch @attention_1(%[[PARTS]], %{{.*}}) writes [1] grid #[[JOIN]]
// FEW-LABEL: func.func @long(
// FEW-NOT:     kernel.launch @attention_1
func.func @long(%q: tensor<1x2x8xf32>, %l: !graph.kv_cache<layers = 1, heads = 1, dim = 8, page = 64, f32>, %start: tensor<2xi32>,
                %context: tensor<1xi32>, %table: !table) -> tensor<1x2x8xf32>
    attributes {graph.symbols = [#graph.symbol<"P", min = 1, max = 128, hint = 4>]} {
  %l0 = graph.cache_layer %l layer 0 : !graph.kv_cache<layers = 1, heads = 1, dim = 8, page = 64, f32> -> !layer
  %0 = graph.fusion "attention"(%q, %l0, %start, %context, %table) : (tensor<1x2x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, !table) -> tensor<1x2x8xf32> {
  ^bb0(%a: tensor<1x2x8xf32>, %b: !layer, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: !table):
    %1 = graph.paged_attention %a, %b, %s, %c, %t scale 1.0 : tensor<1x2x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, !table
    graph.yield %1 : tensor<1x2x8xf32>
  }
  return %0 : tensor<1x2x8xf32>
}

// -----

!layer = !graph.kv_layer<layers = 1, heads = 1, dim = 8, page = 64, f32>
!table = tensor<1x?xi32, #graph.dims<[1, P]>>

// A window bounds the keys.
// CHECK-LABEL: func.func @window(
// CHECK:         kernel.launch @attention_0
// CHECK-NOT:     kernel.launch
func.func @window(%q: tensor<1x2x8xf32>, %l: !graph.kv_cache<layers = 1, heads = 1, dim = 8, page = 64, f32>, %start: tensor<2xi32>,
                  %context: tensor<1xi32>, %table: !table) -> tensor<1x2x8xf32>
    attributes {graph.symbols = [#graph.symbol<"P", min = 1, max = 128, hint = 4>]} {
  %l0 = graph.cache_layer %l layer 0 : !graph.kv_cache<layers = 1, heads = 1, dim = 8, page = 64, f32> -> !layer
  %0 = graph.fusion "attention"(%q, %l0, %start, %context, %table) : (tensor<1x2x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, !table) -> tensor<1x2x8xf32> {
  ^bb0(%a: tensor<1x2x8xf32>, %b: !layer, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: !table):
    %1 = graph.paged_attention %a, %b, %s, %c, %t window 500 scale 1.0 : tensor<1x2x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, !table
    graph.yield %1 : tensor<1x2x8xf32>
  }
  return %0 : tensor<1x2x8xf32>
}
