// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" | FileCheck %s --check-prefix=MMA
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda arch=sm_90a" | FileCheck %s --check-prefix=WGMMA
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda candidate=1" | FileCheck %s --check-prefix=MMA
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda candidate=2" | FileCheck %s --check-prefix=SECOND
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda candidate=1000" | FileCheck %s --check-prefix=MMA
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda tiles=%S/Inputs/cuda-tiles.json" | FileCheck %s --check-prefix=TABLE
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda arch=sm_90a tiles=%S/Inputs/cuda-tiles.json" | FileCheck %s --check-prefix=WGMMA
// RUN: sed s,rows=256,rows=100, %S/Inputs/cuda-tiles.json > %t.json
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda tiles=%t.json" 2>&1 | FileCheck %s --check-prefix=ILLEGAL
//
// Tiles come from a model, or from a table that was measured for the family of GPUs. Decode steps stream weights
// through narrow tiles, prompts take the widest ones that fill the multiprocessors.

// MMA: kernel.tiles = "dot rows=32 columns=4096 contracted=4096 dots=1 lhs=bf16 rhs=bf16: mma rows=32 columns=128 step=64 stages=3 warps_m=1 warps_n=4"
// WGMMA: kernel.tiles = "{{.*}}: wgmma swapped rows=32 columns=64 stages=16 parts=2"
// SECOND-NOT: mma rows=32 columns=128 step=64 stages=3
// SECOND: kernel.tiles = "dot rows=32 columns=4096 {{.*}}: mma rows=
// TABLE: kernel.tiles = "dot rows=32 {{.*}}: mma rows=32 columns=128 step=64 stages=3 warps_m=1 warps_n=4"
func.func @decode(%x: tensor<32x4096xbf16>) -> tensor<32x4096xbf16>
     {
  %w0 = graph.weight "wdecode0" : tensor<4096x4096xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 33554432, dtype = "random", shape = [4096, 4096]>
  %y = graph.fusion "dot"(%x, %w0) : (tensor<32x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<32x4096xbf16> {
  ^bb0(%a: tensor<32x4096xbf16>, %b0: tensor<4096x4096xbf16>):
    %d0 = graph.dot %a, %b0 batch [] x [] contract [1] x [1] : tensor<32x4096xbf16>, tensor<4096x4096xbf16> -> tensor<32x4096xbf16>
    graph.yield %d0 : tensor<32x4096xbf16>
  }
  return %y : tensor<32x4096xbf16>
}

// MMA: kernel.tiles = "dot rows=2048? columns=4096 contracted=4096 dots=1 lhs=bf16 rhs=bf16: mma rows=128 columns=128 step=32 stages=3 warps_m=2 warps_n=2"
// WGMMA: kernel.tiles = "{{.*}}: wgmma columns=256 stages=4 pair"
// TABLE: kernel.tiles = "dot rows=2048? {{.*}}: mma rows=256 columns=64 step=32 stages=4 warps_m=4 warps_n=1"
// ILLEGAL: warning: the table of tiles has 'mma rows=100 {{.*}}' for 'dot rows=2048? {{.*}}', which is not possible; it is not used
func.func @prefill(%x: tensor<?x4096xbf16, #graph.dims<[T, 4096]>>) -> tensor<?x4096xbf16, #graph.dims<[T, 4096]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8192, hint = 2048>]} {
  %w0 = graph.weight "wprefill0" : tensor<4096x4096xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 33554432, dtype = "random", shape = [4096, 4096]>
  %y = graph.fusion "dot"(%x, %w0) : (tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, tensor<4096x4096xbf16>) -> tensor<?x4096xbf16, #graph.dims<[T, 4096]>> {
  ^bb0(%a: tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, %b0: tensor<4096x4096xbf16>):
    %d0 = graph.dot %a, %b0 batch [] x [] contract [1] x [1] : tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, tensor<4096x4096xbf16> -> tensor<?x4096xbf16, #graph.dims<[T, 4096]>>
    graph.yield %d0 : tensor<?x4096xbf16, #graph.dims<[T, 4096]>>
  }
  return %y : tensor<?x4096xbf16, #graph.dims<[T, 4096]>>
}

// MMA: kernel.tiles = "dot rows=512? columns=28672 contracted=4096 dots=2 lhs=bf16 rhs=bf16: mma rows=128 columns=64 step=32 stages=3 warps_m=2 warps_n=2"
// WGMMA: kernel.tiles = "{{.*}}: wgmma columns=96 stages=5 pair"
func.func @gate_up(%x: tensor<?x4096xbf16, #graph.dims<[T, 4096]>>) -> tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8192, hint = 512>]} {
  %w0 = graph.weight "wgate_up0" : tensor<14336x4096xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 117440512, dtype = "random", shape = [14336, 4096]>
  %w1 = graph.weight "wgate_up1" : tensor<14336x4096xbf16> from #graph.weight_source<file = -1, offset = 2, bytes = 117440512, dtype = "random", shape = [14336, 4096]>
  %y = graph.fusion "dot"(%x, %w0, %w1) : (tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, tensor<14336x4096xbf16>, tensor<14336x4096xbf16>) -> tensor<?x14336xbf16, #graph.dims<[T, 14336]>> {
  ^bb0(%a: tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, %b0: tensor<14336x4096xbf16>, %b1: tensor<14336x4096xbf16>):
    %d0 = graph.dot %a, %b0 batch [] x [] contract [1] x [1] : tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, tensor<14336x4096xbf16> -> tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
    %d1 = graph.dot %a, %b1 batch [] x [] contract [1] x [1] : tensor<?x4096xbf16, #graph.dims<[T, 4096]>>, tensor<14336x4096xbf16> -> tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
    %m = graph.mul %d0, %d1 : tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
    graph.yield %m : tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
  }
  return %y : tensor<?x14336xbf16, #graph.dims<[T, 14336]>>
}

// MMA: kernel.tiles = "dot rows=512? columns=512 contracted=2048 dots=1 lhs=bf16 rhs=bf16: mma rows=64 columns=64 step=64 stages=4 warps_m=2 warps_n=2"
// WGMMA: kernel.tiles = "{{.*}}: wgmma columns=128 stages=6 parts=8"
func.func @narrow(%x: tensor<?x2048xbf16, #graph.dims<[T, 2048]>>) -> tensor<?x512xbf16, #graph.dims<[T, 512]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8192, hint = 512>]} {
  %w0 = graph.weight "wnarrow0" : tensor<512x2048xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 2097152, dtype = "random", shape = [512, 2048]>
  %y = graph.fusion "dot"(%x, %w0) : (tensor<?x2048xbf16, #graph.dims<[T, 2048]>>, tensor<512x2048xbf16>) -> tensor<?x512xbf16, #graph.dims<[T, 512]>> {
  ^bb0(%a: tensor<?x2048xbf16, #graph.dims<[T, 2048]>>, %b0: tensor<512x2048xbf16>):
    %d0 = graph.dot %a, %b0 batch [] x [] contract [1] x [1] : tensor<?x2048xbf16, #graph.dims<[T, 2048]>>, tensor<512x2048xbf16> -> tensor<?x512xbf16, #graph.dims<[T, 512]>>
    graph.yield %d0 : tensor<?x512xbf16, #graph.dims<[T, 512]>>
  }
  return %y : tensor<?x512xbf16, #graph.dims<[T, 512]>>
}
