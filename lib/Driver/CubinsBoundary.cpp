//===- CubinsBoundary.cpp - CUDA machine code by NVRTC --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "EmitCode.h"

#include "runtime/KernelCache.h"
#include "runtime/Nvrtc.h"

using namespace mlsys;

std::string mlsys::getCubinCompiler() {
  try {
    std::shared_ptr<rt::Nvrtc> nvrtc = rt::Nvrtc::open();
    return nvrtc ? nvrtc->version() : "";
  } catch (const std::exception &) {
    return "";
  }
}

llvm::Error mlsys::emitCubins(program::TargetProgramT &program, const std::string &arch,
                              const std::function<void(const std::string &)> &progress) {
  try {
    std::vector<rt::KernelText> texts;
    for (const auto &kernel : program.kernels)
      texts.push_back({kernel->name, kernel->cuda_text});
    if (progress)
      progress("compiling " + std::to_string(texts.size()) + " kernels for " + arch);
    std::shared_ptr<rt::Nvrtc> nvrtc = rt::Nvrtc::openOrThrow();
    rt::KernelCache cache;
    std::vector<rt::CompiledKernel> compiled = rt::compileKernels(*nvrtc, cache, texts, arch);
    for (size_t i = 0; i < compiled.size(); ++i) {
      auto cubin = std::make_unique<program::CubinT>();
      cubin->arch = arch;
      cubin->registers = compiled[i].registers;
      cubin->spill_bytes = compiled[i].spillBytes;
      cubin->shared_bytes = compiled[i].sharedBytes;
      cubin->data.assign(compiled[i].cubin.begin(), compiled[i].cubin.end());
      program.kernels[i]->cubins.push_back(std::move(cubin));
    }
    return llvm::Error::success();
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
}
