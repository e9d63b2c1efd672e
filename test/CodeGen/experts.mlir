// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" -o %t
// RUN: FileCheck %s --check-prefix=LAUNCH < %t
// RUN: mlsys-translate --to-cuda %t | FileCheck %s
// RUN: mlsys-opt %s -mlsys-lower-to-kernel="isa=avx512bf16 threads=2" | FileCheck %s --check-prefix=CPU
// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=amx -mlsys-lower-to-llvm=isa=amx | mlsys-translate --to-llvm --isa amx | FileCheck %s --check-prefix=AMX
//
// Products with experts: kernels work for one expert and list its rows.

// All of the 8 experts' matrices of 96 x 64 bf16 are read, and 256 * T + 8 * T bytes; 384 * T are written.
// LAUNCH-DAG: #[[BLOCKS:.*]] = affine_map<()[s0] -> (2, 8, 1)>
// LAUNCH-DAG: #[[ALL:.*]] = affine_map<()[s0] -> (s0 * 520 + 196608)>
// LAUNCH-DAG: #[[ROWS:.*]] = affine_map<() -> (6, 2, 1)>
// LAUNCH-DAG: #[[CHOSEN:.*]] = affine_map<() -> (49672)>
// CPU-DAG: #[[TASKS:.*]] = affine_map<()[s0] -> (24)>
// LAUNCH-LABEL: func.func @prefill
// LAUNCH:         kernel.launch @dot_0({{.*}}) writes [4] grid #[[BLOCKS]] {{.*}} block [128, 1, 1] {bytes = #[[ALL]], {{.*}}label = "expert_dot*2"
// CHECK-LABEL: // dot_0
// CHECK:       #include "mlsys/experts.cuh"
// CHECK:         [[SLOT:v[0-9]+]] = (i64)block_y();
// CHECK:         [[LIST:v[0-9]+]] = shared_memory<i32>(
// CHECK:         collect_rows(a2, {{.*}}, [[SLOT]], {{.*}}, [[LIST]], [[ROWS:[0-9]+]])
// CHECK:         for (
// CHECK:           collect_rows(
// CHECK:           matmul<MatmulConfig<[[ROWS]], {{[0-9, ]+}}>, bf16>(
// CHECK-NEXT:          GatheredRows<bf16>{a0, {{.*}}, [[LIST]], 2},
// CHECK-NEXT:          weights((const bf16 *)a1 + [[OFFSET:.*]], (const bf16 *)a3 + [[OFFSET]],
// CHECK:               [[LIST]][
// A task is an expert and a panel of columns.
// CPU-LABEL: func.func @prefill
// CPU:         kernel.constant "gate" from {{.*}} shape [8, 96, 64] panels 32 x 2
// CPU:         kernel.launch @dot_0({{.*}}) writes [4] grid #[[TASKS]] {{.*}}dynamic
// AMX-LABEL: define void @dot_0(ptr
// AMX:         call x86_amx @llvm.x86.tdpbf16ps.internal
func.func @prefill(%x: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %i: tensor<?x2xi32, #graph.dims<[T, 2]>>) -> tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
    attributes {graph.symbols = [#graph.symbol<"T", min = 1, max = 512, hint = 128>]} {
  %v = graph.weight "gate" : tensor<8x96x64xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [8, 96, 64]>
  %w = graph.weight "up" : tensor<8x96x64xbf16> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [8, 96, 64]>
  %0 = graph.fusion "dot"(%x, %v, %w, %i) : (tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<8x96x64xbf16>, tensor<8x96x64xbf16>, tensor<?x2xi32, #graph.dims<[T, 2]>>) -> tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>> {
  ^bb0(%a: tensor<?x64xbf16, #graph.dims<[T, 64]>>, %b: tensor<8x96x64xbf16>, %c: tensor<8x96x64xbf16>, %d: tensor<?x2xi32, #graph.dims<[T, 2]>>):
    %1 = graph.expert_dot %a, %b, %d : tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<8x96x64xbf16>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
    %2 = graph.expert_dot %a, %c, %d : tensor<?x64xbf16, #graph.dims<[T, 64]>>, tensor<8x96x64xbf16>, tensor<?x2xi32, #graph.dims<[T, 2]>> -> tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
    %3 = graph.mul %1, %2 : tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
    graph.yield %3 : tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
  }
  return %0 : tensor<?x2x96xbf16, #graph.dims<[T, 2, 96]>>
}

// With fewer rows than experts a block or task stands for a row; two experts' matrices are read.
// LAUNCH-LABEL: func.func @decode
// LAUNCH:         kernel.launch @dot_1({{.*}}) writes [4] grid #[[ROWS]] {{.*}} block [64, 1, 1] {bytes = #[[CHOSEN]],
// CHECK-LABEL: // dot_1
// CHECK:         [[ROW:v[0-9]+]] = (i64)block_y();
// CHECK:         a2[[[ROW]]]
// CHECK:         gemv_mma<GemvMmaConfig<1, 1, 1, 2, 2>, bf16>(
// CHECK-NEXT:          GatheredRows<bf16>{a0,
// CPU-LABEL: func.func @decode
// CPU:         kernel.launch @dot_1(
func.func @decode(%x: tensor<1x64xbf16>, %i: tensor<1x2xi32>) -> tensor<1x2x96xbf16> {
  %v = graph.weight "gate" : tensor<8x96x64xbf16> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [8, 96, 64]>
  %w = graph.weight "up" : tensor<8x96x64xbf16> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [8, 96, 64]>
  %0 = graph.fusion "dot"(%x, %v, %w, %i) : (tensor<1x64xbf16>, tensor<8x96x64xbf16>, tensor<8x96x64xbf16>, tensor<1x2xi32>) -> tensor<1x2x96xbf16> {
  ^bb0(%a: tensor<1x64xbf16>, %b: tensor<8x96x64xbf16>, %c: tensor<8x96x64xbf16>, %d: tensor<1x2xi32>):
    %1 = graph.expert_dot %a, %b, %d : tensor<1x64xbf16>, tensor<8x96x64xbf16>, tensor<1x2xi32> -> tensor<1x2x96xbf16>
    %2 = graph.expert_dot %a, %c, %d : tensor<1x64xbf16>, tensor<8x96x64xbf16>, tensor<1x2xi32> -> tensor<1x2x96xbf16>
    %3 = graph.mul %1, %2 : tensor<1x2x96xbf16>
    graph.yield %3 : tensor<1x2x96xbf16>
  }
  return %0 : tensor<1x2x96xbf16>
}
