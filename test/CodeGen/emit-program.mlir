// RUN: rm -rf %t && mkdir %t && mlsys-translate --to-program %s -o %t/program.mlsys
// RUN: flatc --json --strict-json --raw-binary -o %t %S/../../runtime/Program.fbs -- %t/program.mlsys
// RUN: FileCheck %s --input-file %t/program.json

kernel.func @scale_0(%x: memref<?xf32>, %w: memref<?xbf16>, %y: memref<?xf32>, %T: index,
                     %scratch: memref<?xi8>, %begin: index, %end: index)
    attributes {target = "cpu", kind = "loop", scratch_bytes = 128 : i64} { kernel.return }
kernel.func @append_0(%x: memref<?xf32>, %slots: memref<?xi64>, %layer: memref<?xbf16>,
                      %scratch: memref<?xi8>, %begin: index, %end: index)
    attributes {target = "cpu", kind = "loop"} { kernel.return }
kernel.func @other_0(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

#w = #graph.weight_source<file = 0, offset = 64, bytes = 48, dtype = "f32", shape = [3, 4] unpermute_rows = 0>

// CHECK: "target": "cpu"

// CHECK: "name": "decode_2"
// CHECK: "phase": "Decode"
// CHECK: "bucket": 2
// CHECK: "name": "P"
// CHECK: "max": 8
// CHECK: "hint": 4
// CHECK: "name": "input_ids"
// CHECK: "role": "TokenIds"
// CHECK: "dtype": "I64"
// CHECK: "dims": [
// CHECK-NEXT: "2"
// CHECK: "role": "BlockTable"
// CHECK: "dims": [
// CHECK-NEXT: "2",
// CHECK-NEXT: "P"
// The cache is a buffer and no input.
// CHECK: "outputs"
// CHECK: "name": "logits"
// CHECK: "role": "Logits"
// CHECK: "kind": "Cache"
// A constant's size is that of its padded panels.
// CHECK: "kind": "Constant"
// CHECK: "bytes": {
// CHECK-NEXT: "code": [
// CHECK-NEXT: 0,
// CHECK-NEXT: 256
// CHECK: "kind": "Temporary"
// CHECK: "slots": 1
// The launches (fields that are zero are not written): a view is its buffer at an offset; P * 3 tasks.
// CHECK: "launches"
// CHECK: "buffer": 6
// CHECK: "symbols": [
// CHECK: "grid": [
// CHECK-NEXT: {
// CHECK-NEXT: "code": [
// CHECK-NEXT: 1,
// CHECK-NEXT: 0,
// CHECK-NEXT: 0,
// CHECK-NEXT: 3,
// CHECK-NEXT: 3
// CHECK: "schedule": "Dynamic"
// CHECK: "grain": 2
// CHECK: "label": "scale"
// CHECK: "kernel": 1
// CHECK: "buffer": 3
// CHECK-NEXT: "offset": 512

// CHECK: "name": "forward"
// CHECK: "name": "input0"
// CHECK: "name": "output0"

// CHECK: "kernels"
// CHECK: "name": "scale_0"
// CHECK: "scratch_bytes": 128
// CHECK: "name": "append_0"
// CHECK-NOT: other_0

// Both functions share the weight; the table stands for itself.
// CHECK: "constants"
// CHECK: "name": "w"
// CHECK: "dtype": "BF16"
// CHECK: "layout": "Panels"
// CHECK: "block": 32
// CHECK: "pair": 2
// CHECK: "bytes": 256
// CHECK: "offset": 64
// CHECK: "name": "w"
// CHECK-NOT: "name": "w"
// CHECK: "name": "table"
// CHECK: "data": [
// CHECK-NEXT: 0,
// CHECK-NEXT: 0,
// CHECK-NEXT: 128,
// CHECK-NEXT: 63
// CHECK: "cache"
// CHECK: "layers": 2
// CHECK: "page_bytes": 1024

func.func @decode_2(%ids: memref<?xi64> {graph.name = "input_ids", graph.role = "token_ids", graph.dims = #graph.dims<[2]>},
                    %slots: memref<?xi64> {graph.name = "slots", graph.role = "slots", graph.dims = #graph.dims<[2]>},
                    %blocks: memref<?xi32> {graph.name = "blocks", graph.role = "block_table", graph.dims = #graph.dims<[2, P]>},
                    %cache: memref<?xi8> {graph.name = "cache", graph.role = "kv_cache",
                                          graph.type = !graph.kv_cache<layers = 2, heads = 1, dim = 16, page = 8, bf16>},
                    %logits: memref<?xf32> {graph.result, graph.name = "logits", graph.role = "logits", graph.dims = #graph.dims<[2, 4]>})
    attributes {graph.phase = "decode", graph.bucket = 2 : i64,
                graph.symbols = [#graph.symbol<"P", min = 1, max = 8, hint = 4>]} {
  %w = kernel.constant "w" from #w shape [3, 4] panels 32 x 2 : memref<?xbf16>
  %a = kernel.alloc memref<?xf32> dims #graph.dims<["2*P", 4]> slot 0
  %layer = kernel.view %cache[512] : memref<?xi8> to memref<?xbf16>
  kernel.launch @scale_0(%a, %w, %logits) writes [2] grid affine_map<()[s0] -> (s0 * 3)>
    symbols affine_map<()[s0] -> (s0)> {label = "scale", dynamic, grain = 2 : i64} : memref<?xf32>, memref<?xbf16>, memref<?xf32>
  kernel.launch @append_0(%a, %slots, %layer) writes [2] grid affine_map<()[s0] -> (s0)> symbols affine_map<()[s0] -> ()>
    : memref<?xf32>, memref<?xi64>, memref<?xbf16>
  return
}

func.func @forward(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>},
                   %y: memref<?xf32> {graph.dims = #graph.dims<[4]>, graph.result}) {
  %w = kernel.constant "w" from #w shape [3, 4] panels 32 x 2 : memref<?xbf16>
  %table = kernel.constant "table" value dense<[1.0, 2.0]> : tensor<2xf32> shape [2] : memref<?xf32>
  kernel.launch @scale_0(%x, %w, %y) writes [2] grid affine_map<() -> (1)> symbols affine_map<() -> (4)>
    : memref<?xf32>, memref<?xbf16>, memref<?xf32>
  kernel.launch @scale_0(%table, %w, %y) writes [2] grid affine_map<() -> (1)> symbols affine_map<() -> (4)>
    : memref<?xf32>, memref<?xbf16>, memref<?xf32>
  return
}
