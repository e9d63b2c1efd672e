// RUN: split-file %s %t
// RUN: mlsys-opt %t/cpu.mlir -split-input-file -mlsys-lower-to-kernel="isa=x86-64-v3" -verify-diagnostics
// RUN: mlsys-opt %t/cuda.mlir -split-input-file -mlsys-lower-to-kernel="target=cuda" -verify-diagnostics
//
// Dots and attentions that a target has no kernel for.

//--- cpu.mlir
func.func @dot_f64(%x: tensor<4x8xf64>, %w: tensor<8x8xf64>) -> tensor<4x8xf64> {
  %0 = graph.fusion "dot"(%x, %w) : (tensor<4x8xf64>, tensor<8x8xf64>) -> tensor<4x8xf64> {
  ^bb0(%a: tensor<4x8xf64>, %b: tensor<8x8xf64>):
    // expected-error @below {{has elements of type 'f64'; the CPU multiplies f32, f16, bf16 and i8}}
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf64>, tensor<8x8xf64> -> tensor<4x8xf64>
    graph.yield %1 : tensor<4x8xf64>
  }
  return %0 : tensor<4x8xf64>
}

// -----

func.func @attention_f64(%q: tensor<1x8x2x4xf64>) -> tensor<1x8x2x4xf64> {
  %0 = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf64>) -> tensor<1x8x2x4xf64> {
  ^bb0(%a: tensor<1x8x2x4xf64>):
    // expected-error @below {{has elements of type 'f64'; the CPU computes attention of f32, f16 and bf16}}
    %1 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x4xf64>, tensor<1x8x2x4xf64>
    graph.yield %1 : tensor<1x8x2x4xf64>
  }
  return %0 : tensor<1x8x2x4xf64>
}

// -----

!q = tensor<1x8x2x?xf32, #graph.dims<[1, 8, 2, D]>>
func.func @attention_dynamic(%q: !q) -> !q attributes {graph.symbols = [#graph.symbol<"D", min = 1, max = 64, hint = 64>]} {
  %0 = graph.fusion "attention"(%q) : (!q) -> !q {
  ^bb0(%a: !q):
    // expected-error @below {{has a dynamic number of heads or head size}}
    %1 = graph.attention %a, %a, %a scale 1.0 : !q, !q
    graph.yield %1 : !q
  }
  return %0 : !q
}

//--- cuda.mlir
func.func @dot_f64(%x: tensor<4x8xf64>, %w: tensor<8x8xf64>) -> tensor<4x8xf64> {
  // expected-error @below {{has a dot of 'f64', which no CUDA kernel computes: use f32, f16, bf16 or i8}}
  %0 = graph.fusion "dot"(%x, %w) : (tensor<4x8xf64>, tensor<8x8xf64>) -> tensor<4x8xf64> {
  ^bb0(%a: tensor<4x8xf64>, %b: tensor<8x8xf64>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf64>, tensor<8x8xf64> -> tensor<4x8xf64>
    graph.yield %1 : tensor<4x8xf64>
  }
  return %0 : tensor<4x8xf64>
}

// -----

// Halves of 1024 columns change places: no tile is so wide.
func.func @wide_groups(%x: tensor<64x64xf32>, %w: tensor<1024x64xf32>) -> tensor<64x1024xf32> {
  // expected-error @below {{has groups of columns too wide for a CUDA tile}}
  %0 = graph.fusion "dot"(%x, %w) : (tensor<64x64xf32>, tensor<1024x64xf32>) -> tensor<64x1024xf32> {
  ^bb0(%a: tensor<64x64xf32>, %b: tensor<1024x64xf32>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<64x64xf32>, tensor<1024x64xf32> -> tensor<64x1024xf32>
    %2 = graph.slice %1 offsets [0, 0] : tensor<64x1024xf32> -> tensor<64x512xf32>
    %3 = graph.slice %1 offsets [0, 512] : tensor<64x1024xf32> -> tensor<64x512xf32>
    %4 = graph.concat %3, %2 dim 1 : (tensor<64x512xf32>, tensor<64x512xf32>) -> tensor<64x1024xf32>
    graph.yield %4 : tensor<64x1024xf32>
  }
  return %0 : tensor<64x1024xf32>
}

// -----

func.func @attention_f64(%q: tensor<1x8x2x16xf64>) -> tensor<1x8x2x16xf64> {
  // expected-error @below {{has attention over 'f64', which no CUDA kernel computes: use f32, f16 or bf16}}
  %0 = graph.fusion "attention"(%q) : (tensor<1x8x2x16xf64>) -> tensor<1x8x2x16xf64> {
  ^bb0(%a: tensor<1x8x2x16xf64>):
    %1 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x16xf64>, tensor<1x8x2x16xf64>
    graph.yield %1 : tensor<1x8x2x16xf64>
  }
  return %0 : tensor<1x8x2x16xf64>
}

// -----

func.func @attention_width(%q: tensor<1x8x2x12xf32>) -> tensor<1x8x2x12xf32> {
  // expected-error @below {{has heads of 12 elements: CUDA attention takes multiples of 8 up to}}
  %0 = graph.fusion "attention"(%q) : (tensor<1x8x2x12xf32>) -> tensor<1x8x2x12xf32> {
  ^bb0(%a: tensor<1x8x2x12xf32>):
    %1 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x12xf32>, tensor<1x8x2x12xf32>
    graph.yield %1 : tensor<1x8x2x12xf32>
  }
  return %0 : tensor<1x8x2x12xf32>
}

// -----

!q = tensor<1x8x2x?xf32, #graph.dims<[1, 8, 2, D]>>
func.func @attention_dynamic(%q: !q) -> !q attributes {graph.symbols = [#graph.symbol<"D", min = 1, max = 64, hint = 64>]} {
  // expected-error @below {{has heads of a size that is no number}}
  %0 = graph.fusion "attention"(%q) : (!q) -> !q {
  ^bb0(%a: !q):
    %1 = graph.attention %a, %a, %a scale 1.0 : !q, !q
    graph.yield %1 : !q
  }
  return %0 : !q
}
