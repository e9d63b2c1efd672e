// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda arch=sm_90a" -o %t
// RUN: FileCheck %s --check-prefix=LAUNCH < %t
// RUN: mlsys-translate --to-cuda %t | FileCheck %s
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" | FileCheck %s --check-prefix=PORTABLE
//
// Attention for Hopper: which takes wgmma, its launch and its text. Other GPUs never do.

// PORTABLE-NOT: wgmma
// PORTABLE-NOT: tensor_maps

!cache = !graph.kv_cache<layers = 2, heads = 2, dim = 128, page = 64, bf16>
!layer = !graph.kv_layer<layers = 2, heads = 2, dim = 128, page = 64, bf16>
!small_cache = !graph.kv_cache<layers = 2, heads = 2, dim = 128, page = 4, bf16>
!small = !graph.kv_layer<layers = 2, heads = 2, dim = 128, page = 4, bf16>
!q = tensor<?x8x128xbf16, #graph.dims<[T, 8, 128]>>
!start = tensor<?xi32, #graph.dims<["R + 1"]>>
!context = tensor<?xi32, #graph.dims<[R]>>
!table = tensor<?x?xi32, #graph.dims<[R, P]>>

// LAUNCH-DAG: #[[GRID:.*]] = affine_map<()[s0, s1, s2] -> ((s0 * 4 + s1 * 127) floordiv 128, 2, 1)>
// LAUNCH-DAG: #[[PAGES:.*]] = affine_map<()[s0, s1, s2] -> (128, 64, 4, 1, 128, 8192, 65536)>
// LAUNCH-DAG: #[[TENSORS:.*]] = affine_map<()[s0] -> (64, s0, 2, 3, 128, 64, s0 * 128, 64, s0, 2, 3, 128, 64, s0 * 128)>

// Pages: one map of the layer's keys and values.
// LAUNCH-LABEL: func.func @pages
// LAUNCH:         kernel.launch @attention_0({{.*}}) writes [5] grid #[[GRID]] {{.*}} block [384, 1, 1]
// LAUNCH-SAME:      shared_bytes = 163912
// LAUNCH-SAME:      tensor_extents = #[[PAGES]], tensor_maps = array<i64: 1, 4, 64, 64, 1, 1>
// CHECK-LABEL: // attention_0
// CHECK:         #include "mlsys/attention_wgmma.cuh"
// CHECK:         __launch_bounds__(384, 1) attention_0(
// CHECK-SAME:      const __grid_constant__ tensor_map t0)
// CHECK:         pdl_wait();
// CHECK:         attention_prefill_wgmma<128, 64>((const bf16 *)a0, a5, t0, a2, a3, a4, {{.*}}, 8, 2, Scores<true, false>{
func.func @pages(%q: !q, %cache: !cache, %start: !start, %context: !context, %table: !table) -> !q
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>, #graph.symbol<"R", min = 1, max = 64, hint = 2>, #graph.symbol<"P", min = 1, max = 64, hint = 4>]} {
  %l = graph.cache_layer %cache layer 1 : !cache -> !layer
  %0 = graph.fusion "attention"(%q, %l, %start, %context, %table) : (!q, !layer, !start, !context, !table) -> !q {
  ^bb0(%a: !q, %b: !layer, %c: !start, %d: !context, %e: !table):
    %1 = graph.paged_attention %a, %b, %c, %d, %e window 700 scale 0.25 : !q, !layer, !start, !context, !table
    graph.yield %1 : !q
  }
  return %0 : !q
}

// Pages of 4 rows are no tiles of 8.
// CHECK-LABEL: // attention_1
// CHECK-NOT:     wgmma
// CHECK:         attention_prefill<128>(
func.func @small_pages(%q: !q, %cache: !small_cache, %start: !start, %context: !context, %table: !table) -> !q
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>, #graph.symbol<"R", min = 1, max = 64, hint = 2>, #graph.symbol<"P", min = 1, max = 64, hint = 4>]} {
  %l = graph.cache_layer %cache layer 1 : !small_cache -> !small
  %0 = graph.fusion "attention"(%q, %l, %start, %context, %table) : (!q, !small, !start, !context, !table) -> !q {
  ^bb0(%a: !q, %b: !small, %c: !start, %d: !context, %e: !table):
    %1 = graph.paged_attention %a, %b, %c, %d, %e scale 0.25 : !q, !small, !start, !context, !table
    graph.yield %1 : !q
  }
  return %0 : !q
}

!aq = tensor<3x?x4x64xf16, #graph.dims<[3, T, 4, 64]>>
!ak = tensor<3x?x2x64xf16, #graph.dims<[3, T, 2, 64]>>

// No cache: a map of the keys and one of the values.
// LAUNCH-LABEL: func.func @tensors
// LAUNCH:         kernel.launch @attention_2
// LAUNCH-SAME:      tensor_extents = #[[TENSORS]], tensor_maps = array<i64: 1, 4, 64, 128, 1, 1, 2, 4, 64, 128, 1, 1>
// CHECK-LABEL: // attention_2
// CHECK:         attention_plain_wgmma<64>((const f16 *)a0, Strides{{.*}}, a3, Strides{{.*}}, t0, t1,
func.func @tensors(%q: !aq, %k: !ak, %v: !ak) -> !aq
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 1024, hint = 64>]} {
  %0 = graph.fusion "attention"(%q, %k, %v) : (!aq, !ak, !ak) -> !aq {
  ^bb0(%a: !aq, %b: !ak, %c: !ak):
    %1 = graph.attention %a, %b, %c causal scale 0.3 : !aq, !ak
    graph.yield %1 : !aq
  }
  return %0 : !aq
}

!fq = tensor<3x8x4x64xf16>
!fk = tensor<3x8x2x64xf16>

// Few rows would leave most of a block idle. Slopes are in the type of the scores.
// CHECK-LABEL: // attention_3
// CHECK-NOT:     wgmma
// CHECK:         attention_plain<64>(
// CHECK:         Scores<false, false, HeadSlopes<1056964608u, 1048576000u, 1040187392u, 1031798784u>>{
func.func @few_queries(%q: !fq, %k: !fk, %v: !fk) -> !fq {
  %0 = graph.fusion "attention"(%q, %k, %v) : (!fq, !fk, !fk) -> !fq {
  ^bb0(%a: !fq, %b: !fk, %c: !fk):
    %1 = graph.attention %a, %b, %c causal slopes [0.5, 0.25, 0.125, 0.0625] scale 0.3 : !fq, !fk
    graph.yield %1 : !fq
  }
  return %0 : !fq
}
