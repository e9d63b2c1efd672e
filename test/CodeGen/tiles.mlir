// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=avx512bf16" | FileCheck %s --check-prefix=RULE
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=avx512bf16 tiles=%S/Inputs/tiles.json" | FileCheck %s --check-prefix=TABLE
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=x86-64-v4 tiles=%S/Inputs/tiles.json" | FileCheck %s --check-prefix=OTHER
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=avx512bf16 candidate=1" | FileCheck %s --check-prefix=TRY
// RUN: sed s,rows=8,rows=40, %S/Inputs/tiles.json > %t.json
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=avx512bf16 tiles=%t.json" 2>&1 | FileCheck %s --check-prefix=ILLEGAL
// RUN: echo '{"isa": 3}' > %t.json
// RUN: not mlsys-opt %s -mlsys-lower-to-kernel="tiles=%t.json" 2>&1 | FileCheck %s --check-prefix=FORM
// RUN: echo 'x' > %t.json
// RUN: not mlsys-opt %s -mlsys-lower-to-kernel="tiles=%t.json" 2>&1 | FileCheck %s --check-prefix=JSON
// RUN: echo '{"isa": "amx", "threads": 2, "tiles": {"dot": 3}}' > %t.json
// RUN: not mlsys-opt %s -mlsys-lower-to-kernel="tiles=%t.json" 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not mlsys-opt %s -mlsys-lower-to-kernel="tiles=%t.none" 2>&1 | FileCheck %s --check-prefix=FILE
//
// Tile sizes come from a rule, or from a table that was measured for the instruction set.

// RULE: kernel.tiles = "dot rows=256? columns=64 contracted=128 dots=1 lhs=bf16 rhs=bf16: rows=8 vectors=2 row_block=128 contracted_block=128
// TABLE: kernel.tiles = "{{.*}}: rows=8 vectors=2 row_block=64 contracted_block=64 unroll=4 prefetch=0 column_parts=1"
// OTHER: kernel.tiles = "{{.*}} contracted_block=128 {{.*}}"
// TRY: kernel.tiles = "{{.*}}: rows=1 vectors=2
// ILLEGAL: warning: the table of tiles has 'rows=40 {{.*}}' for 'dot rows=256? {{.*}}', which is not possible; it is not used
// FORM: error: '{{.*}}.json' is no table of tiles: expected "isa", "threads" and "tiles"
// JSON: error: '{{.*}}.json' is no table of tiles: [1:
// TEXT: error: '{{.*}}.json' is no table of tiles: the tiles of 'dot' are no text
// FILE: error: cannot read '{{.*}}.none'
func.func @f(%x: tensor<?x128xbf16, #graph.dims<[T, 128]>>) -> tensor<?x64xbf16, #graph.dims<[T, 64]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 256>]} {
  %w = graph.weight "w" : tensor<64x128xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 16384, dtype = "random", shape = [64, 128]>
  %y = graph.fusion "dot"(%x, %w) : (tensor<?x128xbf16, #graph.dims<[T, 128]>>, tensor<64x128xbf16>) -> tensor<?x64xbf16, #graph.dims<[T, 64]>> {
  ^bb0(%a: tensor<?x128xbf16, #graph.dims<[T, 128]>>, %b: tensor<64x128xbf16>):
    %1 = graph.dot %a, %b batch [] x [] contract [1] x [1] : tensor<?x128xbf16, #graph.dims<[T, 128]>>, tensor<64x128xbf16> -> tensor<?x64xbf16, #graph.dims<[T, 64]>>
    graph.yield %1 : tensor<?x64xbf16, #graph.dims<[T, 64]>>
  }
  return %y : tensor<?x64xbf16, #graph.dims<[T, 64]>>
}
