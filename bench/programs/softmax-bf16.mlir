// Softmax of rows.
!x = tensor<?x4096xbf16, #graph.dims<[N, 4096]>>

func.func @softmax(%x: !x {graph.name = "x"}) -> (!x {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 4096>]} {
  %y = graph.softmax %x dim 1 : !x
  return %y : !x
}
