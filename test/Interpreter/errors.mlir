// RUN: not mlsys-translate --interpret %s --function missing 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: there is no function 'missing'

// RUN: not mlsys-translate --interpret %s --function add 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: error: function 'add' takes more than 0 inputs

// RUN: not mlsys-translate --interpret %s --function add --input 'dense<1.0> : tensor<2xf32>' \
// RUN:   --input 'dense<1.0> : tensor<3xf32>' 2>&1 | FileCheck %s --check-prefix=SHAPE
// SHAPE: error: argument 'y' of 'add' is f32 [3] but must be tensor<?xf32, #graph.dims<[N]>>

// RUN: not mlsys-translate --interpret %s --function add --input 'dense<1> : tensor<2xi32>' \
// RUN:   --input 'dense<1.0> : tensor<2xf32>' 2>&1 | FileCheck %s --check-prefix=DTYPE
// DTYPE: error: argument number 0 of 'add' is i32 [2] but must be tensor<?xf32

// RUN: not mlsys-translate --interpret %s --function add --input 'dense<1.0> : tensor<9xf32>' \
// RUN:   --input 'dense<1.0> : tensor<9xf32>' 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: error: extent N = 9 of 'add' is outside 1 to 8

// RUN: not mlsys-translate --interpret %s --function add --input 'dense<1.0> : tensor<2xf32>' \
// RUN:   --input 'dense<1.0> : tensor<2xf32>' --input 'dense<1.0> : tensor<2xf32>' 2>&1 | FileCheck %s --check-prefix=MANY
// MANY: error: function 'add' takes only 2 inputs

// RUN: not mlsys-translate --interpret %s --function gather 2>&1 | FileCheck %s --check-prefix=GATHER
// GATHER: error: 'graph.gather' reads row 5 of a table of 2 rows

// RUN: not mlsys-translate --interpret %s --function expert 2>&1 | FileCheck %s --check-prefix=EXPERT
// EXPERT: error: 'graph.expert_dot' chooses expert -1 of 2

// RUN: not mlsys-translate --interpret %s --function division 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: 'graph.div' divides the integer of element 1 by zero

// RUN: not mlsys-translate --interpret %s --function free 2>&1 | FileCheck %s --check-prefix=FREE
// FREE: error: 'graph.iota' has a result tensor<?xi32, #graph.dims<[N]>> with an extent that no argument gives

// RUN: not mlsys-translate --interpret %s --function other 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: error: 'arith.constant' is not an operation that the interpreter evaluates

// RUN: not mlsys-translate --interpret %s --function weight 2>&1 | FileCheck %s --check-prefix=WEIGHT
// WEIGHT: error: tensor w is in weight file 3, but the program lists 0 files

// RUN: not mlsys-translate --interpret %s --function external 2>&1 | FileCheck %s --check-prefix=EXTERNAL
// EXTERNAL: error: function 'external' has no body

// RUN: not mlsys-translate --interpret %s --function write --cache-pages 2 2>&1 | FileCheck %s --check-prefix=SLOT
// SLOT: error: 'graph.cache_write' writes slot 9 of a cache of 8

// RUN: not mlsys-translate --interpret %s --function unknown_type 2>&1 | FileCheck %s --check-prefix=TYPE
// TYPE: error: weight 'w' is stored in an unknown type

// RUN: not mlsys-translate --interpret %s --function add --input 'dense<1.0>' 2>&1 | FileCheck %s --check-prefix=INPUT
// INPUT: error: input 'dense<1.0>' is not like dense<[1, 2]> : tensor<2xi64>

// RUN: echo 'module attributes {graph.weight_files = ["none.safetensors"]} {}' > %t.mlir
// RUN: not mlsys-translate --interpret %t.mlir --weights-dir %S 2>&1 | FileCheck %s --check-prefix=FILE
// FILE: error: cannot read 'none.safetensors': No such file

!vector = tensor<?xf32, #graph.dims<[N]>>
func.func @add(%x: !vector, %y: !vector {graph.name = "y"}) -> !vector
    attributes {graph.symbols = [#graph.symbol<"N", min = 1, max = 8, hint = 4>]} {
  %0 = graph.add %x, %y : !vector
  return %0 : !vector
}

func.func @gather() -> tensor<1xf32> {
  %t = graph.constant dense<1.0> : tensor<2xf32>
  %i = graph.constant dense<5> : tensor<1xi64>
  %0 = graph.gather %t, %i : tensor<2xf32>, tensor<1xi64> -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

func.func @division() -> tensor<2xi32> {
  %x = graph.constant dense<[1, 0]> : tensor<2xi32>
  %0 = graph.div %x, %x : tensor<2xi32>
  return %0 : tensor<2xi32>
}

func.func @expert() -> tensor<1x1x1xf32> {
  %x = graph.constant dense<1.0> : tensor<1x2xf32>
  %w = graph.constant dense<1.0> : tensor<2x1x2xf32>
  %e = graph.constant dense<-1> : tensor<1x1xi32>
  %0 = graph.expert_dot %x, %w, %e : tensor<1x2xf32>, tensor<2x1x2xf32>, tensor<1x1xi32> -> tensor<1x1x1xf32>
  return %0 : tensor<1x1x1xf32>
}

func.func @free() -> tensor<?xi32, #graph.dims<[N]>> {
  %0 = graph.iota dim 0 : tensor<?xi32, #graph.dims<[N]>>
  return %0 : tensor<?xi32, #graph.dims<[N]>>
}

func.func @other() -> tensor<f32> {
  %0 = arith.constant dense<1.0> : tensor<f32>
  return %0 : tensor<f32>
}

func.func @weight() -> tensor<2xf32> {
  %0 = graph.weight "w" : tensor<2xf32> from #graph.weight_source<file = 3, offset = 0, bytes = 8, dtype = "f32", shape = [2]>
  return %0 : tensor<2xf32>
}

func.func @write(%cache: !graph.kv_cache<layers = 1, heads = 1, dim = 2, page = 4, f32>) {
  %k = graph.constant dense<1.0> : tensor<1x1x2xf32>
  %slot = graph.constant dense<9> : tensor<1xi64>
  %0 = graph.cache_layer %cache layer 0 : !graph.kv_cache<layers = 1, heads = 1, dim = 2, page = 4, f32> -> !graph.kv_layer<layers = 1, heads = 1, dim = 2, page = 4, f32>
  %1 = graph.cache_write key %0, %k, %slot : !graph.kv_layer<layers = 1, heads = 1, dim = 2, page = 4, f32>, tensor<1x1x2xf32>, tensor<1xi64>
  return
}

func.func @unknown_type() -> tensor<2xf32> {
  %0 = graph.weight "w" : tensor<2xf32> from #graph.weight_source<file = 0, offset = 0, bytes = 8, dtype = "q9", shape = [2]>
  return %0 : tensor<2xf32>
}

func.func private @external() -> tensor<2xf32>
