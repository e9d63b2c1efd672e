// RUN: mlsys-opt %s | mlsys-opt | FileCheck %s
// RUN: mlsys-opt %s -mlir-print-op-generic | mlsys-opt | FileCheck %s
//
// Every operation of the kernel dialect is read and printed again.

// CHECK-DAG: #[[TASKS:.*]] = affine_map<()[s0] -> (s0 ceildiv 4)>
// CHECK-DAG: #[[SYMBOL:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-DAG: #[[BYTES:.*]] = affine_map<()[s0] -> (s0 * 512)>
// CHECK-DAG: #[[FLOPS:.*]] = affine_map<()[s0] -> (s0 * 64)>
// CHECK-DAG: #[[BLOCKS:.*]] = affine_map<()[s0] -> (s0, 2, 1)>
// CHECK-DAG: #[[NOTHING:.*]] = affine_map<()[s0] -> ()>

// CHECK-LABEL: kernel.func @loop_0
// CHECK-SAME:    (%[[X:.*]]: memref<?xf32>, %[[Y:.*]]: memref<?xf32>, %[[T:.*]]: index, %[[SCRATCH:.*]]: memref<?xi8>, %[[BEGIN:.*]]: index, %[[END:.*]]: index)
// CHECK-SAME:    attributes {kind = "loop", scratch_bytes = 64 : i64, target = "cpu"}
// CHECK:         kernel.return
kernel.func @loop_0(%x: memref<?xf32>, %y: memref<?xf32>, %T: index, %scratch: memref<?xi8>, %begin: index, %end: index)
    attributes {target = "cpu", kind = "loop", scratch_bytes = 64 : i64} {
  kernel.return
}

// CHECK-LABEL: kernel.func @block
// CHECK-SAME:    (%[[X:.*]]: memref<?xf32>)
kernel.func @block(%x: memref<?xf32>) attributes {target = "cuda", kind = "row"} {
  // CHECK: kernel.block_id 2
  %b = kernel.block_id 2
  // CHECK: %[[T:.*]] = kernel.thread_id
  %t = kernel.thread_id
  // CHECK: kernel.shared 1024 : memref<16xf32>
  %s = kernel.shared 1024 : memref<16xf32>
  %v = memref.load %x[%t] : memref<?xf32>
  // CHECK: %[[WARP:.*]] = kernel.reduce max %{{.*}} : f32
  %w = kernel.reduce max %v : f32
  // CHECK: kernel.reduce sum block %[[WARP]] : f32
  %r = kernel.reduce sum block %w : f32
  // CHECK: kernel.barrier
  kernel.barrier
  // CHECK: kernel.grid_launch
  kernel.grid_launch
  // CHECK: kernel.grid_wait
  kernel.grid_wait
  kernel.return
}

// CHECK-LABEL: kernel.func @wgmma
kernel.func @wgmma(%y: memref<?xf32>, %m: index) attributes {target = "cuda", kind = "dot", kernel.tensor_maps = 5 : i64} {
  // CHECK: kernel.wgmma [2, 128, 4, 16] : bf16 shape(%{{.*}}, %{{.*}}) columns [256, 64] epilogues {
  kernel.wgmma [2, 128, 4, 16] : bf16 shape(%m, %m) columns [256, 64] epilogues {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
      // CHECK: kernel.tile_load 1[
      %v = kernel.tile_load 1 [%rows, %columns] : f32
  }, {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
  }
  // CHECK: kernel.wgmma swapped [1, 64, 32, 8] : f16
  kernel.wgmma swapped [1, 64, 32, 8] : f16 shape(%m, %m) columns [64] epilogues {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
  }
  kernel.return
}

// CHECK-LABEL: kernel.func @expert
kernel.func @expert(%x: memref<?xf32>, %w: memref<?xf32>, %e: memref<?xi32>, %m: index) attributes {target = "cuda", kind = "dot"} {
  %c0 = arith.constant 0 : index
  // CHECK: %[[LIST:.*]] = kernel.shared 4096 : memref<16xi32>
  %list = kernel.shared 4096 : memref<16xi32>
  // CHECK: kernel.collect_rows %{{.*}}[%{{.*}}] expert %{{.*}} skip %{{.*}} into %[[LIST]] : memref<?xi32>, memref<16xi32>
  %total = kernel.collect_rows %e[%m] expert %c0 skip %c0 into %list : memref<?xi32>, memref<16xi32>
  // CHECK: kernel.contract "gemv" [16, 16, 8, 512] weights(%{{.*}} : memref<?xf32>) lhs(%{{.*}} : memref<?xf32>) rows(%[[LIST]] : memref<16xi32>) offset(%{{.*}}) shape(%{{.*}}, %{{.*}}, %{{.*}}) at(%{{.*}}, %{{.*}}) attributes {rows_per_left = 2 : i64}
  kernel.contract "gemv" [16, 16, 8, 512] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) rows(%list : memref<16xi32>) offset(%m)
    shape(%total, %m, %m) at(%c0, %c0) attributes {rows_per_left = 2 : i64} prologue { } epilogue {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
    }
  kernel.return
}

// CHECK-LABEL: kernel.func @join
kernel.func @join(%p: memref<?xf32>, %c: memref<?xi32>, %o: memref<?xbf16>, %s: index) attributes {target = "cuda", kind = "attention"} {
  // CHECK: kernel.attention_join %{{.*}}, %{{.*}} splits(%{{.*}}) result(%{{.*}}) {head_dim = 64 : i64, heads = 9 : i64, part_keys = 256 : i64} : memref<?xf32>, memref<?xi32>, memref<?xbf16>
  kernel.attention_join %p, %c splits(%s) result(%o) {heads = 9 : i64, head_dim = 64 : i64, part_keys = 256 : i64} : memref<?xf32>, memref<?xi32>, memref<?xbf16>
  kernel.return
}

// CHECK-LABEL: kernel.func @few
kernel.func @few(%x: memref<?xbf16>, %w: memref<?xbf16>, %m: index) attributes {target = "cuda", kind = "dot"} {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  // CHECK: %[[ROWS:.*]] = kernel.shared 1024 : memref<192xbf16>
  %s = kernel.shared 1024 : memref<192xbf16>
  // CHECK: kernel.contract "gemv_mma" [2, 1, 1, 2, 4] weights(%{{.*}} : memref<?xbf16>) half(%{{.*}}) shape(%{{.*}}, %{{.*}}, %{{.*}}) at(%{{.*}}, %{{.*}}) prepare {
  // CHECK-NEXT: kernel.grid_wait
  // CHECK-NEXT: kernel.fetch_rows %{{.*}}[%{{.*}}, %{{.*}}] into %[[ROWS]] stride 96 : memref<?xbf16>, memref<192xbf16>
  // CHECK-NEXT: } prologue {
  kernel.contract "gemv_mma" [2, 1, 1, 2, 4] weights(%w : memref<?xbf16>) half(%c64) shape(%m, %m, %c64) at(%c0, %c0)
    prepare {
      kernel.grid_wait
      kernel.fetch_rows %x[%m, %c64] into %s stride 96 : memref<?xbf16>, memref<192xbf16>
    } prologue {
    ^bb0(%row: index, %k: index):
      %at = arith.addi %row, %k : index
      %v = vector.load %s[%at] : memref<192xbf16>, vector<8xbf16>
      %e = arith.extf %v : vector<8xbf16> to vector<8xf32>
      // CHECK: kernel.yield %{{.*}} : vector<8xf32>
      kernel.yield %e : vector<8xf32>
    } epilogue {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
    }
  kernel.return
}

// CHECK-LABEL: kernel.func @tile
// CHECK-SAME:    (%[[X:.*]]: memref<?xf32>, %[[W:.*]]: memref<?xbf16>, %[[V:.*]]: memref<?xbf16>, %[[Y:.*]]: memref<?xf32>, %[[M:.*]]: index)
kernel.func @tile(%x: memref<?xf32>, %w: memref<?xbf16>, %v: memref<?xbf16>, %y: memref<?xf32>, %m: index) attributes {target = "cuda", kind = "dot"} {
  %n = arith.constant 64 : index
  %k = arith.constant 32 : index
  %c0 = arith.constant 0 : index
  // CHECK: kernel.contract "gemv" [1, 16, 8, 1024] weights(%[[W]], %[[V]] : memref<?xbf16>, memref<?xbf16>) lhs(%[[X]] : memref<?xf32>) shape(%[[M]], %{{.*}}, %{{.*}}) at(%{{.*}}, %{{.*}}) prologue {
  // CHECK-NEXT: } epilogue {
  // CHECK-NEXT: ^bb0(%[[ROW:.*]]: index, %[[COLUMN:.*]]: index, %{{.*}}: index, %{{.*}}: index):
  // CHECK-NEXT:   %[[SUM:.*]] = kernel.tile_load 1[%[[ROW]], %[[COLUMN]]] : f32
  // CHECK-NEXT:   memref.store %[[SUM]]
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w, %v : memref<?xbf16>, memref<?xbf16>) lhs(%x : memref<?xf32>)
    shape(%m, %n, %k) at(%c0, %c0) prologue {
    } epilogue {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
      %sum = kernel.tile_load 1 [%row, %column] : f32
      memref.store %sum, %y[%column] : memref<?xf32>
    }
  // CHECK: kernel.contract "matmul" [128, 128, 32, 3, 2, 4] weights(%[[W]] : memref<?xbf16>) shape(
  // CHECK-SAME: prologue {
  // CHECK-NEXT: ^bb0(%[[PM:.*]]: index, %[[PK:.*]]: index):
  // CHECK-NEXT:   %[[A:.*]] = memref.load %[[X]][%[[PK]]]
  // CHECK-NEXT:   kernel.yield %[[A]] : f32
  // CHECK:      } epilogue {
  // CHECK:        kernel.tile_load 0[%{{.*}}, %{{.*}}] : vector<4xf32>
  kernel.contract "matmul" [128, 128, 32, 3, 2, 4] weights(%w : memref<?xbf16>)
    shape(%m, %n, %k) at(%c0, %c0) prologue {
    ^bb0(%pm: index, %pk: index):
      %a = memref.load %x[%pk] : memref<?xf32>
      kernel.yield %a : f32
    } epilogue {
    ^bb0(%row: index, %column: index, %rows: index, %columns: index):
      %sums = kernel.tile_load 0 [%row, %column] : vector<4xf32>
      vector.store %sums, %y[%column] : memref<?xf32>, vector<4xf32>
    }
  kernel.return
}

// CHECK-LABEL: kernel.func @attend
// CHECK-SAME:    (%[[Q:.*]]: memref<?xf32>, %[[K:.*]]: memref<?xf32>, %[[V:.*]]: memref<?xf32>, %[[CL:.*]]: memref<?xi32>, %[[BT:.*]]: memref<?xi32>, %[[O:.*]]: memref<?xf32>, %[[P:.*]]: index)
kernel.func @attend(%q: memref<?xf32>, %k: memref<?xf32>, %v: memref<?xf32>, %cl: memref<?xi32>, %bt: memref<?xi32>, %o: memref<?xf32>, %p: index)
    attributes {target = "cuda", kind = "attention"} {
  // CHECK: kernel.attention "decode" query(%[[Q]] : memref<?xf32>) key(%[[K]] : memref<?xf32>) metadata(%[[CL]], %[[BT]] : memref<?xi32>, memref<?xi32>) extents(%[[P]]) result(%[[O]] : memref<?xf32>)
  // CHECK-SAME: {head_dim = 64 : i64, heads = 9 : i64, heads_per_block = 3 : i64, kv_heads = 3 : i64, page_size = 64 : i64, page_stride = 24576 : i64, scale = 1.250000e-01 : f32}
  kernel.attention "decode" query(%q : memref<?xf32>) key(%k : memref<?xf32>) metadata(%cl, %bt : memref<?xi32>, memref<?xi32>) extents(%p) result(%o : memref<?xf32>)
    {heads = 9 : i64, kv_heads = 3 : i64, head_dim = 64 : i64, page_size = 64 : i64, page_stride = 24576 : i64, heads_per_block = 3 : i64, scale = 0.125 : f32}
  // CHECK: kernel.attention "plain" query(%[[Q]] : memref<?xf32>) key(%[[K]] : memref<?xf32>) value(%[[V]] : memref<?xf32>) extents(%[[P]], %[[P]]) result(%[[O]] : memref<?xf32>)
  // CHECK-SAME: causal
  kernel.attention "plain" query(%q : memref<?xf32>) key(%k : memref<?xf32>) value(%v : memref<?xf32>) extents(%p, %p) result(%o : memref<?xf32>)
    {heads = 9 : i64, kv_heads = 3 : i64, head_dim = 64 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 0.125 : f32, causal}
  kernel.return
}

// CHECK-LABEL: func.func @launches
// CHECK-SAME:    %[[X:[^:]*]]: memref<?xf32> {graph.dims = #graph.dims<[T, 64]>}, %[[CACHE:[^:]*]]: memref<?xi8>
func.func @launches(%x: memref<?xf32> {graph.dims = #graph.dims<[T, 64]>}, %cache: memref<?xi8>)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 512>]} {
  // CHECK: kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [64]> shape [64] : memref<?xf32>
  %w = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 256, dtype = "f32", shape = [64]> shape [64] : memref<?xf32>
  // CHECK: kernel.constant "p" from #graph.weight_source<file = 0, offset = 0, bytes = 4096, dtype = "bf16", shape = [32, 64]> shape [32, 64] panels 32 x 2 : memref<?xbf16>
  %p = kernel.constant "p" from #graph.weight_source<file = 0, offset = 0, bytes = 4096, dtype = "bf16", shape = [32, 64]> shape [32, 64] panels 32 x 2 : memref<?xbf16>
  // CHECK: kernel.constant "" value dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32> shape [2] : memref<?xf32>
  %t = kernel.constant "" value dense<[1.0, 2.0]> : tensor<2xf32> shape [2] : memref<?xf32>
  // CHECK: %[[A:.*]] = kernel.alloc memref<?xf32> dims <[T, 64]> slot 2
  %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]> slot 2
  // CHECK: kernel.alloc memref<?xf32> dims <[T, 64]>{{$}}
  %b = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]>
  // CHECK: kernel.view %[[CACHE]][98304] : memref<?xi8> to memref<?xbf16>
  %l = kernel.view %cache[98304] : memref<?xi8> to memref<?xbf16>
  // CHECK: kernel.launch @loop_0(%[[X]], %[[A]]) writes [1] grid #[[TASKS]] symbols #[[SYMBOL]]
  // CHECK-SAME: {bytes = #[[BYTES]], dynamic, flops = #[[FLOPS]], grain = 4 : i64, label = "add"} : memref<?xf32>, memref<?xf32>
  kernel.launch @loop_0(%x, %a) writes [1] grid affine_map<()[s0] -> (s0 ceildiv 4)> symbols affine_map<()[s0] -> (s0)>
    {label = "add", dynamic, grain = 4 : i64, bytes = affine_map<()[s0] -> (s0 * 512)>, flops = affine_map<()[s0] -> (s0 * 64)>} : memref<?xf32>, memref<?xf32>
  // CHECK: kernel.launch @block(%[[A]]) writes [] grid #[[BLOCKS]] symbols #[[NOTHING]] block [128, 1, 1] {shared_bytes = 4096 : i64} : memref<?xf32>
  kernel.launch @block(%a) writes [] grid affine_map<()[s0] -> (s0, 2, 1)> symbols affine_map<()[s0] -> ()> block [128, 1, 1] {shared_bytes = 4096 : i64} : memref<?xf32>
  return
}
