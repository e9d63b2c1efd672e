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
  // All kernels are tried, so that all errors are seen.
  LogicalResult result = success();
  for (auto function : module.getOps<kernel::FuncOp>()) {
    if (function.isCpu()) {
      result = function.emitOpError("is a kernel for the CPU, which has no CUDA text");
      continue;
    }
    FailureOr<std::string> text = emitCuda(function, getBlockThreads(function, module));
    if (failed(text))
      result = failure();
    else
      os << "// " << function.getSymName() << "\n" << *text << "\n";
  }
  return result;
}
