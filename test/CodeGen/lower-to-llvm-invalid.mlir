// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-llvm -verify-diagnostics
// RUN: echo 'module {}' | not mlsys-opt -mlsys-lower-to-llvm="isa=x86-64-v1" 2>&1 | FileCheck %s

// CHECK: error: 'x86-64-v1' is no instruction set of a CPU

// expected-error @below {{is not a list of launches}}
func.func @graph(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = graph.exp %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error @below {{is for the target 'cuda', not for the CPU}}
kernel.func @block(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
