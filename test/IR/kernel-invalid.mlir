// RUN: mlsys-opt %s -split-input-file -verify-diagnostics
//
// Every rule of the kernel dialect's verifiers.

// expected-error @below {{target 'tpu' is not cpu or cuda}}
kernel.func @target(%x: memref<?xf32>) attributes {target = "tpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{has results; kernels write to their buffers}}
kernel.func @results(%x: memref<?xf32>) -> index attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{a CPU kernel ends with scratch memory and a range of tasks}}
kernel.func @no_range(%x: memref<?xf32>, %y: memref<?xf32>, %scratch: memref<?xi8>) attributes {target = "cpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{a CPU kernel ends with scratch memory and a range of tasks}}
kernel.func @no_arguments() attributes {target = "cpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{buffer 'memref<?x4xf32>' is not flat}}
kernel.func @not_flat(%x: memref<?x4xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{argument 'f32' is neither a buffer nor a symbol}}
kernel.func @scalar(%x: memref<?xf32>, %y: f32) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{argument 'memref<?xf32>' is neither a buffer nor a symbol}}
kernel.func @buffer_after_symbol(%x: memref<?xf32>, %T: index, %y: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

func.func @constant_of_nothing() {
  // expected-error @below {{needs either a source or a value}}
  %0 = kernel.constant "w" shape [4] : memref<?xf32>
  return
}

// -----

func.func @constant_of_both() {
  // expected-error @below {{needs either a source or a value}}
  %0 = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 8, dtype = "f32", shape = [2]> value dense<1.0> : tensor<2xf32> shape [2] : memref<?xf32>
  return
}

// -----

func.func @constant_half_panels() {
  // expected-error @below {{panels need both a block and a pair}}
  %0 = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [2, 2]> shape [2, 2] panels 32 x 0 : memref<?xf32>
  return
}

// -----

func.func @constant_panels_of_vector() {
  // expected-error @below {{only matrices have panels}}
  %0 = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [4]> shape [4] panels 32 x 2 : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_grid(%x: memref<?xf32>) {
  // expected-error @below {{grid has 2 results instead of 1 or 3}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1, 1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_writes(%x: memref<?xf32>) {
  // expected-error @below {{writes buffer 1 of 1}}
  kernel.launch @k(%x) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

func.func @launch_unknown(%x: memref<?xf32>) {
  // expected-error @below {{'launch_unknown' is not a kernel.func}}
  kernel.launch @launch_unknown(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>, %T: index) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_counts(%x: memref<?xf32>) {
  // expected-error @below {{gives 1 buffers and 0 symbols to a kernel of 1 and 1}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_type(%x: memref<?xf16>) {
  // expected-error @below {{buffer 0 is 'memref<?xf16>' but the kernel takes 'memref<?xf32>'}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf16>
  return
}

// -----

// expected-error @below {{expects parent op 'kernel.func'}}
func.func @return_outside() { "kernel.return"() : () -> () }

// -----

kernel.func @block_id() attributes {target = "cuda", kind = "loop"} {
  // expected-error @below {{attribute 'dim' failed to satisfy constraint}}
  %0 = kernel.block_id 3
  kernel.return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_maps(%x: memref<?xf32>) {
  // expected-error @below {{has tensor maps without extents}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> {tensor_maps = array<i64: 0, 2, 64, 8>} : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_map_buffer(%x: memref<?xf32>) {
  // expected-error @below {{has a tensor map of buffer 1 of 1}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> {tensor_maps = array<i64: 1, 2, 64, 8>, tensor_extents = affine_map<() -> (64, 8, 64)>} : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_extents(%x: memref<?xf32>) {
  // expected-error @below {{has extents of no tensor map}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> {tensor_maps = array<i64: 0, 2, 64, 8>, tensor_extents = affine_map<() -> (64, 8, 64, 8)>} : memref<?xf32>
  return
}

// -----

kernel.func @decode_wgmma(%x: memref<?xf32>, %i: memref<?xi32>, %p: index) attributes {target = "cuda", kind = "attention"} {
  // expected-error @below {{decode does not use wgmma}}
  kernel.attention "decode" query(%x : memref<?xf32>) key(%x : memref<?xf32>) metadata(%i, %i : memref<?xi32>, memref<?xi32>)
    extents(%p) result(%x : memref<?xf32>) {heads = 8 : i64, kv_heads = 2 : i64, head_dim = 64 : i64, page_size = 64 : i64, page_stride = 1 : i64, heads_per_block = 4 : i64, scale = 1.0 : f32, wgmma}
  kernel.return
}

// -----

kernel.func @wgmma_config(%n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{takes 4 to 6 constants instead of 3}}
  kernel.wgmma [1, 256, 4] : bf16 shape(%n, %n) columns [64] epilogues { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @wgmma_element(%n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{multiplies elements of bf16 or f16, not 'f32'}}
  kernel.wgmma [1, 256, 4, 32] : f32 shape(%n, %n) columns [64] epilogues { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @wgmma_columns(%n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{has 2 numbers of columns for 1 epilogues}}
  kernel.wgmma [1, 256, 4, 32] : bf16 shape(%n, %n) columns [64, 32] epilogues { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @wgmma_epilogue(%n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{epilogue must take a row, a column, and numbers of rows and columns}}
  kernel.wgmma [1, 256, 4, 32] : bf16 shape(%n, %n) columns [64] epilogues { ^bb0(%r: index): }
  kernel.return
}

// -----

kernel.func @contract_method(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{method 'conv' is not matmul, matmul_int8, gemv or gemv_mma}}
  kernel.contract "conv" [1, 16, 8, 1024] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_config(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{gemv takes 4 constants instead of 3}}
  kernel.contract "gemv" [1, 16, 8] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_prepare(%x: memref<?xf32>, %w: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{gemv prepares nothing}}
  kernel.contract "gemv" [1, 16, 8, 256] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prepare { kernel.grid_wait } prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_half(%x: memref<?xf32>, %w: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{gemv has no tiles in halves}}
  kernel.contract "gemv" [1, 16, 8, 256] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) half(%n) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_weights(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{has no weight}}
  "kernel.contract"(%x, %n, %n, %n, %n, %n) <{method = "matmul", config = array<i32: 64, 64, 32, 3, 2, 2>, operandSegmentSizes = array<i32: 0, 1, 0, 0, 0, 1, 1, 1, 1, 1>}> ({
  }, {
  }, {
  ^bb0(%r: index, %c: index, %rs: index, %cs: index):
  }) : (memref<?xf32>, index, index, index, index, index) -> ()
  kernel.return
}

// -----

kernel.func @contract_types(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{has weights of different types}}
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w, %h : memref<?xf32>, memref<?xf16>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_sides(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{needs either a left side or a prologue}}
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_prologue(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{prologue must take a row and a column and yield an element}}
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { ^bb0(%m: index): } epilogue { ^bb0(%r: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @contract_epilogue(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{epilogue must take a row, a column, and numbers of rows and columns}}
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue { ^bb0(%r: index): }
  kernel.return
}

// -----

kernel.func @tile_load_outside(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{stands outside a kernel.contract}}
  %0 = kernel.tile_load 0 [%n, %n] : f32
  kernel.return
}

// -----

kernel.func @tile_load_product(%x: memref<?xf32>, %w: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  kernel.contract "gemv" [1, 16, 8, 1024] weights(%w : memref<?xf32>) lhs(%x : memref<?xf32>) shape(%n, %n, %n) at(%n, %n) prologue { } epilogue {
  ^bb0(%r: index, %c: index, %rs: index, %cs: index):
    // expected-error @below {{reads product 1 of 1}}
    %0 = kernel.tile_load 1 [%r, %c] : f32
  }
  kernel.return
}

// -----

kernel.func @attention_method(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{method 'linear' is not prefill, decode or plain}}
  kernel.attention "linear" query(%x : memref<?xf32>) key(%w : memref<?xf32>) extents(%n) result(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32}
  kernel.return
}

// -----

kernel.func @attention_operands(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{plain takes a value, 0 buffers of metadata and 2 extents}}
  kernel.attention "plain" query(%x : memref<?xf32>) key(%w : memref<?xf32>) value(%w : memref<?xf32>) extents(%n) result(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32}
  kernel.return
}

// -----

kernel.func @attention_parts(%x: memref<?xf32>, %w: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{plain has no parts}}
  kernel.attention "plain" query(%x : memref<?xf32>) key(%w : memref<?xf32>) value(%w : memref<?xf32>) extents(%n, %n) result(%x : memref<?xf32>) parts(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32}
  kernel.return
}

// -----

kernel.func @attention_slopes(%x: memref<?xf32>, %w: memref<?xf32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{has 2 slopes for 4 heads}}
  kernel.attention "plain" query(%x : memref<?xf32>) key(%w : memref<?xf32>) value(%w : memref<?xf32>) extents(%n, %n) result(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32, slopes = array<f32: 0.5, 0.25>}
  kernel.return
}

// -----

kernel.func @attention_metadata(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{decode takes no value, 2 buffers of metadata and 1 extents}}
  kernel.attention "decode" query(%x : memref<?xf32>) key(%w : memref<?xf32>) extents(%n) result(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 2 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32}
  kernel.return
}

// -----

kernel.func @attention_heads(%x: memref<?xf32>, %w: memref<?xf32>, %h: memref<?xf16>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{has 4 heads of 16 elements over 3 key heads}}
  kernel.attention "plain" query(%x : memref<?xf32>) key(%w : memref<?xf32>) value(%w : memref<?xf32>) extents(%n, %n) result(%x : memref<?xf32>) {heads = 4 : i64, kv_heads = 3 : i64, head_dim = 16 : i64, page_size = 0 : i64, page_stride = 0 : i64, heads_per_block = 1 : i64, scale = 1.0 : f32}
  kernel.return
}

// -----

kernel.func @contract_rows(%w: memref<?xf32>, %r: memref<64xi32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{lists rows of a left side that it does not have}}
  kernel.contract "matmul" [64, 64, 32, 3, 2, 2] weights(%w : memref<?xf32>) rows(%r : memref<64xi32>) shape(%n, %n, %n) at(%n, %n) prologue {
  ^bb0(%m: index, %k: index):
    %a = memref.load %w[%k] : memref<?xf32>
    kernel.yield %a : f32
  } epilogue { ^bb0(%a: index, %c: index, %rs: index, %cs: index): }
  kernel.return
}

// -----

kernel.func @collect_rows_list(%e: memref<?xi32>, %list: memref<?xi32>, %n: index) attributes {target = "cuda", kind = "dot"} {
  // expected-error @below {{list is 'memref<?xi32>', which is not a number of i32}}
  %total = kernel.collect_rows %e[%n] expert %n skip %n into %list : memref<?xi32>, memref<?xi32>
  kernel.return
}
