// Softmax of rows that no block holds.
!x = tensor<?x131072xbf16, #graph.dims<[N, 131072]>>
!y = tensor<?x131072xbf16, #graph.dims<[N, 131072]>>

func.func @long_softmax(%x: !x {graph.name = "x"}) -> (!y {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 512>]} {
  %y = graph.softmax %x dim 1 : !x
  return %y : !y
}
