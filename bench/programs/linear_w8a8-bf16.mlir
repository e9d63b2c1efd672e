// A linear layer of 8192 x 2048: rows of bf16 are quantised on the way, weights are i8 with a scale for each column;
// M is the number of rows.
!x = tensor<?x2048xbf16, #graph.dims<[M, 2048]>>
!f = tensor<?x2048xf32, #graph.dims<[M, 2048]>>
!q = tensor<?x2048xi8, #graph.dims<[M, 2048]>>
!row = tensor<?xf32, #graph.dims<[M]>>
!s = tensor<?x8192xi32, #graph.dims<[M, 8192]>>
!g = tensor<?x8192xf32, #graph.dims<[M, 8192]>>
!y = tensor<?x8192xbf16, #graph.dims<[M, 8192]>>
!w = tensor<8192x2048xi8>

func.func @linear_w8a8(%x: !x {graph.name = "x"}, %scales: tensor<8192xf32> {graph.name = "scales"}) -> (!y {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"M", min = 1, max = -1, hint = 512>]} {
  %w = graph.weight "w" : !w from #graph.weight_source<file = -1, offset = 0, bytes = 0, dtype = "random", shape = [8192, 2048]>
  %f = graph.convert %x : !x -> !f
  %abs = graph.abs %f : !f
  %max = graph.reduce max %abs dims [1] : !f -> !row
  %most = graph.constant dense<127.0> : tensor<f32>
  %mosts = graph.broadcast %most dims [] : tensor<f32> -> !row
  %scale = graph.div %max, %mosts : !row
  %scaleRows = graph.broadcast %scale dims [0] : !row -> !f
  %scaled = graph.div %f, %scaleRows : !f
  %rounded = graph.round %scaled : !f
  %q = graph.convert %rounded : !f -> !q
  %dot = graph.dot %q, %w batch [] x [] contract [1] x [1] : !q, !w -> !s
  %sums = graph.convert %dot : !s -> !g
  %rowScales = graph.broadcast %scale dims [0] : !row -> !g
  %columnScales = graph.broadcast %scales dims [1] : tensor<8192xf32> -> !g
  %0 = graph.mul %sums, %rowScales : !g
  %1 = graph.mul %0, %columnScales : !g
  %y = graph.convert %1 : !g -> !y
  return %y : !y
}
