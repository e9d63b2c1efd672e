// RUN: mlsys-opt %s -split-input-file -mlsys-infer-shapes -verify-diagnostics

// The weight says 8, the reshape before it 16: only names show it.
func.func @contradiction(%x: tensor<?x4x4xf32, #graph.dims<[T, 4, 4]>>, %w: tensor<6x8xf32>) -> tensor<?x6xf32> {
  %0 = graph.reshape %x : tensor<?x4x4xf32, #graph.dims<[T, 4, 4]>> -> tensor<?x?xf32, #graph.dims<[T, _]>>
  // expected-error @below {{input width 16 is not the weight's 8}}
  %1 = graph.linear %0, %w : (tensor<?x?xf32, #graph.dims<[T, _]>>, tensor<6x8xf32>) -> tensor<?x6xf32>
  return %1 : tensor<?x6xf32>
}

// -----

func.func @one_named(%x: tensor<?xf32, #graph.dims<[T]>>, %y: tensor<?xf32>) -> tensor<?xf32> {
  %0 = graph.broadcast %x dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xf32>
  // expected-error @below {{has operands 'tensor<?xf32, #graph.dims<[T]>>' and 'tensor<?xf32>'; name the extents of both}}
  %1 = graph.add %0, %y : tensor<?xf32>
  return %1 : tensor<?xf32>
}

// -----

func.func @in_fusion(%x: tensor<?xf32, #graph.dims<[T]>>, %y: tensor<?xf32, #graph.dims<[S]>>) -> tensor<?xf32> {
  %0 = graph.broadcast %x dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xf32>
  %1 = graph.broadcast %y dims [0] : tensor<?xf32, #graph.dims<[S]>> -> tensor<?xf32>
  %2 = graph.fusion "loop"(%0, %1) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32> {
  ^bb0(%a: tensor<?xf32>, %b: tensor<?xf32>):
    // expected-error @below {{has operands 'tensor<?xf32, #graph.dims<[T]>>' and 'tensor<?xf32, #graph.dims<[S]>>'; name the extents of both}}
    %3 = graph.add %a, %b : tensor<?xf32>
    graph.yield %3 : tensor<?xf32>
  }
  return %2 : tensor<?xf32>
}

// -----

// expected-error @below {{has control flow; expected one block}}
func.func @control_flow(%x: tensor<4xf32>) -> tensor<4xf32> {
  cf.br ^end
^end:
  return %x : tensor<4xf32>
}
