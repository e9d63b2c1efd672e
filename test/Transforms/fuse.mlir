// RUN: mlsys-opt %s -split-input-file -mlsys-decompose -mlsys-fuse | FileCheck %s
// RUN: mlsys-opt %s -split-input-file -mlsys-decompose -mlsys-fuse --remarks-filter=fusion --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=REMARK

// A chain of elementwise operations is one kernel.
// CHECK-LABEL: @chain
// CHECK: graph.fusion "loop"(%{{.*}}, %{{.*}})
// CHECK: graph.add
// CHECK-NEXT: graph.exp
// CHECK-NEXT: graph.neg
// CHECK-NEXT: graph.yield
// CHECK-NOT: graph.fusion
func.func @chain(%x: tensor<8xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %0 = graph.add %x, %y : tensor<8xf32>
  %1 = graph.exp %0 : tensor<8xf32>
  %2 = graph.neg %1 : tensor<8xf32>
  return %2 : tensor<8xf32>
}

// -----

// Softmax: two reductions over the same rows and what is between and after them.
// CHECK-LABEL: @softmax
// CHECK: graph.fusion "row"
// CHECK: graph.reduce max
// CHECK: graph.reduce sum
// CHECK: graph.div
// CHECK-NOT: graph.fusion
func.func @softmax(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %0 = graph.reduce max %x dims [1] : tensor<4x16xf32> -> tensor<4xf32>
  %1 = graph.broadcast %0 dims [0] : tensor<4xf32> -> tensor<4x16xf32>
  %2 = graph.sub %x, %1 : tensor<4x16xf32>
  %3 = graph.exp %2 : tensor<4x16xf32>
  %4 = graph.reduce sum %3 dims [1] : tensor<4x16xf32> -> tensor<4xf32>
  %5 = graph.broadcast %4 dims [0] : tensor<4xf32> -> tensor<4x16xf32>
  %6 = graph.div %3, %5 : tensor<4x16xf32>
  return %6 : tensor<4x16xf32>
}

// -----

// Both results are stored by one kernel.
// CHECK-LABEL: @multi_output
// CHECK: %[[R:.*]]:2 = graph.fusion "loop"
// CHECK: graph.cos
// CHECK: graph.sin
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @multi_output(%x: tensor<64xf32>, %y: tensor<64xf32>) -> (tensor<64xf32>, tensor<64xf32>) {
  %0 = graph.mul %x, %y : tensor<64xf32>
  %1 = graph.cos %0 : tensor<64xf32>
  %2 = graph.sin %0 : tensor<64xf32>
  return %1, %2 : tensor<64xf32>, tensor<64xf32>
}

// -----

// A row that reads its own reduction cannot be the prologue of a dot with many
// rows: each task would compute it again.
#x = #graph.dims<[T, 256]>
// CHECK-LABEL: @prefill_norm
// CHECK: %[[N:.*]] = graph.fusion "row"
// CHECK: graph.fusion "dot"(%[[N]]
// REMARK: recomputing graph.{{.*}} costs more than it saves
func.func @prefill_norm(%x: tensor<?x256xf32, #x>, %w: tensor<4096x256xf32>) -> tensor<?x4096xf32, #graph.dims<[T, 4096]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 512>]} {
  %0 = graph.mul %x, %x : tensor<?x256xf32, #x>
  %1 = graph.reduce sum %0 dims [1] : tensor<?x256xf32, #x> -> tensor<?xf32, #graph.dims<[T]>>
  %2 = graph.rsqrt %1 : tensor<?xf32, #graph.dims<[T]>>
  %3 = graph.broadcast %2 dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?x256xf32, #x>
  %4 = graph.mul %x, %3 : tensor<?x256xf32, #x>
  %5 = graph.dot %4, %w batch [] x [] contract [1] x [1] : tensor<?x256xf32, #x>, tensor<4096x256xf32> -> tensor<?x4096xf32, #graph.dims<[T, 4096]>>
  return %5 : tensor<?x4096xf32, #graph.dims<[T, 4096]>>
}

// -----

// The exponential and the sum cannot be one kernel: the dot stands between.
// CHECK-LABEL: @no_cycle
// CHECK: %[[E:.*]] = graph.fusion "loop"(%arg0
// CHECK: %[[D:.*]] = graph.fusion "dot"(%[[E]]
// CHECK: graph.fusion "loop"(%[[D]], %[[E]]
// REMARK: another kernel stands between them
func.func @no_cycle(%x: tensor<64x64xf32>, %w: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %0 = graph.exp %x : tensor<64x64xf32>
  %1 = graph.dot %0, %w batch [] x [] contract [1] x [1] : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
  %2 = graph.transpose %1 permutation [1, 0] : tensor<64x64xf32> -> tensor<64x64xf32>
  %3 = graph.add %0, %2 : tensor<64x64xf32>
  return %3 : tensor<64x64xf32>
}

// -----

// A reduction over a dot's columns needs whole rows, which no tile has.
// CHECK-LABEL: @no_row_epilogue
// CHECK: graph.fusion "dot"
// CHECK: graph.fusion "row"
// REMARK: graph.reduce cannot be in a dot's epilogue
func.func @no_row_epilogue(%x: tensor<4x64xf32>, %w: tensor<64x64xf32>) -> tensor<4xf32> {
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<4x64xf32>, tensor<64x64xf32> -> tensor<4x64xf32>
  %1 = graph.reduce max %0 dims [1] : tensor<4x64xf32> -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// Outputs of different sizes stay apart.
// CHECK-LABEL: @no_common_domain
// CHECK-COUNT-2: graph.fusion "loop"
func.func @no_common_domain(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x32xf32>) {
  %0 = graph.exp %x : tensor<4x64xf32>
  %1 = graph.slice %0 offsets [0, 32] : tensor<4x64xf32> -> tensor<4x32xf32>
  return %0, %1 : tensor<4x64xf32>, tensor<4x32xf32>
}

// -----

// The second dot reads the first one's result as its weight.
// CHECK-LABEL: @dependent_siblings
// CHECK: %[[D:.*]] = graph.fusion "dot"(%arg0, %arg1)
// CHECK: graph.fusion "dot"(%arg0, %[[D]])
// REMARK: sibling dot: a dot's right side is computed in the same kernel
func.func @dependent_siblings(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %1 = graph.dot %x, %0 batch [] x [] contract [1] x [1] : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}

// -----

// Products with the same experts are one kernel with what follows them; the product that reads
// its result is another, and the sum over the experts a third.
// CHECK-LABEL: @experts
// CHECK: %[[H:.*]] = graph.fusion "dot"(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}})
// CHECK: graph.expert_dot
// CHECK: graph.expert_dot
// CHECK: graph.mul
// CHECK: graph.yield
// CHECK: graph.fusion "dot"(%[[H]],
// CHECK: graph.expert_dot
// CHECK: graph.mul
// CHECK: graph.yield
// CHECK: graph.fusion "loop"
// CHECK: graph.add
// CHECK-NOT: graph.fusion
// REMARK: graph.expert_dot into graph.expert_dot: dots have different left sides
func.func @experts(%x: tensor<8x16xf32>, %gate: tensor<4x32x16xf32>, %up: tensor<4x32x16xf32>,
                   %down: tensor<4x16x32xf32>, %e: tensor<8x2xi32>, %p: tensor<8x2xf32>) -> tensor<8x16xf32> {
  %0 = graph.expert_dot %x, %gate, %e : tensor<8x16xf32>, tensor<4x32x16xf32>, tensor<8x2xi32> -> tensor<8x2x32xf32>
  %1 = graph.expert_dot %x, %up, %e : tensor<8x16xf32>, tensor<4x32x16xf32>, tensor<8x2xi32> -> tensor<8x2x32xf32>
  %2 = graph.sigmoid %0 : tensor<8x2x32xf32>
  %3 = graph.mul %2, %1 : tensor<8x2x32xf32>
  %4 = graph.expert_dot %3, %down, %e : tensor<8x2x32xf32>, tensor<4x16x32xf32>, tensor<8x2xi32> -> tensor<8x2x16xf32>
  %5 = graph.broadcast %p dims [0, 1] : tensor<8x2xf32> -> tensor<8x2x16xf32>
  %6 = graph.mul %4, %5 : tensor<8x2x16xf32>
  %7 = graph.slice %6 offsets [0, 0, 0] : tensor<8x2x16xf32> -> tensor<8x1x16xf32>
  %8 = graph.reshape %7 : tensor<8x1x16xf32> -> tensor<8x16xf32>
  %9 = graph.slice %6 offsets [0, 1, 0] : tensor<8x2x16xf32> -> tensor<8x1x16xf32>
  %10 = graph.reshape %9 : tensor<8x1x16xf32> -> tensor<8x16xf32>
  %11 = graph.add %8, %10 : tensor<8x16xf32>
  return %11 : tensor<8x16xf32>
}

// -----

// A router and its experts read the same tokens, but their rows differ; so do those of other experts.
// CHECK-LABEL: @other_rows
// CHECK-COUNT-3: graph.fusion "dot"
// CHECK-NOT: graph.fusion "dot"
func.func @other_rows(%x: tensor<8x16xf32>, %r: tensor<4x16xf32>, %w: tensor<4x32x16xf32>, %e: tensor<8x2xi32>, %f: tensor<8x2xi32>)
    -> (tensor<8x4xf32>, tensor<8x2x32xf32>, tensor<8x2x32xf32>) {
  %0 = graph.dot %x, %r batch [] x [] contract [1] x [1] : tensor<8x16xf32>, tensor<4x16xf32> -> tensor<8x4xf32>
  %1 = graph.expert_dot %x, %w, %e : tensor<8x16xf32>, tensor<4x32x16xf32>, tensor<8x2xi32> -> tensor<8x2x32xf32>
  %2 = graph.expert_dot %x, %w, %f : tensor<8x16xf32>, tensor<4x32x16xf32>, tensor<8x2xi32> -> tensor<8x2x32xf32>
  return %0, %1, %2 : tensor<8x4xf32>, tensor<8x2x32xf32>, tensor<8x2x32xf32>
}

// -----

// The whole of a router: softmax, the largest, their sum.
// CHECK-LABEL: @router
// CHECK: graph.fusion "row"
// CHECK-NOT: graph.fusion
// CHECK: return
func.func @router(%x: tensor<8x4xf32>) -> (tensor<8x2xf32>, tensor<8x2xi32>) {
  %p = graph.softmax %x dim 1 : tensor<8x4xf32>
  %v, %i = graph.top_k %p k 2 : tensor<8x4xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  %s = graph.reduce sum %v dims [1] : tensor<8x2xf32> -> tensor<8xf32>
  %t = graph.broadcast %s dims [0] : tensor<8xf32> -> tensor<8x2xf32>
  %w = graph.div %v, %t : tensor<8x2xf32>
  return %w, %i : tensor<8x2xf32>, tensor<8x2xi32>
}

// -----

// Inputs alone are no kernels.
// CHECK-LABEL: @nothing_to_do
// CHECK-NEXT:    %[[W:.*]] = graph.weight "w"
// CHECK-NEXT:    return %[[W]]
func.func @nothing_to_do() -> tensor<8xf32> {
  %w = graph.weight "w" : tensor<8xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 32, dtype = "f32", shape = [8]>
  return %w : tensor<8xf32>
}
