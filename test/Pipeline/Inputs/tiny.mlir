// A decoder of one layer, as an importer makes it: tokens in, logits out, no cache.
!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
!q = tensor<?x?x2x4xf32, #graph.dims<[B, S, 2, 4]>>
!k = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!kv = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!wide = tensor<?x?x16xf32, #graph.dims<[B, S, 16]>>

func.func @forward(%ids: !ids {graph.name = "input_ids", graph.role = "token_ids"}) -> (!wide {graph.name = "logits", graph.role = "logits"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"B", min = 1, max = -1, hint = 1>, #graph.symbol<"S", min = 1, max = 256, hint = 128>]} {
  %table = graph.weight "embed" : tensor<16x8xf32> from #graph.weight_source<file = -1, offset = 0, bytes = 0, dtype = "random", shape = [16, 8]>
  %wn = graph.weight "norm" : tensor<8xf32> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [8]>
  %wq = graph.weight "q" : tensor<8x8xf32> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [8, 8]>
  %wk = graph.weight "k" : tensor<4x8xf32> from #graph.weight_source<file = -1, offset = 3, bytes = 0, dtype = "random", shape = [4, 8]>
  %wv = graph.weight "v" : tensor<4x8xf32> from #graph.weight_source<file = -1, offset = 4, bytes = 0, dtype = "random", shape = [4, 8]>
  %wo = graph.weight "o" : tensor<8x8xf32> from #graph.weight_source<file = -1, offset = 5, bytes = 0, dtype = "random", shape = [8, 8]>
  %wg = graph.weight "gate" : tensor<16x8xf32> from #graph.weight_source<file = -1, offset = 6, bytes = 0, dtype = "random", shape = [16, 8]>
  %wu = graph.weight "up" : tensor<16x8xf32> from #graph.weight_source<file = -1, offset = 7, bytes = 0, dtype = "random", shape = [16, 8]>
  %wd = graph.weight "down" : tensor<8x16xf32> from #graph.weight_source<file = -1, offset = 8, bytes = 0, dtype = "random", shape = [8, 16]>
  %frequencies = graph.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %positions = graph.iota dim 0 : tensor<?xi32, #graph.dims<[S]>>

  %x = graph.embedding %ids, %table : !ids, tensor<16x8xf32> -> !x
  %n = graph.rms_norm %x, %wn epsilon 1.0e-5 : !x, tensor<8xf32>
  %q0 = graph.linear %n, %wq : (!x, tensor<8x8xf32>) -> !x
  %k0 = graph.linear %n, %wk : (!x, tensor<4x8xf32>) -> !kv
  %v0 = graph.linear %n, %wv : (!x, tensor<4x8xf32>) -> !kv
  %q1 = graph.reshape %q0 : !x -> !q
  %k1 = graph.reshape %k0 : !kv -> !k
  %v = graph.reshape %v0 : !kv -> !k
  %q = graph.rope %q1, %positions, %frequencies : !q, tensor<?xi32, #graph.dims<[S]>>, tensor<2xf32>
  %k = graph.rope %k1, %positions, %frequencies : !k, tensor<?xi32, #graph.dims<[S]>>, tensor<2xf32>
  %a0 = graph.attention %q, %k, %v causal scale 5.0e-1 : !q, !k
  %a = graph.reshape %a0 : !q -> !x
  %o = graph.linear %a, %wo : (!x, tensor<8x8xf32>) -> !x
  %y = graph.add %x, %o : !x

  %m = graph.rms_norm %y, %wn epsilon 1.0e-5 : !x, tensor<8xf32>
  %g = graph.linear %m, %wg : (!x, tensor<16x8xf32>) -> !wide
  %u = graph.linear %m, %wu : (!x, tensor<16x8xf32>) -> !wide
  %s = graph.silu %g : !wide
  %h = graph.mul %s, %u : !wide
  %d = graph.linear %h, %wd : (!wide, tensor<8x16xf32>) -> !x
  %z = graph.add %y, %d : !x

  %f = graph.rms_norm %z, %wn epsilon 1.0e-5 : !x, tensor<8xf32>
  %logits = graph.linear %f, %table : (!x, tensor<16x8xf32>) -> !wide
  return %logits : !wide
}
