// Functions that RowsTest.cpp compiles for CUDA and compares with the interpreter: transposes through shared memory.

func.func @copied(%x: tensor<136x200x$T>) -> tensor<200x136x$T> attributes {test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [1, 0] : tensor<136x200x$T> -> tensor<200x136x$T>
  return %0 : tensor<200x136x$T>
}

// Neither extent is a multiple of anything.
func.func @odd(%x: tensor<37x67x$T>) -> tensor<67x37x$T> attributes {test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [1, 0] : tensor<37x67x$T> -> tensor<67x37x$T>
  return %0 : tensor<67x37x$T>
}

// Computed before and after, beside an input in the other order and a bias.
func.func @fused(%x: tensor<72x80x$T>, %y: tensor<80x72x$T>, %b: tensor<72x$T>) -> (tensor<80x72x$T>, tensor<80x72xf32>)
    attributes {test.kernels = ["loop"]} {
  %0 = graph.tanh %x : tensor<72x80x$T>
  %1 = graph.transpose %0 permutation [1, 0] : tensor<72x80x$T> -> tensor<80x72x$T>
  %2 = graph.broadcast %b dims [1] : tensor<72x$T> -> tensor<80x72x$T>
  %3 = graph.add %1, %2 : tensor<80x72x$T>
  %4 = graph.mul %3, %y : tensor<80x72x$T>
  %5 = graph.convert %3 : tensor<80x72x$T> -> tensor<80x72xf32>
  return %4, %5 : tensor<80x72x$T>, tensor<80x72xf32>
}

// Two tiles, of different types, and a flat result.
func.func @two(%x: tensor<70x66x$T>, %i: tensor<70x66xi64> {test.below = 100 : i64}) -> tensor<4620x$T>
    attributes {test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [1, 0] : tensor<70x66x$T> -> tensor<66x70x$T>
  %1 = graph.transpose %i permutation [1, 0] : tensor<70x66xi64> -> tensor<66x70xi64>
  %2 = graph.convert %1 : tensor<66x70xi64> -> tensor<66x70x$T>
  %3 = graph.sub %0, %2 : tensor<66x70x$T>
  %4 = graph.reshape %3 : tensor<66x70x$T> -> tensor<4620x$T>
  return %4 : tensor<4620x$T>
}

// Keys by head and element.
func.func @heads(%x: tensor<?x3x40x$T, #graph.dims<[T, 3, 40]>>) -> tensor<3x40x?x$T, #graph.dims<[3, 40, T]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 65536, hint = 512>], test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [1, 2, 0] : tensor<?x3x40x$T, #graph.dims<[T, 3, 40]>> -> tensor<3x40x?x$T, #graph.dims<[3, 40, T]>>
  return %0 : tensor<3x40x?x$T, #graph.dims<[3, 40, T]>>
}

// A batch before, a dimension between, and dimensions of extent 1.
func.func @batches(%x: tensor<2x24x5x1x32x$T>) -> tensor<2x1x32x5x24x$T> attributes {test.kernels = ["loop"]} {
  %0 = graph.transpose %x permutation [0, 3, 4, 2, 1] : tensor<2x24x5x1x32x$T> -> tensor<2x1x32x5x24x$T>
  return %0 : tensor<2x1x32x5x24x$T>
}

// Truth values are bytes.
func.func @flags(%x: tensor<48x64x$T>) -> tensor<64x48xi1> attributes {test.kernels = ["loop"]} {
  %0 = graph.constant dense<0.0> : tensor<48x64x$T>
  %1 = graph.compare lt %x, %0 : tensor<48x64x$T> -> tensor<48x64xi1>
  %2 = graph.transpose %1 permutation [1, 0] : tensor<48x64xi1> -> tensor<64x48xi1>
  return %2 : tensor<64x48xi1>
}

// Read elsewhere, too: no tile.
func.func @sliced(%x: tensor<64x64x$T>) -> tensor<32x64x$T> {
  %0 = graph.transpose %x permutation [1, 0] : tensor<64x64x$T> -> tensor<64x64x$T>
  %1 = graph.exp %0 : tensor<64x64x$T>
  %2 = graph.slice %1 offsets [16, 0] : tensor<64x64x$T> -> tensor<32x64x$T>
  return %2 : tensor<32x64x$T>
}
