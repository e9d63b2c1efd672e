// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=amx -mlsys-lower-to-llvm=isa=amx | mlsys-translate --to-llvm --isa amx | FileCheck %s --check-prefix=AMX
// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=avx512bf16 -mlsys-lower-to-llvm=isa=avx512bf16 | mlsys-translate --to-llvm --isa avx512bf16 | FileCheck %s --check-prefix=BF16
// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=x86-64-v4 -mlsys-lower-to-llvm=isa=x86-64-v4 | mlsys-translate --to-llvm --isa x86-64-v4 | FileCheck %s --check-prefix=V4
// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=x86-64-v3 -mlsys-lower-to-llvm=isa=x86-64-v3 | mlsys-translate --to-llvm --isa x86-64-v3 | FileCheck %s --check-prefix=V3
// RUN: not mlsys-translate --to-llvm --isa sse2 /dev/null 2>&1 | FileCheck %s --check-prefix=ISA
// RUN: mlsys-opt %s -mlsys-lower-to-kernel=isa=x86-64-v3 | not mlsys-translate --to-llvm 2>&1 | FileCheck %s --check-prefix=STAGE
//
// A product of bf16 matrices by the best instruction that each instruction set has.

// AMX-LABEL:  define void @dot_0(ptr
// AMX:          call x86_amx @llvm.x86.tdpbf16ps.internal
// BF16-LABEL: define void @dot_0(ptr
// BF16:         call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512
// V4-LABEL:   define void @dot_0(ptr
// V4-NOT:       dpbf16ps
// V4:           call <16 x float> @llvm.fmuladd.v16f32
// V3-LABEL:   define void @dot_0(ptr
// V3-NOT:       <16 x float>
// V3:           call <8 x float> @llvm.fmuladd.v8f32
// ISA:        error: 'sse2' is no instruction set of a CPU
// STAGE:      error: the kernels cannot be expressed in LLVM IR
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
