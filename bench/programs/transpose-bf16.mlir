// Transpose of a matrix.
!x = tensor<?x4096xbf16, #graph.dims<[N, 4096]>>
!y = tensor<4096x?xbf16, #graph.dims<[4096, N]>>

func.func @transpose(%x: !x {graph.name = "x"}) -> (!y {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 4096>]} {
  %y = graph.transpose %x permutation [1, 0] : !x -> !y
  return %y : !y
}
