//===- CudaTarget.cpp - What code generation knows of a GPU ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/CudaTarget.h"

#include "runtime/CudaArch.h"

using namespace mlsys;

CudaTarget CudaTarget::get(llvm::StringRef arch) {
  CudaTarget target;
  target.family = rt::cudaFamily(std::string_view(arch));
  if (target.isHopper()) {
    target.multiprocessors = 132;
    target.blockSharedBytes = 227 << 10;
    target.sharedBytes = 228 << 10;
  }
  return target;
}
