// RUN: mlsys-opt %s -mlsys-decompose -verify-diagnostics

func.func @dynamic_width(%x: tensor<4x?xf32, #graph.dims<[4, D]>>, %w: tensor<?xf32, #graph.dims<[D]>>)
    -> tensor<4x?xf32, #graph.dims<[4, D]>> {
  // expected-error @below {{'graph.rms_norm' op has width D; only a number can be decomposed}}
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<4x?xf32, #graph.dims<[4, D]>>, tensor<?xf32, #graph.dims<[D]>>
  return %0 : tensor<4x?xf32, #graph.dims<[4, D]>>
}
