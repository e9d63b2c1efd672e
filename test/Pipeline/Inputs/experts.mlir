// A block of a mixture of experts: a router, the two largest of three experts, a gate.
!x = tensor<?x4xf32, #graph.dims<[T, 4]>>
!p = tensor<?x3xf32, #graph.dims<[T, 3]>>
!v = tensor<?x2xf32, #graph.dims<[T, 2]>>
!r = tensor<?xf32, #graph.dims<[T]>>
!i = tensor<?x2xi32, #graph.dims<[T, 2]>>
!h = tensor<?x2x5xf32, #graph.dims<[T, 2, 5]>>
!y = tensor<?x2x4xf32, #graph.dims<[T, 2, 4]>>
func.func @forward(%x: !x, %router: tensor<3x4xf32>, %gate: tensor<3x5x4xf32>, %up: tensor<3x5x4xf32>, %down: tensor<3x4x5xf32>) -> (!x, !i)
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 4>]} {
  %0 = graph.linear %x, %router : (!x, tensor<3x4xf32>) -> !p
  %1 = graph.softmax %0 dim 1 : !p
  %v, %i = graph.top_k %1 k 2 : !p -> !v, !i
  %2 = graph.reduce sum %v dims [1] : !v -> !r
  %3 = graph.broadcast %2 dims [0] : !r -> !v
  %4 = graph.div %v, %3 : !v
  %5 = graph.expert_dot %x, %gate, %i : !x, tensor<3x5x4xf32>, !i -> !h
  %6 = graph.expert_dot %x, %up, %i : !x, tensor<3x5x4xf32>, !i -> !h
  %7 = graph.silu %5 : !h
  %8 = graph.mul %7, %6 : !h
  %9 = graph.expert_dot %8, %down, %i : !h, tensor<3x4x5xf32>, !i -> !y
  %10 = graph.broadcast %4 dims [0, 1] : !v -> !y
  %11 = graph.mul %9, %10 : !y
  %12 = graph.reduce sum %11 dims [1] : !y -> !x
  return %12, %i : !x, !i
}
