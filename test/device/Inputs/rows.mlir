// Functions that RowsTest.cpp compiles for CUDA and compares with the interpreter: reductions in parts and down columns.

//===----------------------------------------------------------------------===//
// Long rows
//===----------------------------------------------------------------------===//

// The last part is not full.
func.func @softmax_parts(%x: tensor<3x20008x$T>) -> tensor<3x20008x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 1 : tensor<3x20008x$T>
  return %0 : tensor<3x20008x$T>
}

func.func @softmax_odd(%x: tensor<2x16387x$T>) -> tensor<2x16387x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 1 : tensor<2x16387x$T>
  return %0 : tensor<2x16387x$T>
}

// Whole parts are -inf.
func.func @softmax_masked(%x: tensor<2x24576x$T>) -> tensor<2x24576x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.iota dim 1 : tensor<2x24576xi32>
  %1 = graph.constant dense<5000> : tensor<2x24576xi32>
  %2 = graph.compare lt %0, %1 : tensor<2x24576xi32> -> tensor<2x24576xi1>
  %3 = graph.constant dense<0xFF800000> : tensor<2x24576xf32>
  %4 = graph.convert %x : tensor<2x24576x$T> -> tensor<2x24576xf32>
  %5 = graph.select %2, %4, %3 : tensor<2x24576xi1>, tensor<2x24576xf32>
  %6 = graph.softmax %5 dim 1 : tensor<2x24576xf32>
  %7 = graph.convert %6 : tensor<2x24576xf32> -> tensor<2x24576x$T>
  return %7 : tensor<2x24576x$T>
}

// Two levels: the variance reads the mean.
func.func @layer_norm_parts(%x: tensor<2x18000x$T>, %w: tensor<18000x$T>, %b: tensor<18000x$T>) -> tensor<2x18000x$T>
    attributes {test.kernels = ["row"]} {
  %0 = graph.layer_norm %x scale %w : tensor<18000x$T> bias %b : tensor<18000x$T> epsilon 1.0e-5 : tensor<2x18000x$T>
  return %0 : tensor<2x18000x$T>
}

func.func @rms_norm_one(%x: tensor<1x20480x$T>, %w: tensor<20480x$T>) -> tensor<1x20480x$T>
    attributes {test.kernels = ["row"]} {
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<1x20480x$T>, tensor<20480x$T>
  return %0 : tensor<1x20480x$T>
}
func.func @rms_norm_three(%x: tensor<3x20480x$T>, %w: tensor<20480x$T>) -> tensor<3x20480x$T>
    attributes {test.kernels = ["row"]} {
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<3x20480x$T>, tensor<20480x$T>
  return %0 : tensor<3x20480x$T>
}

// Outputs of one element a row, of a few, and of all.
func.func @extremes_parts(%x: tensor<3x17000x$T>, %y: tensor<3x5x$T>) -> (tensor<3x$T>, tensor<3x$T>, tensor<3x5x$T>, tensor<3x17000x$T>)
    attributes {test.kernels = ["row"]} {
  %0 = graph.reduce max %x dims [1] : tensor<3x17000x$T> -> tensor<3x$T>
  %1 = graph.reduce min %x dims [1] : tensor<3x17000x$T> -> tensor<3x$T>
  %2 = graph.sub %0, %1 : tensor<3x$T>
  %3 = graph.broadcast %2 dims [0] : tensor<3x$T> -> tensor<3x17000x$T>
  %4 = graph.div %x, %3 : tensor<3x17000x$T>
  %5 = graph.broadcast %2 dims [0] : tensor<3x$T> -> tensor<3x5x$T>
  %6 = graph.add %5, %y : tensor<3x5x$T>
  return %0, %1, %6, %4 : tensor<3x$T>, tensor<3x$T>, tensor<3x5x$T>, tensor<3x17000x$T>
}

func.func @integer_parts(%x: tensor<5x16500xi64> {test.below = 1000 : i64}) -> (tensor<5xi64>, tensor<5xi64>)
    attributes {test.kernels = ["row"]} {
  %0 = graph.reduce sum %x dims [1] : tensor<5x16500xi64> -> tensor<5xi64>
  %1 = graph.reduce min %x dims [1] : tensor<5x16500xi64> -> tensor<5xi64>
  %2 = graph.sub %0, %1 : tensor<5xi64>
  return %0, %2 : tensor<5xi64>, tensor<5xi64>
}

// A whole tensor, whose extent is open: a part is more than one chunk when there are more rows than the hint says.
func.func @mean_of_all(%x: tensor<?x96x$T, #graph.dims<[T, 96]>>) -> tensor<f32>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 65536, hint = 200>], test.kernels = ["row"]} {
  %0 = graph.convert %x : tensor<?x96x$T, #graph.dims<[T, 96]>> -> tensor<?x96xf32, #graph.dims<[T, 96]>>
  %1 = graph.mul %0, %0 : tensor<?x96xf32, #graph.dims<[T, 96]>>
  %2 = graph.reduce sum %1 dims [0, 1] : tensor<?x96xf32, #graph.dims<[T, 96]>> -> tensor<f32>
  return %2 : tensor<f32>
}

// Rows of an open length.
func.func @softmax_open(%x: tensor<2x?x$T, #graph.dims<[2, T]>>) -> tensor<2x?x$T, #graph.dims<[2, T]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 65536, hint = 20000>], test.kernels = ["row"]} {
  %0 = graph.softmax %x dim 1 : tensor<2x?x$T, #graph.dims<[2, T]>>
  return %0 : tensor<2x?x$T, #graph.dims<[2, T]>>
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

func.func @columns_short(%x: tensor<20x64x$T>) -> tensor<64x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.reduce sum %x dims [0] : tensor<20x64x$T> -> tensor<64x$T>
  return %0 : tensor<64x$T>
}

func.func @columns_long(%x: tensor<1500x320x$T>, %b: tensor<320x$T>) -> tensor<320x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.tanh %x : tensor<1500x320x$T>
  %1 = graph.reduce sum %0 dims [0] : tensor<1500x320x$T> -> tensor<320x$T>
  %2 = graph.mul %1, %b : tensor<320x$T>
  return %2 : tensor<320x$T>
}

func.func @columns_odd(%x: tensor<701x37x$T>) -> (tensor<37x$T>, tensor<37x$T>) attributes {test.kernels = ["row", "row"]} {
  %0 = graph.reduce max %x dims [0] : tensor<701x37x$T> -> tensor<37x$T>
  %1 = graph.reduce min %x dims [0] : tensor<701x37x$T> -> tensor<37x$T>
  return %0, %1 : tensor<37x$T>, tensor<37x$T>
}

// Between two dimensions that stay, and two that go.
func.func @columns_middle(%x: tensor<3x25x9x4x10x$T>) -> tensor<3x4x10x$T> attributes {test.kernels = ["row"]} {
  %0 = graph.reduce sum %x dims [1, 2] : tensor<3x25x9x4x10x$T> -> tensor<3x4x10x$T>
  return %0 : tensor<3x4x10x$T>
}

func.func @columns_open(%x: tensor<?x136x$T, #graph.dims<[T, 136]>>) -> tensor<136x$T>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 65536, hint = 4096>], test.kernels = ["row"]} {
  %0 = graph.reduce sum %x dims [0] : tensor<?x136x$T, #graph.dims<[T, 136]>> -> tensor<136x$T>
  return %0 : tensor<136x$T>
}

func.func @columns_many_open(%x: tensor<40x?x$T, #graph.dims<[40, T]>>) -> tensor<?x$T, #graph.dims<[T]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 65536, hint = 4096>], test.kernels = ["row"]} {
  %0 = graph.reduce sum %x dims [0] : tensor<40x?x$T, #graph.dims<[40, T]>> -> tensor<?x$T, #graph.dims<[T]>>
  return %0 : tensor<?x$T, #graph.dims<[T]>>
}

func.func @softmax_of_columns(%x: tensor<130x72x$T>) -> tensor<130x72x$T> {
  %0 = graph.softmax %x dim 0 : tensor<130x72x$T>
  return %0 : tensor<130x72x$T>
}
