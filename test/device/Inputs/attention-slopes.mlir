// ALiBi, with the parameters of attention.mlir; $C is the type of the cache, $B is a slope for each query head.

!cache = !graph.kv_cache<layers = 2, heads = $K, dim = $D, page = $P, $C>
!layer = !graph.kv_layer<layers = 2, heads = $K, dim = $D, page = $P, $C>
!pq = tensor<?x$Hx$Dx$T, #graph.dims<[T, $H, $D]>>
!pkv = tensor<?x$Kx$Dx$T, #graph.dims<[T, $K, $D]>>
!dq = tensor<3x$Hx$Dx$T>
!dkv = tensor<3x$Kx$Dx$T>
!aq = tensor<2x?x$Hx$Dx$T, #graph.dims<[2, T, $H, $D]>>
!ak = tensor<2x?x$Kx$Dx$T, #graph.dims<[2, T, $K, $D]>>

func.func @prefill(%q: !pq, %k: !pkv, %v: !pkv, %positions: tensor<?xi32, #graph.dims<[T]>> {graph.role = "positions"},
                   %f: tensor<$Sxf32>, %slots: tensor<?xi64, #graph.dims<[T]>> {graph.role = "slots"}, %cache: !cache,
                   %start: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.role = "query_start"},
                   %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"},
                   %table: tensor<?x?xi32, #graph.dims<[R, P]>> {graph.role = "block_table"}) -> !pq
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>, #graph.symbol<"R", min = 1, max = 64, hint = 2>, #graph.symbol<"P", min = 1, max = 1024, hint = 4>]} {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %r = graph.rope %k, %positions, %f : !pkv, tensor<?xi32, #graph.dims<[T]>>, tensor<$Sxf32>
  %l1 = graph.cache_write key %l0, %r, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table slopes [$B] scale 0.3
     : !pq, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !pq
}

func.func @prefill_window(%q: !pq, %k: !pkv, %v: !pkv, %positions: tensor<?xi32, #graph.dims<[T]>> {graph.role = "positions"},
                   %f: tensor<$Sxf32>, %slots: tensor<?xi64, #graph.dims<[T]>> {graph.role = "slots"}, %cache: !cache,
                   %start: tensor<?xi32, #graph.dims<["R + 1"]>> {graph.role = "query_start"},
                   %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"},
                   %table: tensor<?x?xi32, #graph.dims<[R, P]>> {graph.role = "block_table"}) -> !pq
    attributes {test.window = 21 : i64, graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>, #graph.symbol<"R", min = 1, max = 64, hint = 2>, #graph.symbol<"P", min = 1, max = 1024, hint = 4>]} {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %r = graph.rope %k, %positions, %f : !pkv, tensor<?xi32, #graph.dims<[T]>>, tensor<$Sxf32>
  %l1 = graph.cache_write key %l0, %r, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !pkv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table window 21 softcap 1.5 slopes [$B] scale 0.3
     : !pq, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>, tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !pq
}

func.func @decode(%q: !dq, %k: !dkv, %v: !dkv, %positions: tensor<3xi32> {graph.role = "positions"},
                  %slots: tensor<3xi64> {graph.role = "slots"}, %cache: !cache,
                  %start: tensor<4xi32> {graph.role = "query_start"},
                  %context: tensor<3xi32> {graph.role = "context_length"},
                  %table: tensor<3x?xi32, #graph.dims<[3, P]>> {graph.role = "block_table"}) -> !dq
    attributes {graph.symbols = [#graph.symbol<"P", min = 1, max = 1024, hint = 4>]} {
  %l0 = graph.cache_layer %cache layer 0 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !dkv, tensor<3xi64>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !dkv, tensor<3xi64>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table slopes [$B] scale 0.3
     : !dq, !layer, tensor<4xi32>, tensor<3xi32>, tensor<3x?xi32, #graph.dims<[3, P]>>
  return %0 : !dq
}

func.func @decode_window(%q: !dq, %k: !dkv, %v: !dkv, %positions: tensor<3xi32> {graph.role = "positions"},
                  %slots: tensor<3xi64> {graph.role = "slots"}, %cache: !cache,
                  %start: tensor<4xi32> {graph.role = "query_start"},
                  %context: tensor<3xi32> {graph.role = "context_length"},
                  %table: tensor<3x?xi32, #graph.dims<[3, P]>> {graph.role = "block_table"}) -> !dq
    attributes {test.window = 19 : i64, graph.symbols = [#graph.symbol<"P", min = 1, max = 1024, hint = 4>]} {
  %l0 = graph.cache_layer %cache layer 0 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !dkv, tensor<3xi64>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !dkv, tensor<3xi64>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table window 19 softcap 1.5 slopes [$B] scale 0.3
     : !dq, !layer, tensor<4xi32>, tensor<3xi32>, tensor<3x?xi32, #graph.dims<[3, P]>>
  return %0 : !dq
}

func.func @plain(%q: !aq, %k: !ak, %v: !ak) -> !aq
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>], test.kernels = ["attention"]} {
  %0 = graph.attention %q, %k, %v causal slopes [$B] scale 0.3 : !aq, !ak
  return %0 : !aq
}
