// Products with experts, compiled by ExpertDotTest.cpp for each target and float type $T: $E experts, of
// which a token chooses $K, with matrices of $N x $D; indices of experts are below $B.
// $L is the kernel that adds the experts of a token when there are several. See kernels.mlir.

// A whole block of experts behind its router's logits. The weights are constants.
func.func @block(%x: tensor<?x$Dx$T, #graph.dims<[T, $D]>>, %logits: tensor<?x$Exf32, #graph.dims<[T, $E]>>) -> tensor<?x$Dx$T, #graph.dims<[T, $D]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>], test.kernels = ["row", "dot", "dot"$L]} {
  %gate = graph.weight "gate" : tensor<$Ex$Nx$Dx$T> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [$E, $N, $D]>
  %up = graph.weight "up" : tensor<$Ex$Nx$Dx$T> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [$E, $N, $D]>
  %down = graph.weight "down" : tensor<$Ex$Dx$Nx$T> from #graph.weight_source<file = -1, offset = 3, bytes = 0, dtype = "random", shape = [$E, $D, $N]>
  %p = graph.softmax %logits dim 1 : tensor<?x$Exf32, #graph.dims<[T, $E]>>
  %v, %i = graph.top_k %p k $K : tensor<?x$Exf32, #graph.dims<[T, $E]>> -> tensor<?x$Kxf32, #graph.dims<[T, $K]>>, tensor<?x$Kxi32, #graph.dims<[T, $K]>>
  %s = graph.reduce sum %v dims [1] : tensor<?x$Kxf32, #graph.dims<[T, $K]>> -> tensor<?xf32, #graph.dims<[T]>>
  %sw = graph.broadcast %s dims [0] : tensor<?xf32, #graph.dims<[T]>> -> tensor<?x$Kxf32, #graph.dims<[T, $K]>>
  %n = graph.div %v, %sw : tensor<?x$Kxf32, #graph.dims<[T, $K]>>
  %g = graph.expert_dot %x, %gate, %i : tensor<?x$Dx$T, #graph.dims<[T, $D]>>, tensor<$Ex$Nx$Dx$T>, tensor<?x$Kxi32, #graph.dims<[T, $K]>> -> tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %u = graph.expert_dot %x, %up, %i : tensor<?x$Dx$T, #graph.dims<[T, $D]>>, tensor<$Ex$Nx$Dx$T>, tensor<?x$Kxi32, #graph.dims<[T, $K]>> -> tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %a = graph.silu %g : tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %h = graph.mul %a, %u : tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %y = graph.expert_dot %h, %down, %i : tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>, tensor<$Ex$Dx$Nx$T>, tensor<?x$Kxi32, #graph.dims<[T, $K]>> -> tensor<?x$Kx$Dxf32, #graph.dims<[T, $K, $D]>>
  %nw = graph.broadcast %n dims [0, 1] : tensor<?x$Kxf32, #graph.dims<[T, $K]>> -> tensor<?x$Kx$Dxf32, #graph.dims<[T, $K, $D]>>
  %yw = graph.mul %y, %nw : tensor<?x$Kx$Dxf32, #graph.dims<[T, $K, $D]>>
  %sum = graph.reduce sum %yw dims [1] : tensor<?x$Kx$Dxf32, #graph.dims<[T, $K, $D]>> -> tensor<?x$Dxf32, #graph.dims<[T, $D]>>
  %o = graph.convert %sum : tensor<?x$Dxf32, #graph.dims<[T, $D]>> -> tensor<?x$Dx$T, #graph.dims<[T, $D]>>
  %r = graph.add %x, %o : tensor<?x$Dx$T, #graph.dims<[T, $D]>>
  return %r : tensor<?x$Dx$T, #graph.dims<[T, $D]>>
}

// One token: the tasks go by rows.
func.func @decode(%x: tensor<1x$Dx$T>, %logits: tensor<1x$Exf32>) -> tensor<1x$Dx$T>
    attributes {test.kernels = ["row", "dot", "dot"$L]} {
  %gate = graph.weight "gate" : tensor<$Ex$Nx$Dx$T> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [$E, $N, $D]>
  %up = graph.weight "up" : tensor<$Ex$Nx$Dx$T> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [$E, $N, $D]>
  %down = graph.weight "down" : tensor<$Ex$Dx$Nx$T> from #graph.weight_source<file = -1, offset = 3, bytes = 0, dtype = "random", shape = [$E, $D, $N]>
  %p = graph.softmax %logits dim 1 : tensor<1x$Exf32>
  %v, %i = graph.top_k %p k $K : tensor<1x$Exf32> -> tensor<1x$Kxf32>, tensor<1x$Kxi32>
  %s = graph.reduce sum %v dims [1] : tensor<1x$Kxf32> -> tensor<1xf32>
  %sw = graph.broadcast %s dims [0] : tensor<1xf32> -> tensor<1x$Kxf32>
  %n = graph.div %v, %sw : tensor<1x$Kxf32>
  %g = graph.expert_dot %x, %gate, %i : tensor<1x$Dx$T>, tensor<$Ex$Nx$Dx$T>, tensor<1x$Kxi32> -> tensor<1x$Kx$Nx$T>
  %u = graph.expert_dot %x, %up, %i : tensor<1x$Dx$T>, tensor<$Ex$Nx$Dx$T>, tensor<1x$Kxi32> -> tensor<1x$Kx$Nx$T>
  %a = graph.silu %g : tensor<1x$Kx$Nx$T>
  %h = graph.mul %a, %u : tensor<1x$Kx$Nx$T>
  %y = graph.expert_dot %h, %down, %i : tensor<1x$Kx$Nx$T>, tensor<$Ex$Dx$Nx$T>, tensor<1x$Kxi32> -> tensor<1x$Kx$Dxf32>
  %nw = graph.broadcast %n dims [0, 1] : tensor<1x$Kxf32> -> tensor<1x$Kx$Dxf32>
  %yw = graph.mul %y, %nw : tensor<1x$Kx$Dxf32>
  %sum = graph.reduce sum %yw dims [1] : tensor<1x$Kx$Dxf32> -> tensor<1x$Dxf32>
  %o = graph.convert %sum : tensor<1x$Dxf32> -> tensor<1x$Dx$T>
  %r = graph.add %x, %o : tensor<1x$Dx$T>
  return %r : tensor<1x$Dx$T>
}

// Matrices from outside, and a row for each expert of a token.
func.func @products(%x: tensor<?x$Kx$Dx$T, #graph.dims<[T, $K, $D]>>, %w: tensor<$Ex$Nx$Dx$T>, %b: tensor<$Nx$T>, %i: tensor<?x$Kxi64, #graph.dims<[T, $K]>> {test.below = $B : i64}) -> tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 64>], test.kernels = ["dot"]} {
  %y = graph.expert_dot %x, %w, %i : tensor<?x$Kx$Dx$T, #graph.dims<[T, $K, $D]>>, tensor<$Ex$Nx$Dx$T>, tensor<?x$Kxi64, #graph.dims<[T, $K]>> -> tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %bw = graph.broadcast %b dims [2] : tensor<$Nx$T> -> tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  %r = graph.add %y, %bw : tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
  return %r : tensor<?x$Kx$Nx$T, #graph.dims<[T, $K, $N]>>
}

func.func @few(%x: tensor<3x$Dx$T>, %w: tensor<$Ex$Nx$Dx$T>, %b: tensor<$Nx$T>, %i: tensor<3x$Kxi32> {test.below = $B : i64}) -> tensor<3x$Kx$Nx$T>
    attributes {test.kernels = ["dot"]} {
  %y = graph.expert_dot %x, %w, %i : tensor<3x$Dx$T>, tensor<$Ex$Nx$Dx$T>, tensor<3x$Kxi32> -> tensor<3x$Kx$Nx$T>
  %bw = graph.broadcast %b dims [2] : tensor<$Nx$T> -> tensor<3x$Kx$Nx$T>
  %r = graph.add %y, %bw : tensor<3x$Kx$Nx$T>
  return %r : tensor<3x$Kx$Nx$T>
}
