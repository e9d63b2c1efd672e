// RUN: mlsys-opt %s -mlsys-verify-stage=stage=import
// RUN: mlsys-opt %s -mlsys-verify-stage=stage=decompose
// RUN: mlsys-opt %s -mlsys-verify-stage=stage=cache
// RUN: not mlsys-opt %s -mlsys-verify-stage=stage=emit 2>&1 | FileCheck %s
// RUN: not mlsys-opt %s -mlsys-verify-stage 2>&1 | FileCheck %s --check-prefix=EMPTY
//
// A plain function of primitives may stand after each stage up to cache.

// CHECK: error: stage 'emit' is not import, decompose, cache, fuse or kernel
// EMPTY: error: stage '' is not import, decompose, cache, fuse or kernel

func.func @plain(%x: tensor<?x2x2x4xf32, #graph.dims<[S, 2, 2, 4]>>) -> tensor<?x2x2x4xf32, #graph.dims<[S, 2, 2, 4]>>
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"S", min = 1, max = 8, hint = 8>]} {
  %0 = graph.attention %x, %x, %x scale 1.0 : tensor<?x2x2x4xf32, #graph.dims<[S, 2, 2, 4]>>, tensor<?x2x2x4xf32, #graph.dims<[S, 2, 2, 4]>>
  return %0 : tensor<?x2x2x4xf32, #graph.dims<[S, 2, 2, 4]>>
}

func.func private @declaration(tensor<4xf32>)
