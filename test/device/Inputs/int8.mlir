// Products of 8-bit integers for each target and float type $T: N columns, K elements summed over. Results
// of integers must be equal, whatever the target.

!x = tensor<?x$Kxi8, #graph.dims<[T, $K]>>
!u = tensor<?x$Kxui8, #graph.dims<[T, $K]>>
!y = tensor<?x$Nxi32, #graph.dims<[T, $N]>>
!xf = tensor<?x$Kxf32, #graph.dims<[T, $K]>>
!yf = tensor<?x$Nxf32, #graph.dims<[T, $N]>>
!row = tensor<?xf32, #graph.dims<[T]>>

func.func @signed(%x: !x {test.below = 256 : i64}) -> !y
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [$N, $K]>
  %y = graph.dot %x, %w batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  return %y : !y
}

func.func @unsigned(%x: !u {test.below = 256 : i64}) -> !y
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [$N, $K]>
  %y = graph.dot %x, %w batch [] x [] contract [1] x [1] : !u, tensor<$Nx$Kxi8> -> !y
  return %y : !y
}

// The weights come from outside; all least numbers: the largest products.
func.func @largest(%x: !x {test.below = 1 : i64}, %v: tensor<$Nx$Kxi8> {test.below = 256 : i64}) -> (!y, !y)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>]} {
  %c = graph.constant dense<-128> : tensor<i8>
  %b = graph.broadcast %c dims [] : tensor<i8> -> !x
  %a = graph.add %x, %b : !x
  %w = graph.constant dense<-128> : tensor<$Nx$Kxi8>
  %y = graph.dot %a, %w batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  %z = graph.dot %a, %v batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  return %y, %z : !y, !y
}

// Few rows, and a left side that is computed.
func.func @few(%x: tensor<3x$Kxf32> {test.deviation = 60.0 : f64}) -> tensor<3x$Nxi32> {
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 3, bytes = 0, dtype = "random", shape = [$N, $K]>
  %r = graph.round %x : tensor<3x$Kxf32>
  %q = graph.convert %r : tensor<3x$Kxf32> -> tensor<3x$Kxi8>
  %y = graph.dot %q, %w batch [] x [] contract [1] x [1] : tensor<3x$Kxi8>, tensor<$Nx$Kxi8> -> tensor<3x$Nxi32>
  return %y : tensor<3x$Nxi32>
}

// One row whose weights are read where they are.
func.func @one(%x: tensor<1x$Kxi8> {test.below = 256 : i64}) -> tensor<1x$Nxi32> attributes {test.kernels = ["dot"]} {
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 4, bytes = 0, dtype = "random", shape = [$N, $K]>
  %y = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<1x$Kxi8>, tensor<$Nx$Kxi8> -> tensor<1x$Nxi32>
  return %y : tensor<1x$Nxi32>
}

// A linear layer with rows that are quantised on the way: one kernel of rows, one product with its
// scales, bias and activation.
func.func @dynamic(%x: tensor<?x$Kx$T, #graph.dims<[T, $K]>>, %scales: tensor<$Nxf32>, %bias: tensor<$Nxf32>) -> tensor<?x$Nx$T, #graph.dims<[T, $N]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["row", "dot"]} {
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 5, bytes = 0, dtype = "random", shape = [$N, $K]>
  %f = graph.convert %x : tensor<?x$Kx$T, #graph.dims<[T, $K]>> -> !xf
  %abs = graph.abs %f : !xf
  %max = graph.reduce max %abs dims [1] : !xf -> !row
  %most = graph.constant dense<127.0> : tensor<f32>
  %mosts = graph.broadcast %most dims [] : tensor<f32> -> !row
  %scale = graph.div %max, %mosts : !row
  %scaleRows = graph.broadcast %scale dims [0] : !row -> !xf
  %scaled = graph.div %f, %scaleRows : !xf
  %rounded = graph.round %scaled : !xf
  %low = graph.constant dense<-128.0> : tensor<f32>
  %lows = graph.broadcast %low dims [] : tensor<f32> -> !xf
  %high = graph.broadcast %most dims [] : tensor<f32> -> !xf
  %above = graph.max %rounded, %lows : !xf
  %clamped = graph.min %above, %high : !xf
  %q = graph.convert %clamped : !xf -> !x
  %dot = graph.dot %q, %w batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  %sums = graph.convert %dot : !y -> !yf
  %rowScales = graph.broadcast %scale dims [0] : !row -> !yf
  %columnScales = graph.broadcast %scales dims [1] : tensor<$Nxf32> -> !yf
  %biases = graph.broadcast %bias dims [1] : tensor<$Nxf32> -> !yf
  %0 = graph.mul %sums, %rowScales : !yf
  %1 = graph.mul %0, %columnScales : !yf
  %2 = graph.add %1, %biases : !yf
  %3 = graph.silu %2 : !yf
  %4 = graph.convert %3 : !yf -> tensor<?x$Nx$T, #graph.dims<[T, $N]>>
  return %4 : tensor<?x$Nx$T, #graph.dims<[T, $N]>>
}

// Products that share their left side.
func.func @siblings(%x: !x {test.below = 256 : i64}) -> !yf
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %v = graph.weight "v" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 6, bytes = 0, dtype = "random", shape = [$N, $K]>
  %w = graph.weight "w" : tensor<$Nx$Kxi8> from #graph.weight_source<file = -1, offset = 7, bytes = 0, dtype = "random", shape = [$N, $K]>
  %y = graph.dot %x, %v batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  %z = graph.dot %x, %w batch [] x [] contract [1] x [1] : !x, tensor<$Nx$Kxi8> -> !y
  %a = graph.convert %y : !y -> !yf
  %b = graph.convert %z : !y -> !yf
  %c = graph.mul %a, %b : !yf
  return %c : !yf
}
