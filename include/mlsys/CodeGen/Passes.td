//===- Passes.td - The passes of lib/CodeGen -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_CODEGEN_PASSES_TD
#define MLSYS_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanMemory : Pass<"mlsys-plan-memory", "::mlir::func::FuncOp"> {
  let summary = "Give temporary buffers slots of the arena";
  let description = [{
    A `kernel.alloc` lives from the first launch that uses it to the last. Buffers
    whose lives do not overlap may share a slot, whose size at run time is that of its largest
    buffer. Buffers are placed from the largest to the smallest, symbols at
    their hints, each into the smallest slot that is free during its life. Buffers
    that no launch uses disappear.

    ```mlir
    %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]>
    // becomes
    %a = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]> slot 0
    ```
  }];
  let statistics = [
    Statistic<"numBuffers", "buffers", "Number of temporary buffers">,
    Statistic<"numSlots", "slots", "Number of slots">
  ];
  let dependentDialects = ["::mlsys::kernel::KernelDialect"];
}

def LowerToKernel : Pass<"mlsys-lower-to-kernel", "::mlir::ModuleOp"> {
  let summary = "Turn fusions into kernels and functions into launches";
  let description = [{
    Every `graph.fusion` becomes a launch of a `kernel.func`; fusions of equal
    structure share one. A function's arguments become flat buffers with the
    attributes `graph.name`, `graph.role` and `graph.dims` (a KV cache: bytes, with
    `graph.type`); its results become trailing arguments with `graph.result`.

    ```mlir
    func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>},
                 %y: memref<?xf32> {graph.dims = #graph.dims<[4]>, graph.result}) {
      kernel.launch @loop_0(%x, %y) writes [1] grid ... symbols ... : ...
      return
    }
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"cpu\"", "cpu or cuda">,
    Option<"isa", "isa", "std::string", /*default=*/"\"\"",
           "Instruction set of the CPU, as in Program.fbs; that of this machine when empty">,
    Option<"arch", "arch", "std::string", /*default=*/"\"\"",
           "GPU that kernels are planned for, such as sm_90a; sm_80, which all run, when empty">,
    Option<"threads", "threads", "int64_t", /*default=*/"0",
           "Worker threads to plan for; 0: those of this machine, 2 with isa">,
    Option<"tiles", "tiles", "std::string", /*default=*/"\"\"",
           "File with measured tile sizes, as mlsys tune writes it">,
    Option<"candidate", "candidate", "int64_t", /*default=*/"0",
           "Which variation of the tile sizes to try; 0: none">,
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "Kernels made">,
    Statistic<"numShared", "shared", "Launches of a kernel that was made before">,
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect", "::mlir::math::MathDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::amx::AMXDialect",
                           "::mlir::x86vector::X86VectorDialect",
                           "::mlsys::kernel::KernelDialect"];
}

def LowerToLLVM : Pass<"mlsys-lower-to-llvm", "::mlir::ModuleOp"> {
  let summary = "Turn CPU kernels into functions of the LLVM dialect";
  let description = [{
    Every `kernel.func` of target "cpu" becomes
    `void NAME(void *const *buffers, const int64_t *symbols, void *scratch, int64_t begin,
    int64_t end)`. Functions that launch kernels are left out: the runtime runs them
    from the program file.
  }];
  let options = [
    Option<"isa", "isa", "std::string", /*default=*/"\"\"",
           "Instruction set of the CPU, as in Program.fbs; that of this machine when empty">,
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect",
                           "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def ApproximateMath : Pass<"mlsys-approximate-math", "::mlir::func::FuncOp"> {
  let summary = "Write functions of f32 as polynomials";
  let description = [{
    `exp`, `log`, `tanh`, `erf`, `sin` and `cos` of f32, of vectors as of elements. Sines and
    cosines of angles beyond 65536 are left to the C library, which computes them element by element;
    other functions and types stay. docs/Numerics.md states the errors. Maxima and minima of f32 become
    selections, for which x86 has instructions.
  }];
  let options = [Option<"avx512", "avx512", "bool", "false",
                        "Use instructions of AVX-512">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

#endif // MLSYS_CODEGEN_PASSES_TD
