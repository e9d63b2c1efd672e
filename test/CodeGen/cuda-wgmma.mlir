// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda arch=sm_90a" -o %t
// RUN: FileCheck %s --check-prefix=LAUNCH < %t
// RUN: mlsys-translate --to-cuda %t | FileCheck %s
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" | FileCheck %s --check-prefix=PORTABLE
//
// Products for Hopper: which take wgmma, their launches and their text. Other GPUs never do.

// PORTABLE-NOT: wgmma
// PORTABLE-NOT: tensor_maps

// LAUNCH-DAG: #[[TILES:.*]] = affine_map<()[s0] -> ((s0 ceildiv 128) * 16, 1, 1)>
// LAUNCH-DAG: #[[ROWS:.*]] = affine_map<()[s0] -> (64, s0, 64, 64, 512, 64)>

// Rows are open: tiles of 128 rows, a block each multiprocessor.
// LAUNCH-LABEL: func.func @rows
// LAUNCH:         kernel.launch @dot_0({{.*}}) writes [3] grid #[[TILES]] {{.*}} block [384, 1, 1]
// LAUNCH-SAME:      max_blocks = 132 : i64
// LAUNCH-SAME:      tensor_extents = #[[ROWS]], tensor_maps = array<i64: 0, 2, 64, 128, 1, 2, 64, 32>
// CHECK-LABEL: // dot_0
// CHECK:         #include "mlsys/matmul_wgmma.cuh"
// CHECK:         __launch_bounds__(384, 1) dot_0(bf16 *a0, bf16 *a1, bf16 *a2, bf16 *a3, long long s4,
// CHECK-SAME:      const __grid_constant__ tensor_map t0, const __grid_constant__ tensor_map t1)
// CHECK:         pdl_wait();
// CHECK:         matmul_wgmma<WgmmaConfig<1, 32, 8, 32>, bf16>(t0, s4,
// CHECK-NEXT:    wgmma_group(512,
// CHECK-NEXT:    [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {
// CHECK:           if (
// CHECK:           tile.template load<8>(0,
// CHECK:           store<8>(a3 +
// CHECK:         }, t1));
func.func @rows(%x: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %w: tensor<512x64xbf16>, %r: tensor<?x512xbf16, #graph.dims<[T, 512]>>) -> tensor<?x512xbf16, #graph.dims<[T, 512]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8192, hint = 512>]} {
  %0 = graph.fusion "dot"(%x, %w, %r) : (tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<512x64xbf16>, tensor<?x512xbf16, #graph.dims<[T, 512]>>) -> tensor<?x512xbf16, #graph.dims<[T, 512]>> {
  ^bb0(%a: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %b: tensor<512x64xbf16>, %c: tensor<?x512xbf16, #graph.dims<[T, 512]>>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<512x64xbf16> -> tensor<?x512xbf16, #graph.dims<[T, 512]>>
    %2 = graph.add %1, %c : tensor<?x512xbf16, #graph.dims<[T, 512]>>
    graph.yield %2 : tensor<?x512xbf16, #graph.dims<[T, 512]>>
  }
  return %0 : tensor<?x512xbf16, #graph.dims<[T, 512]>>
}

// Few rows: they are the N side of wgmma, and the weights are streamed.
// LAUNCH-LABEL: func.func @few_rows
// LAUNCH:         kernel.launch @dot_1({{.*}}) {{.*}} block [256, 1, 1]
// LAUNCH-SAME:      tensor_maps = array<i64: 0, 2, 64, 48, 1, 2, 64, 64, 2, 2, 64, 64>
// CHECK-LABEL: // dot_1
// CHECK:         matmul_wgmma<SwappedConfig<2, 64, 48, {{[0-9]+}}>, f16>(t0,
// CHECK:         }, t1, t2));
func.func @few_rows(%x: tensor<40x64xf16>, %g: tensor<96x64xf16>, %u: tensor<96x64xf16>) -> tensor<40x96xf16> {
  %0 = graph.fusion "dot"(%x, %g, %u) : (tensor<40x64xf16>, tensor<96x64xf16>, tensor<96x64xf16>) -> tensor<40x96xf16> {
  ^bb0(%a: tensor<40x64xf16>, %b: tensor<96x64xf16>, %c: tensor<96x64xf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<40x64xf16>, tensor<96x64xf16> -> tensor<40x96xf16>
    %2 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<40x64xf16>, tensor<96x64xf16> -> tensor<40x96xf16>
    %3 = graph.mul %1, %2 : tensor<40x96xf16>
    graph.yield %3 : tensor<40x96xf16>
  }
  return %0 : tensor<40x96xf16>
}

// Rows of 60 elements are no multiple of 16 bytes.
// LAUNCH-LABEL: func.func @odd
// LAUNCH:         kernel.launch @dot_2({{.*}}) {{.*}} label = "dot", shared_bytes = {{[0-9]+}} : i64} :
// CHECK-LABEL: // dot_2
// CHECK:         matmul<MatmulConfig<
func.func @odd(%x: tensor<40x60xf16>, %g: tensor<96x60xf16>) -> tensor<40x96xf16> {
  %0 = graph.fusion "dot"(%x, %g) : (tensor<40x60xf16>, tensor<96x60xf16>) -> tensor<40x96xf16> {
  ^bb0(%a: tensor<40x60xf16>, %b: tensor<96x60xf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<40x60xf16>, tensor<96x60xf16> -> tensor<40x96xf16>
    graph.yield %1 : tensor<40x96xf16>
  }
  return %0 : tensor<40x96xf16>
}

// 64 tiles for 132 multiprocessors: two blocks of a cluster compute a half of K each.
// LAUNCH-LABEL: func.func @parts
// LAUNCH:         kernel.launch @dot_3({{.*}}) {{.*}} block [256, 1, 1]
// LAUNCH-NOT:     max_blocks
// LAUNCH-SAME:    tensor_maps
// CHECK-LABEL: // dot_3
// CHECK:         __cluster_dims__(2, 1, 1) __launch_bounds__(256, 1) dot_3(
// CHECK:         matmul_wgmma<SwappedConfig<1, 64, 64, {{[0-9]+}}, 2>, bf16>(t0,
func.func @parts(%x: tensor<64x4096xbf16>, %w: tensor<4096x4096xbf16>) -> tensor<64x4096xbf16> {
  %0 = graph.fusion "dot"(%x, %w) : (tensor<64x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<64x4096xbf16> {
  ^bb0(%a: tensor<64x4096xbf16>, %b: tensor<4096x4096xbf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<64x4096xbf16>, tensor<4096x4096xbf16> -> tensor<64x4096xbf16>
    graph.yield %1 : tensor<64x4096xbf16>
  }
  return %0 : tensor<64x4096xbf16>
}

// Many tiles: the two blocks of a cluster have tiles one below the other, and share the weights' boxes.
// LAUNCH-LABEL: func.func @pair
// LAUNCH:         kernel.launch @dot_4({{.*}}) {{.*}} block [384, 1, 1]
// LAUNCH-SAME:      max_blocks = 132 : i64
// LAUNCH-SAME:      tensor_maps = array<i64: 0, 2, 64, 128, 1, 2, 64, 128>
// CHECK-LABEL: // dot_4
// CHECK:         __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1) dot_4(
// CHECK:         matmul_wgmma<WgmmaConfig<1, 256, {{[0-9]+}}, 32, 1, 1>, bf16>(t0,
func.func @pair(%x: tensor<4096x4096xbf16>, %w: tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16> {
  %0 = graph.fusion "dot"(%x, %w) : (tensor<4096x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16> {
  ^bb0(%a: tensor<4096x4096xbf16>, %b: tensor<4096x4096xbf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4096x4096xbf16>, tensor<4096x4096xbf16> -> tensor<4096x4096xbf16>
    graph.yield %1 : tensor<4096x4096xbf16>
  }
  return %0 : tensor<4096x4096xbf16>
}
