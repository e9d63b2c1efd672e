// A product of i8 with a weight of 2048 x 2048; M is the number of rows.
!a = tensor<?x2048xi8, #graph.dims<[M, 2048]>>
!c = tensor<?x2048xi32, #graph.dims<[M, 2048]>>
!w = tensor<2048x2048xi8>

func.func @gemm_2048(%a: !a {graph.name = "a"}) -> (!c {graph.name = "c"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"M", min = 1, max = -1, hint = 2048>]} {
  %w = graph.weight "w" : !w from #graph.weight_source<file = -1, offset = 0, bytes = 0, dtype = "random", shape = [2048, 2048]>
  %c = graph.dot %a, %w batch [] x [] contract [1] x [1] : !a, !w -> !c
  return %c : !c
}
