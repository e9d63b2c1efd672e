// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache -verify-diagnostics
// RUN: mlsys-opt %s -split-input-file -mlsys-derive-cache 2>/dev/null | FileCheck %s
//
// Functions that stay plain.
// CHECK-NOT: func.func @step{{[^_]}}

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// An encoder never asked for a cache: a remark. Here the second attention would overwrite the keys
// of the first.
func.func @encoder(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q scale 1.0 : !q, !q
  // expected-remark @below {{no KV cache for 'encoder': 'graph.attention' does not depend on the attention before it}}
  %b = graph.attention %a, %q, %a scale 1.0 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// Causal attention and something else: a warning.
func.func @also_bidirectional(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  // expected-warning @below {{no KV cache for 'also_bidirectional': 'graph.attention' is attention that is not causal, in a model that has causal attention}}
  %b = graph.attention %a, %q, %q scale 1.0 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @mean_over_sequence(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %l = graph.reshape %a : !q -> !x
  // expected-warning @below {{'graph.reduce' reduces over the tokens}}
  %m = graph.reduce sum %l dims [1] : !x -> tensor<?x4xf32, #graph.dims<[B, 4]>>
  %ms = graph.broadcast %m dims [0, 2] : tensor<?x4xf32, #graph.dims<[B, 4]>> -> !x
  %y = graph.add %l, %ms : !x
  return %y : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!scores = tensor<?x?x?xf32, #graph.dims<[B, S, S]>>

// Attention spelled out pairs positions.
func.func @explicit_attention(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  // expected-remark @below {{'graph.dot' pairs the positions of the sequence}}
  %s = graph.dot %x, %x batch [0] x [0] contract [2] x [2] : !x, !x -> !scores
  %p = graph.softmax %s dim 2 : !scores
  %y = graph.dot %p, %x batch [0] x [0] contract [2] x [1] : !scores, !x -> !x
  return %y : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!t = tensor<?x4x?xf32, #graph.dims<[B, 4, S]>>

func.func @softmax_over_sequence(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  // expected-remark @below {{'graph.softmax' is a softmax over the tokens}}
  %s = graph.softmax %x dim 1 : !x
  return %s : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!t = tensor<?x4x?xf32, #graph.dims<[B, 4, S]>>

func.func @norm_over_sequence(%ids: !ids {graph.role = "token_ids"}, %w: tensor<?xf32, #graph.dims<[S]>> {graph.role = "positions"})
    -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %t = graph.transpose %x permutation [0, 2, 1] : !x -> !t
  // expected-remark @below {{'graph.rms_norm' normalizes over the tokens}}
  %n = graph.rms_norm %t, %w epsilon 1.0e-5 : !t, tensor<?xf32, #graph.dims<[S]>>
  %y = graph.transpose %n permutation [0, 2, 1] : !t -> !x
  return %y : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @looks_up_tokens(%ids: !ids {graph.role = "token_ids"}, %p: tensor<?xi64, #graph.dims<[S]>> {graph.role = "positions"})
    -> (!ids {graph.role = "other"}, !x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  // expected-remark @below {{'graph.gather' looks up other tokens}}
  %g = graph.gather %p, %ids : tensor<?xi64, #graph.dims<[S]>>, !ids -> !ids
  %x = graph.embedding %g, %table : !ids, tensor<4x4xf32> -> !x
  return %ids, %x : !ids, !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @embeds_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %i = graph.iota dim 0 : tensor<?x4xf32, #graph.dims<[S, 4]>>
  // expected-remark @below {{'graph.embedding' looks up other tokens}}
  %x = graph.embedding %ids, %i : !ids, tensor<?x4xf32, #graph.dims<[S, 4]>> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @joins_sequences(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  // expected-remark @below {{'graph.concat' joins sequences}}
  %c = graph.concat %x, %x dim 1 : (!x, !x) -> tensor<?x?x4xf32, #graph.dims<[B, "2*S", 4]>>
  %r = graph.reshape %c : tensor<?x?x4xf32, #graph.dims<[B, "2*S", 4]>> -> tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
  %s = graph.slice %r offsets [0, 0, 0] : tensor<?x?x8xf32, #graph.dims<[B, S, 8]>> -> !x
  return %s : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!t = tensor<?x4x?xf32, #graph.dims<[B, 4, S]>>

// The same number of elements, but others at each token.
func.func @reshape_as_transpose(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  // expected-remark @below {{'graph.reshape' moves elements across the sequence}}
  %t = graph.reshape %x : !x -> !t
  %y = graph.transpose %t permutation [0, 2, 1] : !t -> !x
  return %y : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @joins_sequence_and_width(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  // expected-remark @below {{'graph.iota' joins the sequence with other elements in the extent 4*S}}
  %i = graph.iota dim 1 : tensor<?x4xf32, #graph.dims<["4*S", 4]>>
  %x = graph.embedding %ids, %i : !ids, tensor<?x4xf32, #graph.dims<["4*S", 4]>> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @per_request(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %c = graph.constant dense<1.0> : tensor<4xf32>
  // expected-remark @below {{'graph.broadcast' has values per request instead of per token}}
  %b = graph.broadcast %c dims [1] : tensor<4xf32> -> tensor<?x4xf32, #graph.dims<[B, 4]>>
  %x = graph.broadcast %b dims [0, 2] : tensor<?x4xf32, #graph.dims<[B, 4]>> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @numbers_requests(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  // expected-remark @below {{'graph.iota' numbers the requests of the batch}}
  %i = graph.iota dim 0 : !x
  return %i : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!t = tensor<?x4x?xf32, #graph.dims<[B, 4, S]>>

func.func @mixes_tokens_by_matrix(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %w = graph.iota dim 0 : tensor<?x4xf32, #graph.dims<[S, 4]>>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  // expected-remark @below {{'graph.dot' sums over the tokens}}
  %y = graph.dot %x, %w batch [] x [] contract [1] x [0] : !x, tensor<?x4xf32, #graph.dims<[S, 4]>> -> tensor<?x4x4xf32, #graph.dims<[B, 4, 4]>>
  %m = graph.reduce sum %y dims [1] : tensor<?x4x4xf32, #graph.dims<[B, 4, 4]>> -> tensor<?x4xf32, #graph.dims<[B, 4]>>
  %z = graph.broadcast %m dims [0, 2] : tensor<?x4xf32, #graph.dims<[B, 4]>> -> !x
  return %z : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!t = tensor<?x4x?xf32, #graph.dims<[B, 4, S]>>

func.func @linear_over_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %w = graph.iota dim 0 : tensor<4x?xf32, #graph.dims<[4, S]>>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %t = graph.transpose %x permutation [0, 2, 1] : !x -> !t
  // expected-remark @below {{'graph.linear' sums over the tokens}}
  %y = graph.linear %t, %w : (!t, tensor<4x?xf32, #graph.dims<[4, S]>>) -> tensor<?x4x4xf32, #graph.dims<[B, 4, 4]>>
  %m = graph.reduce sum %y dims [1] : tensor<?x4x4xf32, #graph.dims<[B, 4, 4]>> -> tensor<?x4xf32, #graph.dims<[B, 4]>>
  %z = graph.broadcast %m dims [0, 2] : tensor<?x4xf32, #graph.dims<[B, 4]>> -> !x
  return %z : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>
!c = tensor<1x8x1x4xf32>

func.func @other_attention(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %c = graph.constant dense<1.0> : !c
  // expected-warning @below {{'graph.attention' is attention over other extents than the token ids'}}
  %a = graph.attention %c, %c, %c causal scale 1.0 : !c, !c
  %r = graph.reduce sum %a dims [0, 1, 2] : !c -> tensor<4xf32>
  %x = graph.broadcast %r dims [2] : tensor<4xf32> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @other_dialect(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  // expected-remark @below {{'arith.constant' is none that a plain model has}}
  %c = arith.constant dense<1.0> : tensor<4xf32>
  %x = graph.broadcast %c dims [2] : tensor<4xf32> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @not_a_tensor(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %c = graph.constant dense<1.0> : tensor<f32>
  // expected-remark @below {{'arith.constant' has a value that is not a tensor}}
  %f = arith.constant 1.0 : f32
  %0 = tensor.insert %f into %c[] : tensor<f32>
  %x = graph.broadcast %0 dims [] : tensor<f32> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @no_name(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %c = graph.constant dense<1.0> : tensor<4xf32>
  // expected-remark @below {{'graph.broadcast' has an extent without a name}}
  %b = graph.broadcast %c dims [2] : tensor<4xf32> -> tensor<?x?x4xf32>
  %r = graph.reduce sum %b dims [0, 1] : tensor<?x?x4xf32> -> tensor<4xf32>
  %x = graph.broadcast %r dims [2] : tensor<4xf32> -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// expected-remark @below {{no KV cache for 'no_attention': it has no attention}}
func.func @no_attention(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>
!q2 = tensor<?x?x2x2xf32, #graph.dims<[B, S, 2, 2]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @layers_differ(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %q2 = graph.reshape %a : !q -> !q2
  // expected-warning @below {{'graph.attention' has keys of another shape or type than the first attention}}
  %b = graph.attention %q2, %q2, %q2 causal scale 1.0 : !q2, !q2
  %l = graph.reshape %b : !q2 -> !x
  return %l : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x?xf32, #graph.dims<[B, S, 1, D]>>

func.func @dynamic_head(%ids: !ids {graph.role = "token_ids"}) -> (tensor<?x?x?xf32, #graph.dims<[B, S, D]>> {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %q = graph.iota dim 1 : !q
  // expected-warning @below {{'graph.attention' has a head size that is not a number}}
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %l = graph.reshape %a : !q -> tensor<?x?x?xf32, #graph.dims<[B, S, D]>>
  return %l : tensor<?x?x?xf32, #graph.dims<[B, S, D]>>
}

// -----

!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// expected-remark @below {{no KV cache for 'no_ids': no argument has the role token_ids}}
func.func @no_ids(%x: !x) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  return %x : !x
}

// -----

!x = tensor<1x?x4xf32, #graph.dims<[1, S, 4]>>

// expected-remark @below {{the token ids are not [B, S] with two symbols}}
func.func @fixed_batch(%ids: tensor<1x?xi64, #graph.dims<[1, S]>> {graph.role = "token_ids"}, %x: !x) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

// expected-remark @below {{argument 1 is neither token ids nor their positions or types}}
func.func @other_argument(%ids: !ids {graph.role = "token_ids"}, %x: !x) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>

// expected-remark @below {{no result has the role logits}}
func.func @no_logits(%ids: !ids {graph.role = "token_ids"}) -> !ids attributes {graph.phase = "plain"} {
  return %ids : !ids
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>

// expected-remark @below {{the logits are not one row a token}}
func.func @pooled(%ids: !ids {graph.role = "token_ids"}) -> (tensor<4xf32> {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %c = graph.constant dense<1.0> : tensor<4xf32>
  return %c : tensor<4xf32>
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x?xf32, #graph.dims<[B, S, T]>>

// expected-remark @below {{the symbol T is needed for the step}}
func.func @takes_symbol(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"})
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  %x = graph.iota dim 1 : !x
  return %x : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @experts_sum_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %l = graph.iota dim 0 : tensor<4x?xf32, #graph.dims<[4, S]>>
  %w = graph.iota dim 0 : tensor<2x4x?xf32, #graph.dims<[2, 4, S]>>
  %e = graph.constant dense<0> : tensor<4x1xi32>
  // expected-remark @below {{'graph.expert_dot' sums over the tokens}}
  %y = graph.expert_dot %l, %w, %e : tensor<4x?xf32, #graph.dims<[4, S]>>, tensor<2x4x?xf32, #graph.dims<[2, 4, S]>>, tensor<4x1xi32> -> tensor<4x1x4xf32>
  %m = graph.reduce sum %y dims [1, 2] : tensor<4x1x4xf32> -> tensor<4xf32>
  %z = graph.broadcast %m dims [2] : tensor<4xf32> -> !x
  return %z : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

!e = tensor<?x?x1xi64, #graph.dims<[B, S, 1]>>
!y = tensor<?x?x1x4xf32, #graph.dims<[B, S, 1, 4]>>

func.func @experts_look_up_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %table = graph.constant dense<1.0> : tensor<4x4xf32>
  %x = graph.gather %table, %ids : tensor<4x4xf32>, !ids -> !x
  %w = graph.iota dim 1 : tensor<?x4x4xf32, #graph.dims<[S, 4, 4]>>
  %e = graph.reshape %ids : !ids -> !e
  // expected-remark @below {{'graph.expert_dot' looks up other tokens}}
  %y = graph.expert_dot %x, %w, %e : !x, tensor<?x4x4xf32, #graph.dims<[S, 4, 4]>>, !e -> !y
  %z = graph.reshape %y : !y -> !x
  return %z : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

!y = tensor<4x?x4xf32, #graph.dims<[4, S, 4]>>

func.func @experts_along_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %l = graph.constant dense<1.0> : tensor<4x4xf32>
  %w = graph.constant dense<1.0> : tensor<2x4x4xf32>
  %e = graph.iota dim 0 : tensor<4x?xi32, #graph.dims<[4, S]>>
  // expected-remark @below {{'graph.expert_dot' chooses experts along the tokens}}
  %y = graph.expert_dot %l, %w, %e : tensor<4x4xf32>, tensor<2x4x4xf32>, tensor<4x?xi32, #graph.dims<[4, S]>> -> !y
  %m = graph.reduce sum %y dims [0] : !y -> tensor<?x4xf32, #graph.dims<[S, 4]>>
  %z = graph.broadcast %m dims [1, 2] : tensor<?x4xf32, #graph.dims<[S, 4]>> -> !x
  return %z : !x
}

// -----

!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x4xf32, #graph.dims<[B, S, 4]>>

func.func @largest_tokens(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain"} {
  %l = graph.iota dim 0 : tensor<4x?xf32, #graph.dims<[4, S]>>
  // expected-remark @below {{'graph.top_k' takes the largest of the tokens}}
  %v, %i = graph.top_k %l k 1 : tensor<4x?xf32, #graph.dims<[4, S]>> -> tensor<4x1xf32>, tensor<4x1xi32>
  %m = graph.reshape %v : tensor<4x1xf32> -> tensor<4xf32>
  %z = graph.broadcast %m dims [2] : tensor<4xf32> -> !x
  return %z : !x
}
