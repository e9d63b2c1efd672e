// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" -o %t
// RUN: FileCheck %s --check-prefix=LAUNCH < %t
// RUN: mlsys-translate --to-cuda %t | FileCheck %s
//
// How fusions of each kind become CUDA kernels: the launch, then the text.

// A loop: a thread has two vectors of eight elements, a block of 256 threads 4096 elements. All
// loads come before the first store.
// LAUNCH-DAG: #[[LOOP:.*]] = affine_map<()[s0] -> ((s0 * 64) ceildiv 4096, 1, 1)>
// LAUNCH-DAG: #[[ROWS:.*]] = affine_map<() -> (2, 1, 1)>
// LAUNCH-LABEL: func.func @loop
// LAUNCH:         kernel.launch @loop_0({{.*}}) writes [2] grid #[[LOOP]] {{.*}} block [256, 1, 1]
// CHECK-LABEL: // loop_0
// CHECK:         __launch_bounds__(256, 1) loop_0(bf16 *a0, bf16 *a1, bf16 *a2, long long s3)
// CHECK-NOT:     {{a[0-2]}}
// CHECK:         pdl_launch();
// CHECK-NEXT:    pdl_wait();
// CHECK:         load<8>(a0 +
// CHECK:         load<8>(a1 +
// CHECK:         load<8>(a0 +
// CHECK:         load<8>(a1 +
// CHECK:         if (
// CHECK:           convert<bf16>(
// CHECK:           store<8>(a2 +
// CHECK-NOT:     load
// CHECK:         if (
// CHECK:           store<8>(a2 +
func.func @loop(%x: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %b: tensor<64xbf16>) -> tensor<?x64xbf16, #graph.dims<[T, 64]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>]} {
  %0 = graph.fusion "loop"(%x, %b) : (tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<64xbf16>) -> tensor<?x64xbf16, #graph.dims<[T, 64]>> {
  ^bb0(%a: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %c: tensor<64xbf16>):
    %1 = graph.broadcast %c dims [1] : tensor<64xbf16> -> tensor<?x64xbf16, #graph.dims<[T, 64]>>
    %2 = graph.add %a, %1 : tensor<?x64xbf16, #graph.dims<[T, 64]>>
    graph.yield %2 : tensor<?x64xbf16, #graph.dims<[T, 64]>>
  }
  return %0 : tensor<?x64xbf16, #graph.dims<[T, 64]>>
}

// Rows of 33 elements do not start aligned: one element at a time.
// CHECK-LABEL: // loop_1
// CHECK-NOT:     load<
// CHECK:         = a0[
func.func @odd(%x: tensor<4x33xf32>) -> tensor<4x33xf32> {
  %0 = graph.fusion "loop"(%x) : (tensor<4x33xf32>) -> tensor<4x33xf32> {
  ^bb0(%a: tensor<4x33xf32>):
    %1 = graph.exp %a : tensor<4x33xf32>
    graph.yield %1 : tensor<4x33xf32>
  }
  return %0 : tensor<4x33xf32>
}

// A short row: a warp each, four in a block. The row stays in registers: each element is read once.
// LAUNCH-LABEL: func.func @row
// LAUNCH:         kernel.launch @row_0({{.*}}) writes [1] grid #[[ROWS]] {{.*}} block [128, 1, 1]
// CHECK-LABEL: // row_0
// CHECK:         #include "mlsys/reduce.cuh"
// CHECK:         row_0(f32 *a0, f32 *a1)
// CHECK-NOT:     a0
// CHECK:         pdl_wait();
// CHECK:         if (
// CHECK-COUNT-2:   load<8>(a0 +
// CHECK-NOT:       a0
// CHECK:           [[M:v[0-9]+]] = warp_max(
// CHECK-NOT:       a0
// CHECK-COUNT-2:   store<8>(a1 +
func.func @row(%x: tensor<6x512xf32>) -> tensor<6x512xf32> {
  %0 = graph.fusion "row"(%x) : (tensor<6x512xf32>) -> tensor<6x512xf32> {
  ^bb0(%a: tensor<6x512xf32>):
    %1 = graph.reduce max %a dims [1] : tensor<6x512xf32> -> tensor<6xf32>
    %2 = graph.broadcast %1 dims [0] : tensor<6xf32> -> tensor<6x512xf32>
    %3 = graph.sub %a, %2 : tensor<6x512xf32>
    graph.yield %3 : tensor<6x512xf32>
  }
  return %0 : tensor<6x512xf32>
}

// A longer one: a block each. What the last threads have beyond its end counts for nothing and is
// not stored.
// LAUNCH-LABEL: func.func @long_row
// LAUNCH:         kernel.launch @row_1({{.*}}) writes [1] grid {{.*}} block [256, 1, 1]
// CHECK-LABEL: // row_1
// CHECK:         pdl_wait();
// CHECK-COUNT-2: load<8>(a0 +
// CHECK-NOT:     a0
// CHECK:         select(
// CHECK:         maximumf(
// CHECK:         block_max(
// CHECK:         store<8>(a1 +
// CHECK:         if (
// CHECK-NEXT:      store<8>(a1 +
func.func @long_row(%x: tensor<6x4000xf32>) -> tensor<6x4000xf32> {
  %0 = graph.fusion "row"(%x) : (tensor<6x4000xf32>) -> tensor<6x4000xf32> {
  ^bb0(%a: tensor<6x4000xf32>):
    %1 = graph.reduce max %a dims [1] : tensor<6x4000xf32> -> tensor<6xf32>
    %2 = graph.broadcast %1 dims [0] : tensor<6xf32> -> tensor<6x4000xf32>
    %3 = graph.sub %a, %2 : tensor<6x4000xf32>
    graph.yield %3 : tensor<6x4000xf32>
  }
  return %0 : tensor<6x4000xf32>
}

// Too long for registers: eight parts of 4096, whose partial results the second kernel joins in every warp.
// LAUNCH-LABEL: func.func @longest_row
// LAUNCH:         %[[PARTS:.*]] = kernel.alloc {{.*}} dims <[48]>
// LAUNCH:         kernel.launch @row_2(%{{.*}}, %[[PARTS]]) writes [1] grid {{.*}} block [256, 1, 1]
// LAUNCH:         kernel.launch @row_3(%{{.*}}, %{{.*}}, %[[PARTS]]) writes [1] grid {{.*}} block [256, 1, 1] {{.*}}join
// CHECK-LABEL: // row_2
// CHECK-COUNT-2: load<8>(a0 +
// CHECK:         block_max(
// CHECK:         if (
// CHECK-NEXT:      a1[
// CHECK-LABEL: // row_3
// CHECK-COUNT-2: load<8>(a0 +
// CHECK:         a2[
// CHECK:         warp_max(
// CHECK-COUNT-2: store<8>(a1 +
func.func @longest_row(%x: tensor<6x32768xf32>) -> tensor<6x32768xf32> {
  %0 = graph.fusion "row"(%x) : (tensor<6x32768xf32>) -> tensor<6x32768xf32> {
  ^bb0(%a: tensor<6x32768xf32>):
    %1 = graph.reduce max %a dims [1] : tensor<6x32768xf32> -> tensor<6xf32>
    %2 = graph.broadcast %1 dims [0] : tensor<6xf32> -> tensor<6x32768xf32>
    %3 = graph.sub %a, %2 : tensor<6x32768xf32>
    graph.yield %3 : tensor<6x32768xf32>
  }
  return %0 : tensor<6x32768xf32>
}

// A sum over the first dimension: lanes have neighbouring columns, and a second kernel joins parts of the rows.
// LAUNCH-LABEL: func.func @columns
// LAUNCH:         kernel.launch @row_4({{.*}}) writes [1] grid {{.*}} block [256, 1, 1] {{.*}}shared_bytes = 8192
// LAUNCH:         kernel.launch @row_5({{.*}}) writes [0] grid {{.*}} block [256, 1, 1] {{.*}}join
// CHECK-LABEL: // row_4
// CHECK:         for (
// CHECK-COUNT-4:   load<8>(a0 +
// CHECK:         bar_sync()
// CHECK-LABEL: // row_5
func.func @columns(%x: tensor<2048x512xf32>) -> tensor<512xf32> {
  %0 = graph.fusion "row"(%x) : (tensor<2048x512xf32>) -> tensor<512xf32> {
  ^bb0(%a: tensor<2048x512xf32>):
    %1 = graph.transpose %a permutation [1, 0] : tensor<2048x512xf32> -> tensor<512x2048xf32>
    %2 = graph.reduce sum %1 dims [1] : tensor<512x2048xf32> -> tensor<512xf32>
    graph.yield %2 : tensor<512xf32>
  }
  return %0 : tensor<512xf32>
}

// A transpose: vectors from memory to shared memory and from there to memory, a row of the tile being 33 words.
// LAUNCH-LABEL: func.func @transpose
// LAUNCH:         kernel.launch @loop_2({{.*}}) writes [1] grid {{.*}} block [256, 1, 1] {{.*}}shared_bytes = 8448
// CHECK-LABEL: // loop_2
// CHECK:         (i64)66;
// CHECK-COUNT-2: load<8>(a0 +
// CHECK:         bar_sync()
// CHECK-COUNT-2: store<8>(a1 +
func.func @transpose(%x: tensor<256x512xbf16>) -> tensor<512x256xbf16> {
  %0 = graph.fusion "loop"(%x) : (tensor<256x512xbf16>) -> tensor<512x256xbf16> {
  ^bb0(%a: tensor<256x512xbf16>):
    %1 = graph.transpose %a permutation [1, 0] : tensor<256x512xbf16> -> tensor<512x256xbf16>
    graph.yield %1 : tensor<512x256xbf16>
  }
  return %0 : tensor<512x256xbf16>
}

// Few rows: gemv, two columns a warp. The prologue's reduction is kept in shared memory.
// LAUNCH-LABEL: func.func @gemv
// LAUNCH:         kernel.launch @dot_0({{.*}}) writes [2] grid #[[GEMV:.*]] symbols {{.*}} block [256, 1, 1]
// CHECK-LABEL: // dot_0
// CHECK:         dot_0(f32 *a0, f32 *a1, f32 *a2)
// CHECK-NOT:     a0
// CHECK:         pdl_wait();
// CHECK:         f32 *const [[S:v[0-9]+]] = shared_memory<f32>(
// CHECK:         block_sum(
// CHECK:         bar_sync();
// CHECK:         gemv<GemvConfig<2, 16, 8, 1024>, f32>(
// CHECK:             [&](i64 m, i64 k) -> f32 {
// CHECK:               [[S]][m]
// CHECK:             weights((const f32 *)a1,
// CHECK:               tile.template load<4>(0,
// CHECK:               store<4>(a2 +
func.func @gemv(%x: tensor<2x64xf32>, %w: tensor<48x64xf32>) -> tensor<2x48xf32> {
  %0 = graph.fusion "dot"(%x, %w) : (tensor<2x64xf32>, tensor<48x64xf32>) -> tensor<2x48xf32> {
  ^bb0(%a: tensor<2x64xf32>, %b: tensor<48x64xf32>):
    %1 = graph.reduce sum %a dims [1] : tensor<2x64xf32> -> tensor<2xf32>
    %2 = graph.broadcast %1 dims [0] : tensor<2xf32> -> tensor<2x64xf32>
    %3 = graph.div %a, %2 : tensor<2x64xf32>
    %4 = graph.dot %3, %b batch [] x [] contract [1] x [1] : tensor<2x64xf32>, tensor<48x64xf32> -> tensor<2x48xf32>
    %5 = graph.exp %4 : tensor<2x48xf32>
    graph.yield %5 : tensor<2x48xf32>
  }
  return %0 : tensor<2x48xf32>
}

// Any number of rows: tensor cores, a left side that is read as it stands; the blocks of the
// two products stand side by side, and each chooses its weights and its epilogue.
// LAUNCH-LABEL: func.func @matmul
// LAUNCH:         kernel.launch @dot_1({{.*}}) writes [3, 4] grid #{{.*}} symbols {{.*}} block [128, 1, 1]
// CHECK-LABEL: // dot_1
// CHECK:         pdl_wait();
// CHECK:         [[X:v[0-9]+]] = (i64)block_x();
// CHECK:         [[Y:v[0-9]+]] = (i64)block_y();
// CHECK:         [[FIRST:v[0-9]+]] = {{.*}} < v
// CHECK:         [[WEIGHTS:v[0-9]+]] = select([[FIRST]], a1, a2);
// CHECK:         matmul<MatmulConfig<{{[0-9, ]+}}>, f16>(
// CHECK-NEXT:        Rows<f16>{a0,
// CHECK-NEXT:        weights((const f16 *)[[WEIGHTS]],
// CHECK:             if ([[FIRST]]) {
// CHECK:               a3 +
// CHECK:             } else {
// CHECK:               a4 +
// CHECK-NOT:     matmul<
func.func @matmul(%x: tensor<?x64xf16, #graph.dims<[T, 64]>>, %v: tensor<96x64xf16>, %w: tensor<64x64xf16>) -> (tensor<?x96xf16, #graph.dims<[T, 96]>>, tensor<?x64xf16, #graph.dims<[T, 64]>>)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>]} {
  %0:2 = graph.fusion "dot"(%x, %v, %w) : (tensor<?x64xf16, #graph.dims<[T, 64]>>, tensor<96x64xf16>, tensor<64x64xf16>) -> (tensor<?x96xf16, #graph.dims<[T, 96]>>, tensor<?x64xf16, #graph.dims<[T, 64]>>) {
  ^bb0(%a: tensor<?x64xf16, #graph.dims<[T, 64]>>, %b: tensor<96x64xf16>, %c: tensor<64x64xf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<?x64xf16, #graph.dims<[T, 64]>>, tensor<96x64xf16> -> tensor<?x96xf16, #graph.dims<[T, 96]>>
    %2 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<?x64xf16, #graph.dims<[T, 64]>>, tensor<64x64xf16> -> tensor<?x64xf16, #graph.dims<[T, 64]>>
    graph.yield %1, %2 : tensor<?x96xf16, #graph.dims<[T, 96]>>, tensor<?x64xf16, #graph.dims<[T, 64]>>
  }
  return %0#0, %0#1 : tensor<?x96xf16, #graph.dims<[T, 96]>>, tensor<?x64xf16, #graph.dims<[T, 64]>>
}

// A cache write addresses the page by the token's slot, and leaves negative slots alone.
// CHECK-LABEL: // loop_3
// CHECK:         pdl_wait();
// CHECK:         [[SLOT:v[0-9]+]] = a2[
// CHECK:         [[WANTED:v[0-9]+]] = {{.*}} >= v
// CHECK:         if ([[WANTED]]) {
// CHECK:           store<8>(a0 +
!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>
!cache = !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 16, f32>
func.func @write(%x: tensor<3x2x16xf32>, %slots: tensor<3xi64>, %cache: !cache) -> tensor<3x2x16xf32> {
  %l = graph.cache_layer %cache layer 1 : !cache -> !layer
  %0:2 = graph.fusion "loop"(%x, %slots, %l) : (tensor<3x2x16xf32>, tensor<3xi64>, !layer) -> (!layer, tensor<3x2x16xf32>) {
  ^bb0(%a: tensor<3x2x16xf32>, %b: tensor<3xi64>, %c: !layer):
    %1 = graph.cache_write key %c, %a, %b : !layer, tensor<3x2x16xf32>, tensor<3xi64>
    graph.yield %1, %a : !layer, tensor<3x2x16xf32>
  }
  return %0#1 : tensor<3x2x16xf32>
}

// Paged attention of one token a request is decode: two query heads share a block and their keys.
// LAUNCH-LABEL: func.func @decode
// LAUNCH:         kernel.launch @attention_0({{.*}}) writes [5] grid #[[DECODE:.*]] symbols {{.*}} block [128, 1, 1] {{.*}}shared_bytes = 576
// CHECK-LABEL: // attention_0
// CHECK:         pdl_wait();
// CHECK:         attention_decode<16, 2>((const f32 *)a0, a5, (f32 *)0, PagedKV<f32>{a1, 8192, 0, 2048, 16, 16}, a3, a4, {{.*}}, 4, 2,
func.func @decode(%q: tensor<3x4x16xf32>, %start: tensor<4xi32>, %context: tensor<3xi32>, %table: tensor<3x4xi32>, %cache: !cache) -> tensor<3x4x16xf32> {
  %l = graph.cache_layer %cache layer 1 : !cache -> !layer
  %0 = graph.fusion "attention"(%q, %l, %start, %context, %table) : (tensor<3x4x16xf32>, !layer, tensor<4xi32>, tensor<3xi32>, tensor<3x4xi32>) -> tensor<3x4x16xf32> {
  ^bb0(%a: tensor<3x4x16xf32>, %b: !layer, %c: tensor<4xi32>, %d: tensor<3xi32>, %e: tensor<3x4xi32>):
    %1 = graph.paged_attention %a, %b, %c, %d, %e scale 0.25 : tensor<3x4x16xf32>, !layer, tensor<4xi32>, tensor<3xi32>, tensor<3x4xi32>
    graph.yield %1 : tensor<3x4x16xf32>
  }
  return %0 : tensor<3x4x16xf32>
}

// With more keys than a part has, the parts of all blocks go to a temporary, and a second kernel joins them. Its
// launch is skipped when the block table has room for one part only.
// LAUNCH-LABEL: func.func @parts
// LAUNCH:         %[[PARTS:.*]] = kernel.alloc memref<?xf32> dims <["9*P + 216"]>
// LAUNCH:         kernel.launch @attention_1({{.*}}, %[[PARTS]]) writes [5, 6] grid #[[CUT:.*]] symbols {{.*}} block [256, 1, 1]
// LAUNCH:         kernel.launch @attention_2(%[[PARTS]], %{{.*}}, %{{.*}}) writes [2] grid #{{.*}} symbols {{.*}} block [128, 1, 1]
// CHECK-LABEL: // attention_1
// CHECK:         pdl_wait();
// CHECK:         attention_decode<16, 2>((const bf16 *)a0, a5, a6, PagedKV<bf16>{
// CHECK-LABEL: // attention_2
// CHECK:         pdl_wait();
// CHECK:         attention_join<16, 512>(a0, a2, a1, 4, (int)v{{[0-9]+}}, Scores<true>{1.0f, true, 700});
!layer16 = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, bf16>
!cache16 = !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 16, bf16>
func.func @parts(%q: tensor<3x4x16xbf16>, %start: tensor<4xi32>, %context: tensor<3xi32>, %table: tensor<3x?xi32, #graph.dims<[3, P]>>, %cache: !cache16) -> tensor<3x4x16xbf16>
    attributes {graph.symbols = [#graph.symbol<"P", min = 1, max = 512, hint = 64>]} {
  %l = graph.cache_layer %cache layer 1 : !cache16 -> !layer16
  %0 = graph.fusion "attention"(%q, %l, %start, %context, %table) : (tensor<3x4x16xbf16>, !layer16, tensor<4xi32>, tensor<3xi32>, tensor<3x?xi32, #graph.dims<[3, P]>>) -> tensor<3x4x16xbf16> {
  ^bb0(%a: tensor<3x4x16xbf16>, %b: !layer16, %c: tensor<4xi32>, %d: tensor<3xi32>, %e: tensor<3x?xi32, #graph.dims<[3, P]>>):
    %1 = graph.paged_attention %a, %b, %c, %d, %e window 700 scale 0.25 : tensor<3x4x16xbf16>, !layer16, tensor<4xi32>, tensor<3xi32>, tensor<3x?xi32, #graph.dims<[3, P]>>
    graph.yield %1 : tensor<3x4x16xbf16>
  }
  return %0 : tensor<3x4x16xbf16>
}

// Few rows of 16 bits: tensor cores. The first weights are under way when the kernel waits; then the rows of the norm
// are fetched. A block of the rotary embedding has columns of both halves of a head, one of the other product none.
// LAUNCH-LABEL: func.func @few
// LAUNCH:         kernel.launch @dot_2({{.*}}) writes [4, 5] grid {{.*}} block [256, 1, 1]
// CHECK-LABEL: // dot_2
// CHECK-NEXT:    #include "mlsys/types.cuh"
// CHECK:         #include "mlsys/gemv_mma.cuh"
// CHECK:         __launch_bounds__(256, 1) dot_2(
// CHECK:         pdl_launch();
// CHECK-NOT:     pdl_wait
// CHECK:         [[WEIGHTS:v[0-9]+]] = select([[FIRST:v[0-9]+]], a2, a3);
// CHECK:         gemv_mma<GemvMmaConfig<2, 1, 1, 8, 4, 16>, bf16>(
// CHECK-NEXT:        [&](i64 m, i64 k) -> vec<f32, 8> {
// CHECK:           weights((const bf16 *)[[WEIGHTS]], {{.*}}, (int)[[HALF:v[0-9]+]],
// CHECK-NEXT:        [&] {
// CHECK-NEXT:          pdl_wait();
// CHECK-NEXT:          bf16 *const [[ROWS:v[0-9]+]] = shared_memory<bf16>(
// CHECK-NEXT:          fetch_rows([[ROWS]], a0, {{.*}}, 1056);
// CHECK:               warp_sum(
// CHECK:               bar_sync();
// CHECK:             if ([[FIRST]]) {
// CHECK:               store<4>(a4 +
// CHECK:             } else {
// CHECK:               store<4>(a5 +
// CHECK-NOT:     gemv_mma<
func.func @few(%x: tensor<2x1024xbf16>, %g: tensor<1024xbf16>, %v: tensor<512x1024xbf16>, %w: tensor<64x1024xbf16>) -> (tensor<2x512xbf16>, tensor<2x64xbf16>) {
  %0:2 = graph.fusion "dot"(%x, %g, %v, %w) : (tensor<2x1024xbf16>, tensor<1024xbf16>, tensor<512x1024xbf16>, tensor<64x1024xbf16>) -> (tensor<2x512xbf16>, tensor<2x64xbf16>) {
  ^bb0(%a: tensor<2x1024xbf16>, %h: tensor<1024xbf16>, %b: tensor<512x1024xbf16>, %c: tensor<64x1024xbf16>):
    %1 = graph.reduce sum %a dims [1] : tensor<2x1024xbf16> -> tensor<2xbf16>
    %2 = graph.broadcast %1 dims [0] : tensor<2xbf16> -> tensor<2x1024xbf16>
    %3 = graph.div %a, %2 : tensor<2x1024xbf16>
    %5 = graph.broadcast %h dims [1] : tensor<1024xbf16> -> tensor<2x1024xbf16>
    %6 = graph.mul %3, %5 : tensor<2x1024xbf16>
    %4 = graph.dot %6, %b batch [] x [] contract [1] x [1] : tensor<2x1024xbf16>, tensor<512x1024xbf16> -> tensor<2x512xbf16>
    %7 = graph.dot %6, %c batch [] x [] contract [1] x [1] : tensor<2x1024xbf16>, tensor<64x1024xbf16> -> tensor<2x64xbf16>
    %8 = graph.exp %7 : tensor<2x64xbf16>
    %r = graph.reshape %4 : tensor<2x512xbf16> -> tensor<2x4x128xbf16>
    %s0 = graph.slice %r offsets [0, 0, 0] : tensor<2x4x128xbf16> -> tensor<2x4x64xbf16>
    %s1 = graph.slice %r offsets [0, 0, 64] : tensor<2x4x128xbf16> -> tensor<2x4x64xbf16>
    %n1 = graph.neg %s1 : tensor<2x4x64xbf16>
    %cc = graph.concat %n1, %s0 dim 2 : (tensor<2x4x64xbf16>, tensor<2x4x64xbf16>) -> tensor<2x4x128xbf16>
    %ad = graph.add %r, %cc : tensor<2x4x128xbf16>
    %rr = graph.reshape %ad : tensor<2x4x128xbf16> -> tensor<2x512xbf16>
    graph.yield %rr, %8 : tensor<2x512xbf16>, tensor<2x64xbf16>
  }
  return %0#0, %0#1 : tensor<2x512xbf16>, tensor<2x64xbf16>
}
