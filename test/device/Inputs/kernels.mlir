// Functions that EmittedKernelTest.cpp compiles for each target and float type $T and compares with the
// interpreter. `test.kernels` lists the kinds of kernels that are expected; integer
// arguments are random numbers below `test.below`, floats have the standard deviation
// `test.deviation`, or 1. Modules are compiled one by one.

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

func.func @bias_silu(%x: tensor<?x96x$T, #graph.dims<[T, 96]>>, %b: tensor<96x$T>) -> tensor<?x96x$T, #graph.dims<[T, 96]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["loop"]} {
  %0 = graph.broadcast %b dims [1] : tensor<96x$T> -> tensor<?x96x$T, #graph.dims<[T, 96]>>
  %1 = graph.add %x, %0 : tensor<?x96x$T, #graph.dims<[T, 96]>>
  %2 = graph.silu %1 : tensor<?x96x$T, #graph.dims<[T, 96]>>
  return %2 : tensor<?x96x$T, #graph.dims<[T, 96]>>
}

// Rows whose length is no multiple of any vector.
func.func @odd_columns(%x: tensor<?x33x$T, #graph.dims<[T, 33]>>, %y: tensor<?x33x$T, #graph.dims<[T, 33]>>) -> tensor<?x33x$T, #graph.dims<[T, 33]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["loop"]} {
  %0 = graph.max %x, %y : tensor<?x33x$T, #graph.dims<[T, 33]>>
  %1 = graph.tanh %0 : tensor<?x33x$T, #graph.dims<[T, 33]>>
  %2 = graph.sub %1, %y : tensor<?x33x$T, #graph.dims<[T, 33]>>
  return %2 : tensor<?x33x$T, #graph.dims<[T, 33]>>
}

func.func @functions(%x: tensor<5x40x$T>, %y: tensor<5x40x$T>) -> (tensor<5x40x$T>, tensor<5x40x$T>)
    attributes {test.kernels = ["loop", "loop"]} {
  %0 = graph.exp %x : tensor<5x40x$T>
  %1 = graph.sin %y : tensor<5x40x$T>
  %2 = graph.mul %0, %1 : tensor<5x40x$T>
  %3 = graph.erf %x : tensor<5x40x$T>
  %4 = graph.add %2, %3 : tensor<5x40x$T>
  %5 = graph.abs %y : tensor<5x40x$T>
  %11 = graph.sqrt %5 : tensor<5x40x$T>
  %12 = graph.add %11, %5 : tensor<5x40x$T>
  %6 = graph.div %5, %12 : tensor<5x40x$T>
  %7 = graph.sigmoid %x : tensor<5x40x$T>
  %8 = graph.min %6, %7 : tensor<5x40x$T>
  %9 = graph.neg %8 : tensor<5x40x$T>
  %10 = graph.cos %9 : tensor<5x40x$T>
  return %4, %10 : tensor<5x40x$T>, tensor<5x40x$T>
}

func.func @select_where(%x: tensor<7x12x$T>, %y: tensor<7x12x$T>) -> (tensor<7x12x$T>, tensor<7x12xi1>)
    attributes {test.kernels = ["loop"]} {
  %0 = graph.compare lt %x, %y : tensor<7x12x$T> -> tensor<7x12xi1>
  %1 = graph.select %0, %x, %y : tensor<7x12xi1>, tensor<7x12x$T>
  %2 = graph.not %0 : tensor<7x12xi1>
  return %1, %2 : tensor<7x12x$T>, tensor<7x12xi1>
}

func.func @integers(%i: tensor<3x9xi32> {test.below = 50 : i64}, %j: tensor<3x9xi64> {test.below = 9 : i64}) -> (tensor<3x9xi64>, tensor<3x9x$T>, tensor<3x9xi1>)
    attributes {test.kernels = ["loop", "loop", "loop"]} {
  %0 = graph.convert %i : tensor<3x9xi32> -> tensor<3x9xi64>
  %1 = graph.mul %0, %j : tensor<3x9xi64>
  %2 = graph.iota dim 1 : tensor<3x9xi64>
  %6 = graph.constant dense<-7> : tensor<3x9xi64>
  %7 = graph.div %1, %6 : tensor<3x9xi64>
  %3 = graph.sub %7, %2 : tensor<3x9xi64>
  %4 = graph.convert %j : tensor<3x9xi64> -> tensor<3x9x$T>
  %5 = graph.compare ge %j, %2 : tensor<3x9xi64> -> tensor<3x9xi1>
  return %3, %4, %5 : tensor<3x9xi64>, tensor<3x9x$T>, tensor<3x9xi1>
}

func.func @moves(%x: tensor<4x6x16x$T>, %y: tensor<4x6x8x$T>) -> tensor<6x4x24x$T>
    attributes {test.kernels = ["loop"]} {
  %0 = graph.slice %x offsets [0, 0, 4] : tensor<4x6x16x$T> -> tensor<4x6x8x$T>
  %1 = graph.concat %0, %y, %0 dim 2 : (tensor<4x6x8x$T>, tensor<4x6x8x$T>, tensor<4x6x8x$T>) -> tensor<4x6x24x$T>
  %2 = graph.neg %1 : tensor<4x6x24x$T>
  %3 = graph.transpose %2 permutation [1, 0, 2] : tensor<4x6x24x$T> -> tensor<6x4x24x$T>
  return %3 : tensor<6x4x24x$T>
}

func.func @transposed(%x: tensor<12x20x$T>) -> tensor<20x12x$T> attributes {test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [1, 0] : tensor<12x20x$T> -> tensor<20x12x$T>
  %1 = graph.exp %0 : tensor<20x12x$T>
  return %1 : tensor<20x12x$T>
}

func.func @embedding(%ids: tensor<?xi64, #graph.dims<[T]>> {test.below = 11 : i64}, %t: tensor<11x24x$T>) -> tensor<?x24x$T, #graph.dims<[T, 24]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["loop"]} {
  %0 = graph.embedding %ids, %t : tensor<?xi64, #graph.dims<[T]>>, tensor<11x24x$T> -> tensor<?x24x$T, #graph.dims<[T, 24]>>
  return %0 : tensor<?x24x$T, #graph.dims<[T, 24]>>
}

// -----
//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

func.func @rms_norm(%x: tensor<?x64x$T, #graph.dims<[T, 64]>>, %w: tensor<64x$T>) -> tensor<?x64x$T, #graph.dims<[T, 64]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["row"]} {
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<64x$T>
  return %0 : tensor<?x64x$T, #graph.dims<[T, 64]>>
}

func.func @softmax_odd(%x: tensor<?x37x$T, #graph.dims<[T, 37]>>) -> tensor<?x37x$T, #graph.dims<[T, 37]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 1 : tensor<?x37x$T, #graph.dims<[T, 37]>>
  return %0 : tensor<?x37x$T, #graph.dims<[T, 37]>>
}

func.func @softmax_long(%x: tensor<2x3x1500x$T>) -> tensor<2x3x1500x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 2 : tensor<2x3x1500x$T>
  return %0 : tensor<2x3x1500x$T>
}

// The length of a row is known at run time only.
func.func @softmax_dynamic(%x: tensor<4x?x$T, #graph.dims<[4, T]>>) -> tensor<4x?x$T, #graph.dims<[4, T]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 1 : tensor<4x?x$T, #graph.dims<[4, T]>>
  return %0 : tensor<4x?x$T, #graph.dims<[4, T]>>
}

func.func @extremes(%x: tensor<6x48x$T>) -> (tensor<6x$T>, tensor<6x$T>, tensor<6x48x$T>)
    attributes {test.kernels = ["row"]} {
  %0 = graph.reduce max %x dims [1] : tensor<6x48x$T> -> tensor<6x$T>
  %1 = graph.reduce min %x dims [1] : tensor<6x48x$T> -> tensor<6x$T>
  %2 = graph.sub %0, %1 : tensor<6x$T>
  %3 = graph.broadcast %2 dims [0] : tensor<6x$T> -> tensor<6x48x$T>
  %4 = graph.div %x, %3 : tensor<6x48x$T>
  return %0, %1, %4 : tensor<6x$T>, tensor<6x$T>, tensor<6x48x$T>
}

func.func @integer_sum(%x: tensor<5x70xi64> {test.below = 1000 : i64}, %y: tensor<5x6x$T>) -> (tensor<5xi64>, tensor<5x$T>)
    attributes {test.kernels = ["row", "row"]} {
  %0 = graph.reduce sum %x dims [1] : tensor<5x70xi64> -> tensor<5xi64>
  %1 = graph.reduce prod %y dims [1] : tensor<5x6x$T> -> tensor<5x$T>
  return %0, %1 : tensor<5xi64>, tensor<5x$T>
}

// -----
//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

func.func @gemv_1(%x: tensor<1x64x$T>, %w: tensor<48x64x$T>, %r: tensor<1x48x$T>) -> tensor<1x48x$T>
    attributes {test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<1x64x$T>, tensor<48x64x$T>) -> tensor<1x48x$T>
  %1 = graph.add %0, %r : tensor<1x48x$T>
  return %1 : tensor<1x48x$T>
}

// Neither extent is a multiple of anything, and the rows are fewer than the tile's.
func.func @gemv_odd(%x: tensor<3x53x$T>, %w: tensor<37x53x$T>, %b: tensor<37x$T>) -> tensor<3x37x$T>
    attributes {test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w bias %b : (tensor<3x53x$T>, tensor<37x53x$T>, tensor<37x$T>) -> tensor<3x37x$T>
  return %0 : tensor<3x37x$T>
}

// The rows of the left side are longer than one staged chunk.
func.func @gemv_long(%x: tensor<8x1400x$T>, %w: tensor<20x1400x$T>) -> tensor<8x20xf32>
    attributes {test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<8x1400x$T>, tensor<20x1400x$T>) -> tensor<8x20x$T>
  %1 = graph.exp %0 : tensor<8x20x$T>
  %2 = graph.log %1 : tensor<8x20x$T>
  %3 = graph.reshape %2 : tensor<8x20x$T> -> tensor<8x20x$T>
  %4 = graph.constant dense<0.0> : tensor<8x20xf32>
  %5 = graph.constant dense<0.0> : tensor<8x20x$T>
  %6 = graph.compare ge %3, %5 : tensor<8x20x$T> -> tensor<8x20xi1>
  %7 = graph.constant dense<1.0> : tensor<8x20xf32>
  %8 = graph.select %6, %7, %4 : tensor<8x20xi1>, tensor<8x20xf32>
  return %8 : tensor<8x20xf32>
}

func.func @norm_gate_up_2(%x: tensor<2x64x$T>, %n: tensor<64x$T>, %g: tensor<80x64x$T>, %u: tensor<80x64x$T>) -> tensor<2x80x$T>
    attributes {test.kernels = ["dot"]} {
  %0 = graph.rms_norm %x, %n epsilon 1.0e-5 : tensor<2x64x$T>, tensor<64x$T>
  %1 = graph.linear %0, %g : (tensor<2x64x$T>, tensor<80x64x$T>) -> tensor<2x80x$T>
  %2 = graph.linear %0, %u : (tensor<2x64x$T>, tensor<80x64x$T>) -> tensor<2x80x$T>
  %3 = graph.silu %1 : tensor<2x80x$T>
  %4 = graph.mul %3, %2 : tensor<2x80x$T>
  return %4 : tensor<2x80x$T>
}

func.func @matmul(%x: tensor<?x64x$T, #graph.dims<[T, 64]>>, %w: tensor<96x64x$T>, %r: tensor<?x96x$T, #graph.dims<[T, 96]>>) -> tensor<?x96x$T, #graph.dims<[T, 96]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<96x64x$T>) -> tensor<?x96x$T, #graph.dims<[T, 96]>>
  %1 = graph.add %0, %r : tensor<?x96x$T, #graph.dims<[T, 96]>>
  return %1 : tensor<?x96x$T, #graph.dims<[T, 96]>>
}

func.func @matmul_odd(%x: tensor<?x53x$T, #graph.dims<[T, 53]>>, %w: tensor<37x53x$T>, %b: tensor<37x$T>) -> tensor<?x37x$T, #graph.dims<[T, 37]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w bias %b : (tensor<?x53x$T, #graph.dims<[T, 53]>>, tensor<37x53x$T>, tensor<37x$T>) -> tensor<?x37x$T, #graph.dims<[T, 37]>>
  return %0 : tensor<?x37x$T, #graph.dims<[T, 37]>>
}

func.func @norm_gate_up(%x: tensor<?x64x$T, #graph.dims<[T, 64]>>, %n: tensor<64x$T>, %g: tensor<80x64x$T>, %u: tensor<80x64x$T>) -> tensor<?x80x$T, #graph.dims<[T, 80]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>]} {
  %0 = graph.rms_norm %x, %n epsilon 1.0e-5 : tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<64x$T>
  %1 = graph.linear %0, %g : (tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<80x64x$T>) -> tensor<?x80x$T, #graph.dims<[T, 80]>>
  %2 = graph.linear %0, %u : (tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<80x64x$T>) -> tensor<?x80x$T, #graph.dims<[T, 80]>>
  %3 = graph.silu %1 : tensor<?x80x$T, #graph.dims<[T, 80]>>
  %4 = graph.mul %3, %2 : tensor<?x80x$T, #graph.dims<[T, 80]>>
  return %4 : tensor<?x80x$T, #graph.dims<[T, 80]>>
}
