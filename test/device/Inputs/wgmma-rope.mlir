// The head of a decoder layer for WgmmaTest.cpp: 2 query heads and a key head of $D elements, $QD
// and $S are twice and half of that. The rows have $K elements; $W thousandths is the size of weights.

!layer = !graph.kv_layer<layers = 1, heads = 1, dim = $D, page = 16, $T>
!cache = !graph.kv_cache<layers = 1, heads = 1, dim = $D, page = 16, $T>
!pq = tensor<?x2x$Dx$T, #graph.dims<[T, 2, $D]>>
!pkv = tensor<?x1x$Dx$T, #graph.dims<[T, 1, $D]>>
func.func @prefill(%x: tensor<?x$Kx$T, #graph.dims<[T, $K]>>, %wq: tensor<$QDx$Kx$T> {test.deviation = $W.0e-3 : f32},
                   %wk: tensor<$Dx$Kx$T> {test.deviation = $W.0e-3 : f32}, %wv: tensor<$Dx$Kx$T>,
                   %positions: tensor<?xi32, #graph.dims<[T]>> {graph.role = "positions"}, %f: tensor<$Sxf32>,
                   %slots: tensor<?xi64, #graph.dims<[T]>> {graph.role = "slots"}, %cache: !cache,
                   %start: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.role = "query_start"},
                   %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"},
                   %table: tensor<?x?xi32, #graph.dims<[R, P]>> {graph.role = "block_table"}) -> !pq
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 512>, #graph.symbol<"R", min = 1, max = 64, hint = 2>, #graph.symbol<"P", min = 1, max = 64, hint = 4>]} {
  %q0 = graph.linear %x, %wq : (tensor<?x$Kx$T, #graph.dims<[T, $K]>>, tensor<$QDx$Kx$T>) -> tensor<?x$QDx$T, #graph.dims<[T, $QD]>>
  %k0 = graph.linear %x, %wk : (tensor<?x$Kx$T, #graph.dims<[T, $K]>>, tensor<$Dx$Kx$T>) -> tensor<?x$Dx$T, #graph.dims<[T, $D]>>
  %v0 = graph.linear %x, %wv : (tensor<?x$Kx$T, #graph.dims<[T, $K]>>, tensor<$Dx$Kx$T>) -> tensor<?x$Dx$T, #graph.dims<[T, $D]>>
  %q1 = graph.reshape %q0 : tensor<?x$QDx$T, #graph.dims<[T, $QD]>> -> !pq
  %k1 = graph.reshape %k0 : tensor<?x$Dx$T, #graph.dims<[T, $D]>> -> !pkv
  %v1 = graph.reshape %v0 : tensor<?x$Dx$T, #graph.dims<[T, $D]>> -> !pkv
  %q = graph.rope %q1, %positions, %f : !pq, tensor<?xi32, #graph.dims<[T]>>, tensor<$Sxf32>
  %k = graph.rope %k1, %positions, %f : !pkv, tensor<?xi32, #graph.dims<[T]>>, tensor<$Sxf32>
  %l0 = graph.cache_layer %cache layer 0 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v1, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table scale 0.1
     : !pq, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !pq
}
