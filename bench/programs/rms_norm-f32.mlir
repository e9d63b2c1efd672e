// The sum of a residual and an input, and its norm: two inputs, two outputs.
!x = tensor<?x4096xf32, #graph.dims<[N, 4096]>>

func.func @rms_norm(%x: !x {graph.name = "x"}, %residual: !x {graph.name = "residual"}, %scale: tensor<4096xf32> {graph.name = "scale"}) -> (!x {graph.name = "sum"}, !x {graph.name = "norm"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"N", min = 1, max = -1, hint = 4096>]} {
  %sum = graph.add %x, %residual : !x
  %norm = graph.rms_norm %sum, %scale epsilon 1.0e-5 : !x, tensor<4096xf32>
  return %sum, %norm : !x, !x
}
