// RUN: mlsys-translate --interpret %s | FileCheck %s
// RUN: mlsys-translate --interpret %s --function step --cache-pages 3 \
// RUN:   --input 'dense<[[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, -1.0]], [[2.0, 1.0], [0.0, 0.0]]]> : tensor<3x2x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 2.0]], [[0.0, 1.0]], [[-1.0, 0.5]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[4, 5, 0]> : tensor<3xi64>' --input 'dense<[0, 3]> : tensor<2xi32>' \
// RUN:   --input 'dense<3> : tensor<1xi32>' --input 'dense<[[2, 0]]> : tensor<1x2xi32>' \
// RUN:   | FileCheck %s --check-prefix=STEP
// RUN: mlsys-translate --interpret %s --function step_biased --cache-pages 3 \
// RUN:   --input 'dense<[[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, -1.0]], [[2.0, 1.0], [0.0, 0.0]]]> : tensor<3x2x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 2.0]], [[0.0, 1.0]], [[-1.0, 0.5]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[4, 5, 0]> : tensor<3xi64>' --input 'dense<[0, 3]> : tensor<2xi32>' \
// RUN:   --input 'dense<3> : tensor<1xi32>' --input 'dense<[[2, 0]]> : tensor<1x2xi32>' \
// RUN:   | FileCheck %s --check-prefix=BIASED
// RUN: mlsys-translate --interpret %s --function step_window --cache-pages 3 \
// RUN:   --input 'dense<[[[2.0, 1.0], [0.0, 0.0]]]> : tensor<1x2x2xf32>' --input 'dense<[[[-1.0, 0.5]]]> : tensor<1x1x2xf32>' \
// RUN:   --input 'dense<[[[3.0, 30.0]]]> : tensor<1x1x2xf32>' --input 'dense<[0]> : tensor<1xi64>' \
// RUN:   --input 'dense<[0, 1]> : tensor<2xi32>' --input 'dense<3> : tensor<1xi32>' --input 'dense<[[-1, 0]]> : tensor<1x2xi32>' \
// RUN:   | FileCheck %s --check-prefix=WINDOW
// RUN: mlsys-translate --interpret %s --function step_all --cache-pages 3 \
// RUN:   --input 'dense<[[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, -1.0]], [[2.0, 1.0], [0.0, 0.0]]]> : tensor<3x2x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 2.0]], [[0.0, 1.0]], [[-1.0, 0.5]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]]> : tensor<3x1x2xf32>' \
// RUN:   --input 'dense<[4, 5, 0]> : tensor<3xi64>' --input 'dense<[0, 3]> : tensor<2xi32>' \
// RUN:   --input 'dense<3> : tensor<1xi32>' --input 'dense<[[2, 0]]> : tensor<1x2xi32>' \
// RUN:   | FileCheck %s --check-prefix=ALL
//
// Expected values: softmax(scale * q k^T) v in Python.

func.func private @operands() -> (tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>) {
  %q = graph.constant dense<[[[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, -1.0]], [[2.0, 1.0], [0.0, 0.0]]]]> : tensor<1x3x2x2xf32>
  %k = graph.constant dense<[[[[1.0, 2.0]], [[0.0, 1.0]], [[-1.0, 0.5]]]]> : tensor<1x3x1x2xf32>
  %v = graph.constant dense<[[[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]]]> : tensor<1x3x1x2xf32>
  return %q, %k, %v : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>
}

// CHECK-LABEL: @whole
func.func @whole() -> (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) {
  %q, %k, %v = call @operands() : () -> (tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>)
  %0 = graph.attention %q, %k, %v scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  %1 = graph.attention %q, %k, %v causal scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1.67984 16.7984 1.7462 17.462 1.7118 17.118 1.9204 19.204 1.2727 12.727 2 20
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1 10 1 10 1.37754 13.7754 1.5 15 1.2727 12.727 2 20
  return %0, %1 : tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>
}

// CHECK-LABEL: @scores
func.func @scores() -> (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) {
  %q, %k, %v = call @operands() : () -> (tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>)
  %0 = graph.attention %q, %k, %v causal window 2 scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  %1 = graph.attention %q, %k, %v causal softcap 0.5 scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1 10 1 10 1.37754 13.7754 1.5 15 2.2227 22.227 2.5 25
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1 10 1 10 1.44485 14.4485 1.5 15 1.72991 17.2991 2 20
  return %0, %1 : tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>
}

// CHECK-LABEL: @biased
func.func @biased() -> (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) {
  %q, %k, %v = call @operands() : () -> (tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>)
  %0 = graph.attention %q, %k, %v causal slopes [0.5, 0.25] scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  %1 = graph.attention %q, %k, %v causal window 2 softcap 0.5 slopes [0.5, 0.25] scale 0.5 : tensor<1x3x2x2xf32>, tensor<1x3x1x2xf32>
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1 10 1 10 1.5 15 1.56218 15.6218 1.46406 14.6406 2.16495 21.6495
  // CHECK-NEXT: f32 [1, 3, 2, 2]: 1 10 1 10 1.56917 15.6917 1.56218 15.6218 2.41742 24.1742 2.56218 25.6218
  return %0, %1 : tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>
}

// The same through the cache, over pages 2 and 0 of two tokens each.
// STEP: @step
// STEP-NEXT: f32 [3, 2, 2]: 1 10 1 10 1.37754 13.7754 1.5 15 1.2727 12.727 2 20
!cache = !graph.kv_cache<layers = 2, heads = 1, dim = 2, page = 2, f32>
!layer = !graph.kv_layer<layers = 2, heads = 1, dim = 2, page = 2, f32>
!q = tensor<?x2x2xf32, #graph.dims<[T, 2, 2]>>
!kv = tensor<?x1x2xf32, #graph.dims<[T, 1, 2]>>
func.func @step(%q: !q, %k: !kv, %v: !kv, %slots: tensor<?xi64, #graph.dims<[T]>>, %cache: !cache,
                %start: tensor<?xi32, #graph.dims<["R + 1"]>>, %context: tensor<?xi32, #graph.dims<[R]>>,
                %table: tensor<?x?xi32, #graph.dims<[R, P]>>) -> !q {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table scale 0.5
     : !q, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>,
       tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !q
}

// BIASED: f32 [3, 2, 2]: 1 10 1 10 1.5 15 1.56218 15.6218 1.46406 14.6406 2.16495 21.6495
func.func @step_biased(%q: !q, %k: !kv, %v: !kv, %slots: tensor<?xi64, #graph.dims<[T]>>, %cache: !cache,
                %start: tensor<?xi32, #graph.dims<["R + 1"]>>, %context: tensor<?xi32, #graph.dims<[R]>>,
                %table: tensor<?x?xi32, #graph.dims<[R, P]>>) -> !q {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table slopes [0.5, 0.25] scale 0.5
     : !q, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>,
       tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !q
}

// A window of one token: the page of the tokens before is gone.
// WINDOW: f32 [1, 2, 2]: 3 30 3 30
func.func @step_window(%q: !q, %k: !kv, %v: !kv, %slots: tensor<?xi64, #graph.dims<[T]>>, %cache: !cache,
                %start: tensor<?xi32, #graph.dims<["R + 1"]>>, %context: tensor<?xi32, #graph.dims<[R]>>,
                %table: tensor<?x?xi32, #graph.dims<[R, P]>>) -> !q {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table window 1 scale 0.5
     : !q, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>,
       tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !q
}

// An encoder: the values of the whole attention above.
// ALL: f32 [3, 2, 2]: 1.67984 16.7984 1.7462 17.462 1.7118 17.118 1.9204 19.204 1.2727 12.727 2 20
func.func @step_all(%q: !q, %k: !kv, %v: !kv, %slots: tensor<?xi64, #graph.dims<[T]>>, %cache: !cache,
                %start: tensor<?xi32, #graph.dims<["R + 1"]>>, %context: tensor<?xi32, #graph.dims<[R]>>,
                %table: tensor<?x?xi32, #graph.dims<[R, P]>>) -> !q {
  %l0 = graph.cache_layer %cache layer 1 : !cache -> !layer
  %l1 = graph.cache_write key %l0, %k, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %l2 = graph.cache_write value %l1, %v, %slots : !layer, !kv, tensor<?xi64, #graph.dims<[T]>>
  %0 = graph.paged_attention %q, %l2, %start, %context, %table bidirectional scale 0.5
     : !q, !layer, tensor<?xi32, #graph.dims<["R + 1"]>>, tensor<?xi32, #graph.dims<[R]>>,
       tensor<?x?xi32, #graph.dims<[R, P]>>
  return %0 : !q
}
