// Sum over the rows of a matrix.
!x = tensor<?x4096xbf16, #graph.dims<[N, 4096]>>
!y = tensor<4096xbf16>

func.func @column_sum(%x: !x {graph.name = "x"}) -> (!y {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 4096>]} {
  %y = graph.reduce sum %x dims [0] : !x -> !y
  return %y : !y
}
