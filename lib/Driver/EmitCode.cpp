//===- EmitCode.cpp - Object code of a target -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "EmitCode.h"

#include "mlsys/CodeGen/EmitCuda.h"
#include "mlsys/CodeGen/EmitObject.h"
#include "mlsys/CodeGen/FusionLowering.h"
#include "mlsys/IR/Kernel.h"

#include "runtime/DeviceKernels.h"

using namespace mlir;
using namespace mlsys;

CpuTarget mlsys::instructionSetOf(const CompileTarget &target) {
  return target.variant.empty() ? CpuTarget::host() : *CpuTarget::get(target.variant);
}

llvm::Error mlsys::emitCpuCode(Compilation &compilation, ModuleOp module,
                               const CompileTarget &target, program::TargetProgramT &program) {
  if (program.kernels.empty())
    return llvm::Error::success();
  if (!findCode(module))
    if (llvm::Error error = compilation.runStage(Stage::Emit, module, target))
      return error;
  CpuTarget cpu = instructionSetOf(target);
  auto library = std::make_unique<program::CpuLibraryT>();
  library->isa = cpu.isa;
  llvm::Error emission = compilation.collect([&]() -> LogicalResult {
    llvm::Expected<std::vector<uint8_t>> object = emitSharedObject(findCode(module), cpu);
    if (!object)
      return module.emitError() << llvm::toString(object.takeError());
    library->data = std::move(*object);
    return success();
  });
  if (emission)
    return emission;
  program.cpu_libraries.push_back(std::move(library));
  return llvm::Error::success();
}

llvm::Error mlsys::emitCudaText(Compilation &compilation, ModuleOp module,
                                program::TargetProgramT &program) {
  return compilation.collect([&]() -> LogicalResult {
    SymbolTable symbols(module);
    for (auto &kernel : program.kernels) {
      auto function = symbols.lookup<kernel::FuncOp>(kernel->name);
      FailureOr<std::string> text = emitCuda(function, getBlockThreads(function, module));
      if (failed(text))
        return failure();
      kernel->cuda_text = std::move(*text);
    }
    rt::addRuntimeKernels(program);
    return success();
  });
}
