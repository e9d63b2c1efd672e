// RUN: mlsys-opt %s -split-input-file -mlsys-lower-to-kernel="target=cuda" -verify-diagnostics
//
// Bodies that no kernel of their kind can have, each with the reason.

func.func @nothing() {
  // expected-error @below {{is no loop body: nothing is stored}}
  graph.fusion "loop"() : () -> () {
  }
  return
}

// -----

func.func @loop_with_reduction(%x: tensor<4x8xf32>) -> tensor<4xf32> {
  // expected-error @below {{is no loop body: graph.reduce is not indexable}}
  %y = graph.fusion "loop"(%x) : (tensor<4x8xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %0 = graph.reduce sum %a dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    graph.yield %0 : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

// -----

func.func @loop_domains(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>) -> (tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<?x4xf32, #graph.dims<[T, 4]>>)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  // expected-error @below {{is no loop body: outputs have 8*T and 4*T elements}}
  %y:2 = graph.fusion "loop"(%x) : (tensor<?x8xf32, #graph.dims<[T, 8]>>) -> (tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<?x4xf32, #graph.dims<[T, 4]>>) {
  ^bb0(%a: tensor<?x8xf32, #graph.dims<[T, 8]>>):
    %0 = graph.exp %a : tensor<?x8xf32, #graph.dims<[T, 8]>>
    %1 = graph.slice %0 offsets [0, 4] : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<?x4xf32, #graph.dims<[T, 4]>>
    graph.yield %0, %1 : tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<?x4xf32, #graph.dims<[T, 4]>>
  }
  return %y#0, %y#1 : tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<?x4xf32, #graph.dims<[T, 4]>>
}

// -----

func.func @row_with_dot(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no row body: graph.dot is neither indexable nor a reduction}}
  %y = graph.fusion "row"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %0 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @row_without_reduction(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no row body: there is no reduction}}
  %y = graph.fusion "row"(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %0 = graph.exp %a : tensor<4x8xf32>
    graph.yield %0 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @row_counts(%x: tensor<4x8xf32>, %z: tensor<2x8xf32>) -> (tensor<4xf32>, tensor<2xf32>) {
  // expected-error @below {{is no row body: reductions over 4 and 2 rows}}
  %y:2 = graph.fusion "row"(%x, %z) : (tensor<4x8xf32>, tensor<2x8xf32>) -> (tensor<4xf32>, tensor<2xf32>) {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8xf32>):
    %0 = graph.reduce sum %a dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    %1 = graph.reduce sum %b dims [1] : tensor<2x8xf32> -> tensor<2xf32>
    graph.yield %0, %1 : tensor<4xf32>, tensor<2xf32>
  }
  return %y#0, %y#1 : tensor<4xf32>, tensor<2xf32>
}

// -----

func.func @row_reads_other_rows(%x: tensor<4x8xf32>) -> tensor<8x4xf32> {
  // expected-error @below {{is no row body: graph.broadcast moves a reduced value across rows}}
  %y = graph.fusion "row"(%x) : (tensor<4x8xf32>) -> tensor<8x4xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %0 = graph.reduce sum %a dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    %1 = graph.broadcast %0 dims [1] : tensor<4xf32> -> tensor<8x4xf32>
    graph.yield %1 : tensor<8x4xf32>
  }
  return %y : tensor<8x4xf32>
}

// -----

func.func @row_output(%x: tensor<4x8xf32>, %z: tensor<6xf32>) -> (tensor<4xf32>, tensor<6xf32>) {
  // expected-error @below {{is no row body: an output of 6 elements does not divide into 4 rows}}
  %y:2 = graph.fusion "row"(%x, %z) : (tensor<4x8xf32>, tensor<6xf32>) -> (tensor<4xf32>, tensor<6xf32>) {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<6xf32>):
    %0 = graph.reduce sum %a dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    %1 = graph.exp %b : tensor<6xf32>
    graph.yield %0, %1 : tensor<4xf32>, tensor<6xf32>
  }
  return %y#0, %y#1 : tensor<4xf32>, tensor<6xf32>
}

// -----

func.func @dot_columns(%x: tensor<8x4xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: a dot does not contract the last dimension with that of a matrix}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<8x4xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<8x4xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [0] x [1] : tensor<8x4xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %0 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @dot_dynamic(%x: tensor<4x8xf32>, %w: tensor<?x8xf32, #graph.dims<[N, 8]>>) -> tensor<4x?xf32, #graph.dims<[4, N]>>
    attributes {graph.symbols = [#graph.symbol<"N", min = 1, max = 8, hint = 8>]} {
  // expected-error @below {{is no dot body: a dot's right side has a dynamic extent}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<?x8xf32, #graph.dims<[N, 8]>>) -> tensor<4x?xf32, #graph.dims<[4, N]>> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<?x8xf32, #graph.dims<[N, 8]>>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<?x8xf32, #graph.dims<[N, 8]>> -> tensor<4x?xf32, #graph.dims<[4, N]>>
    graph.yield %0 : tensor<4x?xf32, #graph.dims<[4, N]>>
  }
  return %y : tensor<4x?xf32, #graph.dims<[4, N]>>
}

// -----

func.func @dot_of_computed(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: a dot's right side is computed in the same kernel}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.neg %b : tensor<8x8xf32>
    %1 = graph.dot %a, %0 batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @dots_of_different_sides(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<8x8xf32>) {
  // expected-error @below {{is no dot body: dots have different left sides}}
  %y:2 = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<8x8xf32>) {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.dot %b, %b batch [] x [] contract [1] x [1] : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    graph.yield %0, %1 : tensor<4x8xf32>, tensor<8x8xf32>
  }
  return %y#0, %y#1 : tensor<4x8xf32>, tensor<8x8xf32>
}

// -----

func.func @no_dot(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: there is no dot}}
  %y = graph.fusion "dot"(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %0 = graph.exp %a : tensor<4x8xf32>
    graph.yield %0 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @prologue(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: graph.softmax cannot be in a dot's prologue}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.softmax %a dim 1 : tensor<4x8xf32>
    %1 = graph.dot %0, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @prologue_rows(%x: tensor<2x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: the prologue reduces 2 rows but the dot has 4}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<2x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.reduce sum %a dims [1] : tensor<2x8xf32> -> tensor<2xf32>
    %1 = graph.broadcast %0 dims [0] : tensor<2xf32> -> tensor<2x16xf32>
    %2 = graph.reshape %1 : tensor<2x16xf32> -> tensor<4x8xf32>
    %3 = graph.dot %2, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %3 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @epilogue(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: graph.softmax cannot be in a dot's epilogue}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.softmax %0 dim 1 : tensor<4x8xf32>
    graph.yield %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @epilogue_reads_reduction(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: the epilogue reads a reduction of the prologue}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.reduce max %a dims [1] : tensor<4x8xf32> -> tensor<4xf32>
    %1 = graph.broadcast %0 dims [0] : tensor<4xf32> -> tensor<4x8xf32>
    %2 = graph.dot %1, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %3 = graph.add %2, %1 : tensor<4x8xf32>
    graph.yield %3 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @epilogue_gathers(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>, %i: tensor<4xi32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: graph.gather of a dot's result}}
  %y = graph.fusion "dot"(%x, %w, %i) : (tensor<4x8xf32>, tensor<8x8xf32>, tensor<4xi32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>, %c: tensor<4xi32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.gather %0, %c : tensor<4x8xf32>, tensor<4xi32> -> tensor<4x8xf32>
    graph.yield %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @epilogue_mixes_rows(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>, %w: tensor<8x8xf32>) -> tensor<8x?xf32, #graph.dims<[8, T]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  // expected-error @below {{is no dot body: graph.transpose mixes rows of a dot's result}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<8x8xf32>) -> tensor<8x?xf32, #graph.dims<[8, T]>> {
  ^bb0(%a: tensor<?x8xf32, #graph.dims<[T, 8]>>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<8x8xf32> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
    %1 = graph.transpose %0 permutation [1, 0] : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<8x?xf32, #graph.dims<[8, T]>>
    graph.yield %1 : tensor<8x?xf32, #graph.dims<[8, T]>>
  }
  return %y : tensor<8x?xf32, #graph.dims<[8, T]>>
}

// -----

// Groups of 6 columns, then of 4.
func.func @uneven_groups(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>) -> tensor<6x2xf32> {
  // expected-error @below {{is no dot body: graph.slice mixes uneven groups of columns}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<6x2xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<6x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf32>
    %1 = graph.reshape %0 : tensor<4x6xf32> -> tensor<4x2x3xf32>
    %2 = graph.transpose %1 permutation [0, 2, 1] : tensor<4x2x3xf32> -> tensor<4x3x2xf32>
    %3 = graph.reshape %2 : tensor<4x3x2xf32> -> tensor<6x4xf32>
    %4 = graph.slice %3 offsets [0, 2] : tensor<6x4xf32> -> tensor<6x2xf32>
    graph.yield %4 : tensor<6x2xf32>
  }
  return %y : tensor<6x2xf32>
}

// -----

// The first half has one of every two columns.
func.func @uneven_concat(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>, %v: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: concat of dots with different groups of columns}}
  %y = graph.fusion "dot"(%x, %w, %v) : (tensor<4x8xf32>, tensor<8x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>, %c: tensor<4x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
    %2 = graph.reshape %0 : tensor<4x8xf32> -> tensor<4x4x2xf32>
    %3 = graph.slice %2 offsets [0, 0, 1] : tensor<4x4x2xf32> -> tensor<4x4x1xf32>
    %4 = graph.reshape %3 : tensor<4x4x1xf32> -> tensor<4x4xf32>
    %5 = graph.concat %4, %1 dim 1 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    graph.yield %5 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @uneven_sum(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>, %v: tensor<4x8xf32>) -> tensor<4x4xf32> {
  // expected-error @below {{is no dot body: an operation combines uneven groups of columns}}
  %y = graph.fusion "dot"(%x, %w, %v) : (tensor<4x8xf32>, tensor<8x8xf32>, tensor<4x8xf32>) -> tensor<4x4xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>, %c: tensor<4x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
    %2 = graph.reshape %0 : tensor<4x8xf32> -> tensor<4x4x2xf32>
    %3 = graph.slice %2 offsets [0, 0, 1] : tensor<4x4x2xf32> -> tensor<4x4x1xf32>
    %4 = graph.reshape %3 : tensor<4x4x1xf32> -> tensor<4x4xf32>
    %5 = graph.add %4, %1 : tensor<4x4xf32>
    graph.yield %5 : tensor<4x4xf32>
  }
  return %y : tensor<4x4xf32>
}

// -----

func.func @output_without_dot(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  // expected-error @below {{is no dot body: an output does not depend on a dot}}
  %y:2 = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.neg %a : tensor<4x8xf32>
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %1, %0 : tensor<4x8xf32>, tensor<4x8xf32>
  }
  return %y#0, %y#1 : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// Rotated rows of one dot beside the columns of a wider one.
func.func @different_widths(%x: tensor<4x8xf32>, %w: tensor<4x8xf32>, %v: tensor<8x8xf32>) -> tensor<4x2x6xf32> {
  // expected-error @below {{is no dot body: an output combines dots of different widths}}
  %y = graph.fusion "dot"(%x, %w, %v) : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x2x6xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>, %c: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
    %1 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %2 = graph.reshape %0 : tensor<4x4xf32> -> tensor<4x2x2xf32>
    %3 = graph.transpose %2 permutation [0, 2, 1] : tensor<4x2x2xf32> -> tensor<4x2x2xf32>
    %4 = graph.reshape %1 : tensor<4x8xf32> -> tensor<4x2x4xf32>
    %5 = graph.concat %3, %4 dim 2 : (tensor<4x2x2xf32>, tensor<4x2x4xf32>) -> tensor<4x2x6xf32>
    graph.yield %5 : tensor<4x2x6xf32>
  }
  return %y : tensor<4x2x6xf32>
}

// -----

func.func @some_columns(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x4xf32> {
  // expected-error @below {{is no dot body: an output is not made of the dot's rows and columns}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x4xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.slice %0 offsets [0, 4] : tensor<4x8xf32> -> tensor<4x4xf32>
    graph.yield %1 : tensor<4x4xf32>
  }
  return %y : tensor<4x4xf32>
}

// -----

func.func @groups_over_rows(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>) -> tensor<3x4x2xf32> {
  // expected-error @below {{is no dot body: columns do not divide into groups of 8}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<3x4x2xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<6x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf32>
    %1 = graph.reshape %0 : tensor<4x6xf32> -> tensor<3x2x4xf32>
    %2 = graph.transpose %1 permutation [0, 2, 1] : tensor<3x2x4xf32> -> tensor<3x4x2xf32>
    graph.yield %2 : tensor<3x4x2xf32>
  }
  return %y : tensor<3x4x2xf32>
}

// -----

func.func @unused_dot(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is no dot body: a dot is not used}}
  %y = graph.fusion "dot"(%x, %w) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>):
    %0 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %0 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

func.func @attention_and_more(%q: tensor<1x8x2x4xf32>) -> tensor<1x8x2x4xf32> {
  // expected-error @below {{is no attention body: graph.neg cannot be fused with attention}}
  %y = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf32>) -> tensor<1x8x2x4xf32> {
  ^bb0(%a: tensor<1x8x2x4xf32>):
    %0 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
    %1 = graph.neg %0 : tensor<1x8x2x4xf32>
    graph.yield %1 : tensor<1x8x2x4xf32>
  }
  return %y : tensor<1x8x2x4xf32>
}

// -----

func.func @two_attentions(%q: tensor<1x8x2x4xf32>) -> tensor<1x8x2x4xf32> {
  // expected-error @below {{is no attention body: there are two attentions}}
  %y = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf32>) -> tensor<1x8x2x4xf32> {
  ^bb0(%a: tensor<1x8x2x4xf32>):
    %0 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
    %1 = graph.attention %0, %a, %a scale 1.0 : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
    graph.yield %1 : tensor<1x8x2x4xf32>
  }
  return %y : tensor<1x8x2x4xf32>
}

// -----

func.func @no_attention(%q: tensor<1x8x2x4xf32>) -> tensor<8x8xf32> {
  // expected-error @below {{is no attention body: there is no attention}}
  %y = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf32>) -> tensor<8x8xf32> {
  ^bb0(%a: tensor<1x8x2x4xf32>):
    %0 = graph.reshape %a : tensor<1x8x2x4xf32> -> tensor<8x8xf32>
    graph.yield %0 : tensor<8x8xf32>
  }
  return %y : tensor<8x8xf32>
}

// -----

func.func @attention_outputs(%q: tensor<1x8x2x4xf32>) -> (tensor<1x8x2x4xf32>, tensor<8x8xf32>) {
  // expected-error @below {{is no attention body: attention has one output}}
  %y:2 = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf32>) -> (tensor<1x8x2x4xf32>, tensor<8x8xf32>) {
  ^bb0(%a: tensor<1x8x2x4xf32>):
    %0 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
    %1 = graph.reshape %0 : tensor<1x8x2x4xf32> -> tensor<8x8xf32>
    graph.yield %0, %1 : tensor<1x8x2x4xf32>, tensor<8x8xf32>
  }
  return %y#0, %y#1 : tensor<1x8x2x4xf32>, tensor<8x8xf32>
}

// -----

func.func @attention_not_returned(%q: tensor<1x8x2x4xf32>) -> tensor<8x8xf32> {
  // expected-error @below {{is no attention body: the output is not the attention's}}
  %y = graph.fusion "attention"(%q) : (tensor<1x8x2x4xf32>) -> tensor<8x8xf32> {
  ^bb0(%a: tensor<1x8x2x4xf32>):
    %0 = graph.attention %a, %a, %a scale 1.0 : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
    %1 = graph.reshape %a : tensor<1x8x2x4xf32> -> tensor<8x8xf32>
    graph.yield %1 : tensor<8x8xf32>
  }
  return %y : tensor<8x8xf32>
}

// -----

func.func @expert_dot_and_dot(%x: tensor<4x8xf32>, %w: tensor<2x8x8xf32>, %v: tensor<8x8xf32>, %e: tensor<4x1xi32>) -> (tensor<4x1x8xf32>, tensor<4x8xf32>) {
  // expected-error @below {{is no dot body: a dot and a product with experts have different rows}}
  %y:2 = graph.fusion "dot"(%x, %w, %v, %e) : (tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<8x8xf32>, tensor<4x1xi32>) -> (tensor<4x1x8xf32>, tensor<4x8xf32>) {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8x8xf32>, %c: tensor<8x8xf32>, %d: tensor<4x1xi32>):
    %0 = graph.expert_dot %a, %b, %d : tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32> -> tensor<4x1x8xf32>
    %1 = graph.dot %a, %c batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    graph.yield %0, %1 : tensor<4x1x8xf32>, tensor<4x8xf32>
  }
  return %y#0, %y#1 : tensor<4x1x8xf32>, tensor<4x8xf32>
}

// -----

func.func @other_experts(%x: tensor<4x8xf32>, %w: tensor<2x8x8xf32>, %e: tensor<4x1xi32>, %f: tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  // expected-error @below {{is no dot body: products choose different experts}}
  %y = graph.fusion "dot"(%x, %w, %e, %f) : (tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8x8xf32>, %c: tensor<4x1xi32>, %d: tensor<4x1xi32>):
    %0 = graph.expert_dot %a, %b, %c : tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32> -> tensor<4x1x8xf32>
    %1 = graph.expert_dot %a, %b, %d : tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32> -> tensor<4x1x8xf32>
    %2 = graph.add %0, %1 : tensor<4x1x8xf32>
    graph.yield %2 : tensor<4x1x8xf32>
  }
  return %y : tensor<4x1x8xf32>
}

// -----

func.func @expert_prologue(%x: tensor<4x8xf32>, %w: tensor<2x8x8xf32>, %e: tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  // expected-error @below {{is no dot body: the left side of a product with experts is computed in the same kernel}}
  %y = graph.fusion "dot"(%x, %w, %e) : (tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8x8xf32>, %c: tensor<4x1xi32>):
    %n = graph.neg %a : tensor<4x8xf32>
    %0 = graph.expert_dot %n, %b, %c : tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32> -> tensor<4x1x8xf32>
    graph.yield %0 : tensor<4x1x8xf32>
  }
  return %y : tensor<4x1x8xf32>
}

// -----

func.func @experts_computed(%x: tensor<4x8xf32>, %w: tensor<2x8x8xf32>, %e: tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  // expected-error @below {{is no dot body: experts are chosen in the same kernel}}
  %y = graph.fusion "dot"(%x, %w, %e) : (tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32>) -> tensor<4x1x8xf32> {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8x8xf32>, %c: tensor<4x1xi32>):
    %n = graph.max %c, %c : tensor<4x1xi32>
    %0 = graph.expert_dot %a, %b, %n : tensor<4x8xf32>, tensor<2x8x8xf32>, tensor<4x1xi32> -> tensor<4x1x8xf32>
    graph.yield %0 : tensor<4x1x8xf32>
  }
  return %y : tensor<4x1x8xf32>
}

// -----

!e = tensor<4x?xi32, #graph.dims<[4, K]>>
!y = tensor<4x?x8xf32, #graph.dims<[4, K, 8]>>
func.func @open_experts(%x: tensor<4x8xf32>, %w: tensor<2x8x8xf32>, %e: !e) -> !y
    attributes {graph.symbols = [#graph.symbol<"K", min = 1, max = 2, hint = 2>]} {
  // expected-error @below {{is no dot body: the number of experts of a token is no number}}
  %y = graph.fusion "dot"(%x, %w, %e) : (tensor<4x8xf32>, tensor<2x8x8xf32>, !e) -> !y {
  ^bb0(%a: tensor<4x8xf32>, %b: tensor<2x8x8xf32>, %c: !e):
    %0 = graph.expert_dot %a, %b, %c : tensor<4x8xf32>, tensor<2x8x8xf32>, !e -> !y
    graph.yield %0 : !y
  }
  return %y : !y
}
