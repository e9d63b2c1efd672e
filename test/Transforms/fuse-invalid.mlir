// RUN: mlsys-opt %s -split-input-file -mlsys-fuse -verify-diagnostics

func.func @column_reduction(%x: tensor<4x8xf32>) -> tensor<8xf32> {
  // expected-error @below {{has no kernel: a reduction is not over the last dimension alone}}
  %0 = graph.reduce sum %x dims [0] : tensor<4x8xf32> -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

func.func @composite(%x: tensor<4x8xf32>, %w: tensor<8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{has no kernel: graph.rms_norm is not indexable}}
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<4x8xf32>, tensor<8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

func.func @batched_dot(%x: tensor<2x4x8xf32>, %y: tensor<2x4x8xf32>) -> tensor<2x4x4xf32> {
  // expected-error @below {{has no kernel: a dot has batch dimensions}}
  %0 = graph.dot %x, %y batch [0] x [0] contract [2] x [2] : tensor<2x4x8xf32>, tensor<2x4x8xf32> -> tensor<2x4x4xf32>
  return %0 : tensor<2x4x4xf32>
}
