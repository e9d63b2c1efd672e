// Products that WgmmaTest.cpp compiles for sm_90a, as kernels.mlir describes. K is a multiple of
// 8; rows are open, or 17 to 128 and more.

func.func @open_rows(%x: tensor<?x72x$T, #graph.dims<[T, 72]>>, %w: tensor<300x72x$T>, %r: tensor<?x300x$T, #graph.dims<[T, 300]>>) -> tensor<?x300x$T, #graph.dims<[T, 300]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<?x72x$T, #graph.dims<[T, 72]>>, tensor<300x72x$T>) -> tensor<?x300x$T, #graph.dims<[T, 300]>>
  %1 = graph.add %0, %r : tensor<?x300x$T, #graph.dims<[T, 300]>>
  return %1 : tensor<?x300x$T, #graph.dims<[T, 300]>>
}

func.func @bias_odd_columns(%x: tensor<?x56x$T, #graph.dims<[T, 56]>>, %w: tensor<37x56x$T>, %b: tensor<37x$T>) -> tensor<?x37x$T, #graph.dims<[T, 37]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 4096, hint = 512>], test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w bias %b : (tensor<?x56x$T, #graph.dims<[T, 56]>>, tensor<37x56x$T>, tensor<37x$T>) -> tensor<?x37x$T, #graph.dims<[T, 37]>>
  return %0 : tensor<?x37x$T, #graph.dims<[T, 37]>>
}

func.func @gate_up(%x: tensor<?x64x$T, #graph.dims<[T, 64]>>, %g: tensor<200x64x$T>, %u: tensor<200x64x$T>) -> tensor<?x200x$T, #graph.dims<[T, 200]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 4096, hint = 512>], test.kernels = ["dot"]} {
  %1 = graph.linear %x, %g : (tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<200x64x$T>) -> tensor<?x200x$T, #graph.dims<[T, 200]>>
  %2 = graph.linear %x, %u : (tensor<?x64x$T, #graph.dims<[T, 64]>>, tensor<200x64x$T>) -> tensor<?x200x$T, #graph.dims<[T, 200]>>
  %3 = graph.silu %1 : tensor<?x200x$T, #graph.dims<[T, 200]>>
  %4 = graph.mul %3, %2 : tensor<?x200x$T, #graph.dims<[T, 200]>>
  return %4 : tensor<?x200x$T, #graph.dims<[T, 200]>>
}

// Two groups of one product each, of different widths.
func.func @two_groups(%x: tensor<?x80x$T, #graph.dims<[T, 80]>>, %v: tensor<264x80x$T>, %w: tensor<40x80x$T>) -> (tensor<?x264x$T, #graph.dims<[T, 264]>>, tensor<?x40xf32, #graph.dims<[T, 40]>>)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 4096, hint = 512>], test.kernels = ["dot"]} {
  %1 = graph.linear %x, %v : (tensor<?x80x$T, #graph.dims<[T, 80]>>, tensor<264x80x$T>) -> tensor<?x264x$T, #graph.dims<[T, 264]>>
  %2 = graph.linear %x, %w : (tensor<?x80x$T, #graph.dims<[T, 80]>>, tensor<40x80x$T>) -> tensor<?x40x$T, #graph.dims<[T, 40]>>
  %3 = graph.convert %2 : tensor<?x40x$T, #graph.dims<[T, 40]>> -> tensor<?x40xf32, #graph.dims<[T, 40]>>
  %4 = graph.neg %3 : tensor<?x40xf32, #graph.dims<[T, 40]>>
  return %1, %4 : tensor<?x264x$T, #graph.dims<[T, 264]>>, tensor<?x40xf32, #graph.dims<[T, 40]>>
}

func.func @few_rows(%x: tensor<33x88x$T>, %w: tensor<136x88x$T>, %r: tensor<33x136x$T>) -> tensor<33x136x$T>
    attributes {test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<33x88x$T>, tensor<136x88x$T>) -> tensor<33x136x$T>
  %1 = graph.add %0, %r : tensor<33x136x$T>
  return %1 : tensor<33x136x$T>
}

func.func @few_rows_gate_up(%x: tensor<128x64x$T>, %g: tensor<72x64x$T>, %u: tensor<72x64x$T>) -> tensor<128x72x$T>
    attributes {test.kernels = ["dot"]} {
  %1 = graph.linear %x, %g : (tensor<128x64x$T>, tensor<72x64x$T>) -> tensor<128x72x$T>
  %2 = graph.linear %x, %u : (tensor<128x64x$T>, tensor<72x64x$T>) -> tensor<128x72x$T>
  %3 = graph.silu %1 : tensor<128x72x$T>
  %4 = graph.mul %3, %2 : tensor<128x72x$T>
  return %4 : tensor<128x72x$T>
}

// K is long enough for blocks of a cluster to compute parts of it.
func.func @parts_gate_up(%x: tensor<40x1032x$T>, %g: tensor<72x1032x$T>, %u: tensor<72x1032x$T>) -> tensor<40x72x$T>
    attributes {test.kernels = ["dot"]} {
  %1 = graph.linear %x, %g : (tensor<40x1032x$T>, tensor<72x1032x$T>) -> tensor<40x72x$T>
  %2 = graph.linear %x, %u : (tensor<40x1032x$T>, tensor<72x1032x$T>) -> tensor<40x72x$T>
  %3 = graph.silu %1 : tensor<40x72x$T>
  %4 = graph.mul %3, %2 : tensor<40x72x$T>
  return %4 : tensor<40x72x$T>
}

func.func @parts_open_rows(%x: tensor<?x520x$T, #graph.dims<[T, 520]>>, %w: tensor<200x520x$T>, %r: tensor<?x200x$T, #graph.dims<[T, 200]>>) -> tensor<?x200x$T, #graph.dims<[T, 200]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["dot"]} {
  %0 = graph.linear %x, %w : (tensor<?x520x$T, #graph.dims<[T, 520]>>, tensor<200x520x$T>) -> tensor<?x200x$T, #graph.dims<[T, 200]>>
  %1 = graph.add %0, %r : tensor<?x200x$T, #graph.dims<[T, 200]>>
  return %1 : tensor<?x200x$T, #graph.dims<[T, 200]>>
}
