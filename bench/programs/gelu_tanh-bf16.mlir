// GELU by tanh, of N x 4096 elements.
!x = tensor<?x4096xbf16, #graph.dims<[N, 4096]>>

func.func @gelu_tanh(%x: !x {graph.name = "x"}) -> (!x {graph.name = "y"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 4096>]} {
  %y = graph.gelu %x tanh : !x
  return %y : !x
}
