//===- OpenModelBoundary.cpp - Models compiled to be run at once ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Compiler.h"

#include "runtime/CudaDriver.h"
#include "runtime/Program.h"

#include <chrono>

using namespace mlsys;

/// What to compile for in order to run on a device.
static CompileTarget targetOfDevice(llvm::StringRef device) {
  bool cuda = device == "host-cuda" || device.starts_with("cuda") ||
              (device == "auto" && rt::cudaAvailable());
  return CompileTarget{cuda ? "cuda" : "cpu", ""};
}

llvm::Expected<OpenedModel> mlsys::openModel(CompileRequest request,
                                             const rt::OpenOptions &options) {
  using Functions = CompileRequest::Functions;
  if (options.device.device == "reference") {
    llvm::Expected<rt::ModelHandle> handle = openReference(request, options.contextTokens);
    if (!handle)
      return handle.takeError();
    return OpenedModel{std::move(*handle), {}};
  }
  auto start = std::chrono::steady_clock::now();
  request.targets = {targetOfDevice(options.device.device)};
  // One request at a time.
  request.decodeBuckets = {1};
  request.functions = options.purpose == rt::Purpose::Tensors ? Functions::Plain : Functions::Steps;
  llvm::Expected<CompiledModel> compiled = compileModel(request);
  if (!compiled)
    return compiled.takeError();
  try {
    rt::LoadedProgram program =
        rt::LoadedProgram::fromBytes(packProgram(*compiled->program), ".");
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    OpenedModel model{rt::openProgram(std::move(program), options), std::move(compiled->warnings)};
    model.handle.compileSeconds = seconds;
    return model;
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
}
