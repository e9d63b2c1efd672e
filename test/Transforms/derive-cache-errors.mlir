// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache -verify-diagnostics
// RUN: not mlsys-opt %s -split-input-file -mlsys-derive-cache=page-size=0 2>&1 | FileCheck %s
// RUN: not mlsys-opt %s -split-input-file -mlsys-derive-cache=kv-type=i8 2>&1 | FileCheck %s --check-prefix=TYPE

// TYPE: kv-type 'i8' is not auto, f32, bf16 or f16
// CHECK: page-size and prefill-chunk must be at least 1

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @step() {
  return
}

// expected-error @below {{cannot get a step: the module already has @step}}
func.func @forward(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %l = graph.reshape %a : !q -> !x
  return %l : !x
}
