//===- WriteCuda.cpp - The CUDA text of a module's kernels ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitCuda.h"
#include "mlsys/Driver/Translations.h"

using namespace mlir;
using namespace mlsys;

LogicalResult mlsys::writeCuda(ModuleOp module, llvm::raw_ostream &os) {
  for (auto function : module.getOps<kernel::FuncOp>()) {
    if (function.isCpu())
      return function.emitOpError("is a kernel for the CPU, which has no CUDA text");
    FailureOr<std::string> text = emitCuda(function, getBlockThreads(function, module));
    if (failed(text))
      return failure();
    os << "// " << function.getSymName() << "\n" << *text << "\n";
  }
  return success();
}
