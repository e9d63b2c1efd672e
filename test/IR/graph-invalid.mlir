// RUN: mlsys-opt %s -split-input-file -verify-diagnostics
//
// Every rule of the graph dialect's verifiers.

func.func @weight_dynamic() {
  // expected-error @below {{result has a dynamic extent}}
  %0 = graph.weight "w" : tensor<?xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [4]>
  return
}

// -----

func.func @weight_shape() {
  // expected-error @below {{takes 4 elements from its file for a result of 6}}
  %0 = graph.weight "w" : tensor<6xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [2, 2]>
  return
}

// -----

func.func @weight_unpermute() {
  // expected-error @below {{unpermute_rows 3 does not divide the rows}}
  %0 = graph.weight "w" : tensor<6x2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 48, dtype = "f32", shape = [6, 2] unpermute_rows = 3>
  return
}

// -----

func.func @weight_rows() {
  // expected-error @below {{takes rows that its tensor of shape [6, 2] does not have}}
  %0 = graph.weight "w" : tensor<2x2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 48, dtype = "f32", shape = [6, 2] rows = [5, 2, 2, 1]>
  return
}

// -----

func.func @weight_extents() {
  // expected-error @below {{takes too many elements}}
  %0 = graph.weight "w" : tensor<2x2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 48, dtype = "f32", shape = [4611686018427387904, 4]>
  return
}

// -----

func.func @layer_norm_scale(%x: tensor<4x8xf32>, %w: tensor<4xf32>) {
  // expected-error @below {{scale has extents [4] but the input has [4, 8]}}
  %0 = graph.layer_norm %x scale %w : tensor<4xf32> epsilon 1.0e-5 : tensor<4x8xf32>
  return
}

// -----

func.func @layer_norm_rank(%x: tensor<f32>) {
  // expected-error @below {{input has no dimension to normalize over}}
  %0 = graph.layer_norm %x epsilon 1.0e-5 : tensor<f32>
  return
}

// -----

func.func @rope_own_frequencies(%x: tensor<4x2x16xf32>, %p: tensor<4xi32>, %f: tensor<3x8xf32>) {
  // expected-error @below {{frequencies [3, 8] do not begin with the positions [4]}}
  %0 = graph.rope %x, %p, %f : tensor<4x2x16xf32>, tensor<4xi32>, tensor<3x8xf32>
  return
}

// -----

func.func @weight_unpermute_remainder() {
  // expected-error @below {{unpermute_rows 4 does not divide the rows}}
  %0 = graph.weight "w" : tensor<6x2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 48, dtype = "f32", shape = [6, 2] unpermute_rows = 4>
  return
}

// -----

func.func @weight_unpermute_negative() {
  // expected-error @below {{unpermute_rows -2 does not divide the rows}}
  %0 = graph.weight "w" : tensor<6x2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 48, dtype = "f32", shape = [6, 2] unpermute_rows = -2>
  return
}

// -----

func.func @different_types(%x: tensor<4xf32>, %y: tensor<4xf16>) {
  // expected-error @below {{requires the same type for all operands and results}}
  %0 = "graph.add"(%x, %y) : (tensor<4xf32>, tensor<4xf16>) -> tensor<4xf32>
  return
}

// -----

func.func @float_only(%x: tensor<4xi32>) {
  // expected-error @below {{operand #0 must be ranked tensor of 16, 32 or 64-bit float values}}
  %0 = graph.exp %x : tensor<4xi32>
  return
}

// -----

func.func @bool_only(%x: tensor<4xi32>) {
  // expected-error @below {{operand #0 must be ranked tensor of 1-bit signless integer values}}
  %0 = graph.not %x : tensor<4xi32>
  return
}

// -----

func.func @compare_extents(%x: tensor<?xf32, #graph.dims<[T]>>) {
  // expected-error @below {{operand has extents [T] but the result has [S]}}
  %0 = graph.compare lt %x, %x : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xi1, #graph.dims<[S]>>
  return
}

// -----

func.func @select_extents(%c: tensor<?xi1, #graph.dims<[T]>>, %x: tensor<?xf32, #graph.dims<[S]>>) {
  // expected-error @below {{operand has extents [T] but the result has [S]}}
  %0 = graph.select %c, %x, %x : tensor<?xi1, #graph.dims<[T]>>, tensor<?xf32, #graph.dims<[S]>>
  return
}

// -----

func.func @convert_extents(%x: tensor<?xf32, #graph.dims<[T]>>) {
  // expected-error @below {{operand has extents [T] but the result has [S]}}
  %0 = graph.convert %x : tensor<?xf32, #graph.dims<[T]>> -> tensor<?xf16, #graph.dims<[S]>>
  return
}

// -----

func.func @reduce_result(%x: tensor<4x8xf32>) {
  // expected-error @below {{result has extents [8] but the operands give [4]}}
  %0 = graph.reduce sum %x dims [1] : tensor<4x8xf32> -> tensor<8xf32>
  return
}

// -----

func.func @reduce_outside(%x: tensor<4x8xf32>) {
  // expected-error @below {{dims has dimension 2 outside rank 2}}
  %0 = graph.reduce sum %x dims [2] : tensor<4x8xf32> -> tensor<4xf32>
  return
}

// -----

func.func @reduce_twice(%x: tensor<4x8xf32>) {
  // expected-error @below {{dims has dimension 1 twice}}
  %0 = graph.reduce sum %x dims [1, 1] : tensor<4x8xf32> -> tensor<4xf32>
  return
}

// -----

func.func @reduce_unsorted(%x: tensor<4x8xf32>) {
  // expected-error @below {{dims is not sorted}}
  %0 = graph.reduce sum %x dims [1, 0] : tensor<4x8xf32> -> tensor<f32>
  return
}

// -----

func.func @broadcast_rank(%x: tensor<8xf32>) {
  // expected-error @below {{dims has 2 entries for an input of rank 1}}
  %0 = graph.broadcast %x dims [0, 1] : tensor<8xf32> -> tensor<8x8xf32>
  return
}

// -----

func.func @broadcast_outside(%x: tensor<8xf32>) {
  // expected-error @below {{dims has dimension -1 outside rank 2}}
  %0 = graph.broadcast %x dims [-1] : tensor<8xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @broadcast_extent(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>) {
  // expected-error @below {{input extent T of dimension 0 does not broadcast to S}}
  %0 = graph.broadcast %x dims [0, 1] : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<?x8xf32, #graph.dims<[S, 8]>>
  return
}

// -----

func.func @reshape_count(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>) {
  // expected-error @below {{input has 8*T elements but the result has 4*T}}
  %0 = graph.reshape %x : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<?x4xf32, #graph.dims<[T, 4]>>
  return
}

// -----

func.func @transpose_rank(%x: tensor<4x8xf32>) {
  // expected-error @below {{permutation has 1 entries for an input of rank 2}}
  %0 = graph.transpose %x permutation [0] : tensor<4x8xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @transpose_twice(%x: tensor<4x8xf32>) {
  // expected-error @below {{permutation has dimension 0 twice}}
  %0 = graph.transpose %x permutation [0, 0] : tensor<4x8xf32> -> tensor<4x4xf32>
  return
}

// -----

func.func @transpose_result(%x: tensor<4x8xf32>) {
  // expected-error @below {{result has extents [4, 8] but the operands give [8, 4]}}
  %0 = graph.transpose %x permutation [1, 0] : tensor<4x8xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @slice_rank(%x: tensor<4x8xf32>) {
  // expected-error @below {{offsets and result must have the input's rank 2}}
  %0 = graph.slice %x offsets [0] : tensor<4x8xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @slice_outside(%x: tensor<4x8xf32>) {
  // expected-error @below {{takes 6 from 4 of dimension 1, which has extent 8}}
  %0 = graph.slice %x offsets [0, 4] : tensor<4x8xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @slice_dynamic(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>) {
  // expected-error @below {{dimension 0 is dynamic and can only be taken whole}}
  %0 = graph.slice %x offsets [1, 0] : tensor<?x8xf32, #graph.dims<[T, 8]>> -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  return
}

// -----

func.func @concat_nothing() {
  // expected-error @below {{expected 1 or more operands, but found 0}}
  %0 = graph.concat dim 0 : () -> tensor<4xf32>
  return
}

// -----

func.func @concat_dimension(%x: tensor<4xf32>) {
  // expected-error @below {{dimension 1 is outside rank 1}}
  %0 = graph.concat %x, %x dim 1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @concat_ranks(%x: tensor<4xf32>, %y: tensor<4x1xf32>) {
  // expected-error @below {{inputs have different ranks}}
  %0 = graph.concat %x, %y dim 0 : (tensor<4xf32>, tensor<4x1xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @concat_extents(%x: tensor<4x8xf32>, %y: tensor<4x9xf32>) {
  // expected-error @below {{inputs have extents 8 and 9 in dimension 1}}
  %0 = graph.concat %x, %y dim 0 : (tensor<4x8xf32>, tensor<4x9xf32>) -> tensor<8x8xf32>
  return
}

// -----

func.func @concat_result(%x: tensor<?x8xf32, #graph.dims<[T, 8]>>, %y: tensor<4x8xf32>) {
  // expected-error @below {{result has extents [T, 8] but the operands give [T + 4, 8]}}
  %0 = graph.concat %x, %y dim 0 : (tensor<?x8xf32, #graph.dims<[T, 8]>>, tensor<4x8xf32>) -> tensor<?x8xf32, #graph.dims<[T, 8]>>
  return
}

// -----

func.func @gather_scalar(%x: tensor<f32>, %i: tensor<4xi32>) {
  // expected-error @below {{table must have a dimension to index}}
  %0 = graph.gather %x, %i : tensor<f32>, tensor<4xi32> -> tensor<4xf32>
  return
}

// -----

func.func @gather_result(%x: tensor<5x8xf32>, %i: tensor<4xi32>) {
  // expected-error @below {{result has extents [5, 8] but the operands give [4, 8]}}
  %0 = graph.gather %x, %i : tensor<5x8xf32>, tensor<4xi32> -> tensor<5x8xf32>
  return
}

// -----

func.func @concat_negative(%x: tensor<4xf32>) {
  // expected-error @below {{dimension -1 is outside rank 1}}
  %0 = graph.concat %x dim -1 : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @iota_dimension() {
  // expected-error @below {{dimension 1 is outside rank 1}}
  %0 = graph.iota dim 1 : tensor<4xi32>
  return
}

// -----

func.func @dot_counts(%x: tensor<4x8xf32>, %y: tensor<6x8xf32>) {
  // expected-error @below {{contract has 1 and 2 dimensions}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [0, 1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_outside(%x: tensor<4x8xf32>, %y: tensor<6x8xf32>) {
  // expected-error @below {{batch has dimension 2 outside rank 2}}
  %0 = graph.dot %x, %y batch [2] x [0] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_extents(%x: tensor<4x8xf32>, %y: tensor<6x9xf32>) {
  // expected-error @below {{contract pairs extents 8 and 9}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x9xf32> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_both(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) {
  // expected-error @below {{dimension 1 is both batch and contracted}}
  %0 = graph.dot %x, %y batch [1] x [1] contract [1] x [1] : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x4x4xf32>
  return
}

// -----

func.func @dot_operand_types(%x: tensor<4x8xf32>, %y: tensor<6x8xf16>) {
  // expected-error @below {{operands have different element types}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf16> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_result_type(%x: tensor<4x8xf32>, %y: tensor<6x8xf32>) {
  // expected-error @below {{result element type must be the operands' or f32}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf16>
  return
}

// -----

func.func @dot_integers(%x: tensor<4x8xi8>, %y: tensor<6x8xui8>) {
  // expected-error @below {{has operands of 'i8' and 'ui8'; integers are i8 or ui8, times i8}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xi8>, tensor<6x8xui8> -> tensor<4x6xi32>
  return
}

// -----

func.func @dot_integer_and_float(%x: tensor<4x8xf32>, %y: tensor<6x8xi8>) {
  // expected-error @below {{has operands of 'f32' and 'i8'; integers are i8 or ui8, times i8}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_integer_result(%x: tensor<4x8xui8>, %y: tensor<6x8xi8>) {
  // expected-error @below {{result element type must be i32 for integers}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xui8>, tensor<6x8xi8> -> tensor<4x6xf32>
  return
}

// -----

func.func @dot_result(%x: tensor<4x8xf32>, %y: tensor<6x8xf32>) {
  // expected-error @below {{result has extents [6, 4] but the operands give [4, 6]}}
  %0 = graph.dot %x, %y batch [] x [] contract [1] x [1] : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<6x4xf32>
  return
}

// -----

func.func @attention_rank(%x: tensor<4x8x16xf32>) {
  // expected-error @below {{expects [batch, sequence, heads, dim] operands}}
  %0 = graph.attention %x, %x, %x scale 1.0 : tensor<4x8x16xf32>, tensor<4x8x16xf32>
  return
}

// -----

func.func @attention_head_size(%q: tensor<1x8x4x16xf32>, %k: tensor<1x8x4x32xf32>) {
  // expected-error @below {{query [1, 8, 4, 16] and key [1, 8, 4, 32] differ in batch or head size}}
  %0 = graph.attention %q, %k, %k scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x4x32xf32>
  return
}

// -----

func.func @attention_heads(%q: tensor<1x8x4x16xf32>, %k: tensor<1x8x3x16xf32>) {
  // expected-error @below {{query heads must be a multiple of key heads}}
  %0 = graph.attention %q, %k, %k scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x3x16xf32>
  return
}

// -----

func.func @attention_causal(%q: tensor<1x8x4x16xf32>, %k: tensor<1x9x4x16xf32>) {
  // expected-error @below {{causal attention needs as many queries as keys}}
  %0 = graph.attention %q, %k, %k causal scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x9x4x16xf32>
  return
}

// -----

!cache = !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 8, f32>
!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @layer_negative(%c: !cache) {
  // expected-error @below {{layer -1 is outside a cache of 2}}
  %0 = graph.cache_layer %c layer -1 : !cache -> !layer
  return
}

// -----

!cache = !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 8, f32>
!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @layer_number(%c: !cache) {
  // expected-error @below {{layer 2 is outside a cache of 2}}
  %0 = graph.cache_layer %c layer 2 : !cache -> !layer
  return
}

// -----

!cache = !graph.kv_cache<layers = 2, heads = 2, dim = 16, page = 8, f32>
!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 16, f32>
func.func @layer_type(%c: !cache) {
  // expected-error @below {{layer type does not match the cache}}
  %0 = graph.cache_layer %c layer 1 : !cache -> !layer
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @write_input(%l: !layer, %k: tensor<4x16x2xf32>, %s: tensor<4xi64>) {
  // expected-error @below {{input [4, 16, 2] must be [tokens, 2, 16]}}
  %0 = graph.cache_write key %l, %k, %s : !layer, tensor<4x16x2xf32>, tensor<4xi64>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @write_slots(%l: !layer, %k: tensor<4x2x16xf32>, %s: tensor<3xi64>) {
  // expected-error @below {{needs one slot a token}}
  %0 = graph.cache_write value %l, %k, %s : !layer, tensor<4x2x16xf32>, tensor<3xi64>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_query(%l: !layer, %q: tensor<4x4x8xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{query [4, 4, 8] must be [tokens, heads, 16]}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t scale 1.0 : tensor<4x4x8xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_heads(%l: !layer, %q: tensor<4x3x16xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{query heads must be a multiple of the cache's 2}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t scale 1.0 : tensor<4x3x16xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_metadata(%l: !layer, %q: tensor<4x4x16xf32>, %s: tensor<1xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{expects queryStart [R + 1], contextLength [R] and blockTable [R, P]}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t scale 1.0 : tensor<4x4x16xf32>, !layer, tensor<1xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

func.func @attention_window_size(%q: tensor<1x8x4x16xf32>) {
  // expected-error @below {{window 0 must be at least 1}}
  %0 = graph.attention %q, %q, %q causal window 0 scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>
  return
}

// -----

func.func @attention_window(%q: tensor<1x8x4x16xf32>) {
  // expected-error @below {{a window needs causal attention}}
  %0 = graph.attention %q, %q, %q window 4 scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>
  return
}

// -----

func.func @attention_softcap(%q: tensor<1x8x4x16xf32>) {
  // expected-error @below {{softcap must be a positive number}}
  %0 = graph.attention %q, %q, %q softcap -1.0 scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>
  return
}

// -----

func.func @attention_slopes_all_keys(%q: tensor<1x8x2x16xf32>) {
  // expected-error @below {{slopes need causal attention}}
  %0 = graph.attention %q, %q, %q slopes [0.5, 0.25] scale 1.0 : tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>
  return
}

// -----

func.func @attention_slopes_count(%q: tensor<1x8x4x16xf32>, %k: tensor<1x8x2x16xf32>) {
  // expected-error @below {{has 2 slopes for 4 query heads}}
  %0 = graph.attention %q, %k, %k causal slopes [0.5, 0.25] scale 1.0 : tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>
  return
}

// -----

func.func @attention_slopes_finite(%q: tensor<1x8x2x16xf32>) {
  // expected-error @below {{slopes must be finite}}
  %0 = graph.attention %q, %q, %q causal slopes [0.5, 1.0e+39] scale 1.0 : tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_window(%l: !layer, %q: tensor<4x4x16xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{a window needs causal attention}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t bidirectional window 4 scale 1.0 : tensor<4x4x16xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_softcap(%l: !layer, %q: tensor<4x4x16xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{softcap must be a positive number}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t softcap 0.0 scale 1.0 : tensor<4x4x16xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_slopes_all_keys(%l: !layer, %q: tensor<4x4x16xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{slopes need causal attention}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t bidirectional slopes [0.5, 0.5, 0.5, 0.5] scale 1.0 : tensor<4x4x16xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 16, page = 8, f32>
func.func @paged_slopes_count(%l: !layer, %q: tensor<4x4x16xf32>, %s: tensor<2xi32>, %c: tensor<1xi32>, %t: tensor<1x8xi32>) {
  // expected-error @below {{has 2 slopes for 4 query heads}}
  %0 = graph.paged_attention %q, %l, %s, %c, %t slopes [0.5, 0.25] scale 1.0 : tensor<4x4x16xf32>, !layer, tensor<2xi32>, tensor<1xi32>, tensor<1x8xi32>
  return
}

// -----

func.func @last_token_scalar(%x: tensor<f32>, %s: tensor<2xi32>) {
  // expected-error @below {{expects rows and a queryStart of [R + 1]}}
  %0 = graph.last_token %x, %s : tensor<f32>, tensor<2xi32> -> tensor<f32>
  return
}

// -----

func.func @last_token_result(%x: tensor<4x8xf32>, %s: tensor<3xi32>) {
  // expected-error @below {{result has extents [3, 8] but the operands give [2, 8]}}
  %0 = graph.last_token %x, %s : tensor<4x8xf32>, tensor<3xi32> -> tensor<3x8xf32>
  return
}

// -----

func.func @embedding_table(%i: tensor<4xi64>, %t: tensor<8xf32>) {
  // expected-error @below {{table must be [vocabulary, width]}}
  %0 = graph.embedding %i, %t : tensor<4xi64>, tensor<8xf32> -> tensor<4xf32>
  return
}

// -----

func.func @embedding_result(%i: tensor<4xi64>, %t: tensor<8x2xf32>) {
  // expected-error @below {{result has extents [4, 8] but the operands give [4, 2]}}
  %0 = graph.embedding %i, %t : tensor<4xi64>, tensor<8x2xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @linear_rank(%x: tensor<4x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expects an input of [..., in] and a weight of [out, in]}}
  %0 = graph.linear %x, %w : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @linear_width(%x: tensor<4x8xf32>, %w: tensor<8x6xf32>) {
  // expected-error @below {{input width 8 is not the weight's 6}}
  %0 = graph.linear %x, %w : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @linear_bias(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{bias must be [6]}}
  %0 = graph.linear %x, %w bias %b : (tensor<4x8xf32>, tensor<6x8xf32>, tensor<8xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @linear_types(%x: tensor<4x8xf32>, %w: tensor<6x8xf16>) {
  // expected-error @below {{input and weight have different element types}}
  %0 = graph.linear %x, %w : (tensor<4x8xf32>, tensor<6x8xf16>) -> tensor<4x6xf32>
  return
}

// -----

func.func @linear_result_type(%x: tensor<4x8xf16>, %w: tensor<6x8xf16>) {
  // expected-error @below {{result element type must be the input's or f32}}
  %0 = graph.linear %x, %w : (tensor<4x8xf16>, tensor<6x8xf16>) -> tensor<4x6xbf16>
  return
}

// -----

func.func @linear_result(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>) {
  // expected-error @below {{result has extents [4, 8] but the operands give [4, 6]}}
  %0 = graph.linear %x, %w : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @rms_norm_scale(%x: tensor<4x8xf32>) {
  // expected-note @below {{scale defined here}}
  %w = graph.constant dense<1.0> : tensor<4xf32>
  // expected-error @below {{scale has extents [4] but the input has [4, 8]}}
  %0 = graph.rms_norm %x, %w epsilon 1.0e-5 : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @rope_rank(%x: tensor<4x16xf32>, %p: tensor<4xi32>, %f: tensor<8xf32>) {
  // expected-error @below {{input must be [..., heads, dim]}}
  %0 = graph.rope %x, %p, %f : tensor<4x16xf32>, tensor<4xi32>, tensor<8xf32>
  return
}

// -----

func.func @rope_frequencies(%x: tensor<4x2x16xf32>, %p: tensor<4xi32>, %f: tensor<16xf32>) {
  // expected-error @below {{frequencies must have at most half as many elements as a head, both numbers}}
  %0 = graph.rope %x, %p, %f : tensor<4x2x16xf32>, tensor<4xi32>, tensor<16xf32>
  return
}

// -----

func.func @rope_positions(%x: tensor<1x4x2x16xf32>, %p: tensor<2xi32>, %f: tensor<8xf32>) {
  // expected-error @below {{positions [2] do not match the input [1, 4, 2, 16]}}
  %0 = graph.rope %x, %p, %f : tensor<1x4x2x16xf32>, tensor<2xi32>, tensor<8xf32>
  return
}

// -----

func.func @softmax_dimension(%x: tensor<4x8xf32>) {
  // expected-error @below {{dimension -1 is outside rank 2}}
  %0 = graph.softmax %x dim -1 : tensor<4x8xf32>
  return
}

// -----

func.func @fusion_arguments(%x: tensor<4xf32>) {
  // expected-error @below {{block arguments do not have the types of the inputs}}
  %0 = graph.fusion "loop"(%x) : (tensor<4xf32>) -> tensor<8xf32> {
  ^bb0(%a: tensor<8xf32>):
    graph.yield %a : tensor<8xf32>
  }
  return
}

// -----

func.func @fusion_results(%x: tensor<4xf32>) {
  // expected-error @below {{yields other types than its results have}}
  %0 = graph.fusion "loop"(%x) : (tensor<4xf32>) -> tensor<8xf32> {
  ^bb0(%a: tensor<4xf32>):
    graph.yield %a : tensor<4xf32>
  }
  return
}

// -----

func.func @fusion_types(%x: index) {
  // expected-error @below {{operand #0 must be variadic of ranked tensor of number or boolean values or One layer of a paged KV cache}}
  graph.fusion "loop"(%x) : (index) -> () {
  ^bb0(%a: index):
  }
  return
}

// -----

func.func @fusion_kind(%x: tensor<4xf32>) {
  // expected-error @below {{kind 'scan' is not loop, row, dot or attention}}
  %0 = graph.fusion "scan"(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    graph.yield %a : tensor<4xf32>
  }
  return
}

// -----

func.func @fusion_isolated(%x: tensor<4xf32>) {
  // expected-note @below {{required by region isolation constraints}}
  %0 = graph.fusion "loop"() : () -> tensor<4xf32> {
    // expected-error @below {{using value defined outside the region}}
    graph.yield %x : tensor<4xf32>
  }
  return
}

// -----

func.func @yield_outside(%x: tensor<4xf32>) {
  // expected-error @below {{expects parent op 'graph.fusion'}}
  graph.yield %x : tensor<4xf32>
}

// -----

// expected-error @below {{'2*(S)' is not a sum of products of symbols}}
func.func private @dims_text(tensor<?xf32, #graph.dims<["2*(S)"]>>)

// -----

// expected-error @below {{'S*' is not a sum of products of symbols}}
func.func private @dims_missing_factor(tensor<?xf32, #graph.dims<["S*"]>>)

// -----

// expected-error @below {{expected an integer, a symbol or a string}}
func.func private @dims_token(tensor<?xf32, #graph.dims<[*]>>)

// -----

// expected-error @below {{#graph.dims has 2 entries but the tensor has 1 dimensions}}
func.func private @dims_rank(tensor<?xf32, #graph.dims<[S, 4]>>)

// -----

// expected-error @below {{#graph.dims entry 0 is 5 but the tensor's extent is ?}}
func.func private @dims_number_for_dynamic(tensor<?xf32, #graph.dims<[5]>>)

// -----

// expected-error @below {{#graph.dims entry 1 is S but the tensor's extent is 4}}
func.func private @dims_symbol_for_static(tensor<?x4xf32, #graph.dims<[T, S]>>)

// -----

// expected-error @below {{a KV cache needs at least 1 layer, head, dim and token a page}}
func.func private @cache_without_heads(!graph.kv_cache<layers = 2, heads = 0, dim = 16, page = 8, f32>)

// -----

// expected-error @below {{a KV cache holds floats, not 'i32'}}
func.func private @layer_of_integers(!graph.kv_layer<layers = 2, heads = 1, dim = 16, page = 8, i32>)

// -----

// expected-error @below {{'B*S' cannot be the name of a symbol}}
func.func private @symbol_name() attributes {graph.symbols = [#graph.symbol<"B*S", min = 1, max = 8, hint = 8>]}

// -----

// expected-error @below {{symbol 'S' cannot have the hint 9 and the range 1 to 8}}
func.func private @symbol_hint() attributes {graph.symbols = [#graph.symbol<"S", min = 1, max = 8, hint = 9>]}

// -----

// expected-error @below {{symbol 'S' cannot have the hint 1 and the range -1 to -1}}
func.func private @symbol_range() attributes {graph.symbols = [#graph.symbol<"S", min = -1, max = -1, hint = 1>]}

// -----

// expected-error @below {{graph.symbols lists 'S' twice}}
func.func private @symbol_twice() attributes {graph.symbols = [#graph.symbol<"S", min = 1, max = 8, hint = 8>, #graph.symbol<"S", min = 1, max = -1, hint = 8>]}

// -----

// expected-error @below {{graph.symbols is not an array of #graph.symbol}}
func.func private @symbol_strings() attributes {graph.symbols = ["S"]}

// -----

// expected-error @below {{graph.weight_files is not an array of strings}}
module attributes {graph.weight_files = [1]} {}

// -----

// expected-error @below {{graph.phase is not a string}}
func.func private @phase() attributes {graph.phase = 1}

// -----

// expected-error @below {{graph.bucket is not an integer}}
func.func private @bucket() attributes {graph.bucket = "1"}

// -----

// expected-error @below {{graph.role is not a string}}
func.func private @role(tensor<4xf32> {graph.role = 1})

// -----

// expected-error @below {{graph.name is not a string}}
func.func private @name() -> (tensor<4xf32> {graph.name = 1})

// -----

func.func @expert_dot_matrix(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{expects a right side of [experts, out, in] and experts of [..., k]}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x8xf32>, tensor<8x8xf32>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_rank(%x: tensor<8xf32>, %w: tensor<4x8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{left side [8] has a row neither for each token nor for each of the experts [4, 2]}}
  %0 = graph.expert_dot %x, %w, %e : tensor<8xf32>, tensor<4x8x8xf32>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_rows(%x: tensor<5x8xf32>, %w: tensor<4x8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{left side [5, 8] does not match the experts [4, 2]}}
  %0 = graph.expert_dot %x, %w, %e : tensor<5x8xf32>, tensor<4x8x8xf32>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_row_per_expert(%x: tensor<4x3x8xf32>, %w: tensor<4x8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{left side [4, 3, 8] does not match the experts [4, 2]}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x3x8xf32>, tensor<4x8x8xf32>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_contracted(%x: tensor<4x6xf32>, %w: tensor<4x8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{left side has rows of 6 elements but the right side 8}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x6xf32>, tensor<4x8x8xf32>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_types(%x: tensor<4x8xf32>, %w: tensor<4x8x8xbf16>, %e: tensor<4x2xi32>) {
  // expected-error @below {{operands have different element types}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x8xf32>, tensor<4x8x8xbf16>, tensor<4x2xi32> -> tensor<4x2x8xf32>
  return
}

// -----

func.func @expert_dot_result_type(%x: tensor<4x8xbf16>, %w: tensor<4x8x8xbf16>, %e: tensor<4x2xi32>) {
  // expected-error @below {{result element type must be the operands' or f32}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x8xbf16>, tensor<4x8x8xbf16>, tensor<4x2xi32> -> tensor<4x2x8xf16>
  return
}

// -----

func.func @expert_dot_result(%x: tensor<4x8xf32>, %w: tensor<4x8x8xf32>, %e: tensor<4x2xi32>) {
  // expected-error @below {{result has extents [4, 2, 9] but the operands give [4, 2, 8]}}
  %0 = graph.expert_dot %x, %w, %e : tensor<4x8xf32>, tensor<4x8x8xf32>, tensor<4x2xi32> -> tensor<4x2x9xf32>
  return
}

// -----

func.func @top_k_scalar(%x: tensor<f32>) {
  // expected-error @below {{input must have a dimension}}
  %v, %i = graph.top_k %x k 1 : tensor<f32> -> tensor<1xf32>, tensor<1xi32>
  return
}

// -----

func.func @top_k_none(%x: tensor<4x8xf32>) {
  // expected-error @below {{takes 0 of 8 elements}}
  %v, %i = graph.top_k %x k 0 : tensor<4x8xf32> -> tensor<4x0xf32>, tensor<4x0xi32>
  return
}

// -----

func.func @top_k_many(%x: tensor<4x8xf32>) {
  // expected-error @below {{takes 9 of 8 elements}}
  %v, %i = graph.top_k %x k 9 : tensor<4x8xf32> -> tensor<4x9xf32>, tensor<4x9xi32>
  return
}

// -----

func.func @top_k_indices(%x: tensor<4x8xf32>) {
  // expected-error @below {{result has extents [4, 3] but the operands give [4, 2]}}
  %v, %i = graph.top_k %x k 2 : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<4x3xi32>
  return
}
