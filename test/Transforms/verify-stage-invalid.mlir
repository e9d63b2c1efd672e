// RUN: split-file %s %t
// RUN: mlsys-opt %t/import.mlir -split-input-file -mlsys-verify-stage=stage=import -verify-diagnostics
// RUN: mlsys-opt %t/decompose.mlir -split-input-file -mlsys-verify-stage=stage=decompose -verify-diagnostics
// RUN: mlsys-opt %t/cache.mlir -split-input-file -mlsys-verify-stage=stage=cache -verify-diagnostics
// RUN: mlsys-opt %t/fuse.mlir -split-input-file -mlsys-verify-stage=stage=fuse -verify-diagnostics
// RUN: mlsys-opt %t/kernel.mlir -split-input-file -mlsys-verify-stage=stage=kernel -verify-diagnostics

//--- import.mlir
// expected-error @below {{has the type 'tensor<?xf32>' with an extent without a name; name it in #graph.dims or run -mlsys-infer-shapes}}
func.func @unnamed_argument(%x: tensor<?xf32>) { return }

// -----

// Every operation is reported, not only the first.
func.func @unnamed_results(%x: tensor<?xf32, #graph.dims<[T]>>) attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  // expected-error @below {{has the type 'tensor<?xf32>' with an extent without a name}}
  %0 = graph.broadcast %x dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xf32>
  // expected-error @below {{has the type 'tensor<?xf32>' with an extent without a name}}
  %1 = graph.exp %0 : tensor<?xf32>
  return
}

// -----

// expected-error @below {{with the symbol 'N', which graph.symbols of 'unlisted' does not list}}
func.func @unlisted(%x: tensor<?xf32, #graph.dims<["N + 1"]>>) attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} { return }

// -----

func.func @other_dialect() {
  // expected-error @below {{'arith.constant' op is of another dialect; expected graph operations only}}
  %0 = arith.constant 1 : index
  return
}

// -----

// expected-error @below {{stands in the module before -mlsys-lower-to-kernel has run}}
kernel.func @kernel(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

func.func @buffer() {
  // expected-error @below {{stands in a function before -mlsys-lower-to-kernel has run}}
  %0 = kernel.alloc memref<?xf32> dims #graph.dims<[4]>
  return
}

// -----

func.func @cache(%c: !graph.kv_cache<layers = 1, heads = 1, dim = 4, page = 4, f32>) {
  // expected-error @below {{belongs to a KV cache; expected a plain model}}
  %0 = graph.cache_layer %c layer 0 : !graph.kv_cache<layers = 1, heads = 1, dim = 4, page = 4, f32> -> !graph.kv_layer<layers = 1, heads = 1, dim = 4, page = 4, f32>
  return
}

// -----

func.func @fusion(%x: tensor<4xf32>) {
  // expected-error @below {{'graph.fusion' op stands before -mlsys-fuse has run}}
  %0 = graph.fusion "loop"(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    // expected-error @below {{'graph.yield' op stands before -mlsys-fuse has run}}
    graph.yield %a : tensor<4xf32>
  }
  return
}

//--- decompose.mlir
func.func @composite(%x: tensor<4xf32>) {
  // expected-error @below {{'graph.silu' op is composite; expected -mlsys-decompose to have rewritten it}}
  %0 = graph.silu %x : tensor<4xf32>
  return
}

//--- cache.mlir
// expected-error @below {{has the phase step; expected -mlsys-specialize-phases to have made decode and prefill functions of it}}
func.func @step() attributes {graph.phase = "step"} { return }

// -----

func.func @attention(%x: tensor<1x2x2x4xf32>) attributes {graph.phase = "prefill"} {
  // expected-error @below {{is attention over whole sequences in a function of phase prefill; expected graph.paged_attention}}
  %0 = graph.attention %x, %x, %x causal scale 1.0 : tensor<1x2x2x4xf32>, tensor<1x2x2x4xf32>
  return
}

//--- fuse.mlir
func.func @outside(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{'graph.exp' op is in no fusion; expected -mlsys-fuse to have put it into one}}
  %0 = graph.exp %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @composite_inside(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = graph.fusion "loop"(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    // expected-error @below {{is composite}}
    %1 = graph.silu %a : tensor<4xf32>
    graph.yield %1 : tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}

//--- kernel.mlir
func.func @left(%x: tensor<4xf32>) {
  // expected-error @below {{'graph.exp' op is left; expected kernel launches only}}
  %0 = graph.exp %x : tensor<4xf32>
  return
}
