// RUN: split-file %s %t
// RUN: mlsys-opt %t/ir.mlir -split-input-file -mlsys-lower-to-kernel -verify-diagnostics
// RUN: not mlsys-opt %t/empty.mlir -mlsys-lower-to-kernel="target=tpu" 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not mlsys-opt %t/empty.mlir -mlsys-lower-to-kernel="isa=x86-64-v1" 2>&1 | FileCheck %s --check-prefix=ISA

// TARGET: error: target 'tpu' is neither cpu nor cuda
// ISA: error: instruction set 'x86-64-v1' is unknown

//--- empty.mlir
module {}

//--- ir.mlir
// expected-error @below {{argument 1 is 'f32', which is neither a tensor nor a KV cache}}
func.func @argument(%x: tensor<4xf32>, %y: f32) { return }

// -----

// expected-error @below {{result 0 is 'f32', which is not a tensor}}
func.func @result() -> f32 {
  %0 = arith.constant 1.0 : f32
  return %0 : f32
}

// -----

// expected-error @below {{has more than one block}}
func.func @blocks() {
  cf.br ^end
^end:
  return
}

// -----

func.func @operation(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{'graph.exp' op is not in a fusion; kernels are made of graph.fusion only}}
  %0 = graph.exp %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @symbol(%x: tensor<?xf32, #graph.dims<[N]>>) -> tensor<?xf32, #graph.dims<[N]>> {
  // expected-error @below {{uses the symbol 'N', which graph.symbols of the function does not list}}
  %0 = graph.fusion "loop"(%x) : (tensor<?xf32, #graph.dims<[N]>>) -> tensor<?xf32, #graph.dims<[N]>> {
  ^bb0(%a: tensor<?xf32, #graph.dims<[N]>>):
    graph.yield %a : tensor<?xf32, #graph.dims<[N]>>
  }
  return %0 : tensor<?xf32, #graph.dims<[N]>>
}

// -----

// An extent inside the body may have other symbols than those of inputs and results.
func.func @symbol_inside(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{uses the symbol 'N', which graph.symbols of the function does not list}}
  %0 = graph.fusion "row"(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    %1 = graph.broadcast %a dims [0] : tensor<4xf32> -> tensor<4x?xf32, #graph.dims<[4, N]>>
    %2 = graph.reduce sum %1 dims [1] : tensor<4x?xf32, #graph.dims<[4, N]>> -> tensor<4xf32>
    graph.yield %2 : tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 1, dim = 8, page = 16, f32>
func.func @layer_unwritten(%c: !graph.kv_cache<layers = 2, heads = 1, dim = 8, page = 16, f32>) {
  %l = graph.cache_layer %c layer 0 : !graph.kv_cache<layers = 2, heads = 1, dim = 8, page = 16, f32> -> !layer
  // expected-error @below {{is no loop body: an output is neither a tensor nor made by graph.cache_write}}
  %0 = graph.fusion "loop"(%l) : (!layer) -> !layer {
  ^bb0(%a: !layer):
    graph.yield %a : !layer
  }
  return
}
