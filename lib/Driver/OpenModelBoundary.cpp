//===- OpenModelBoundary.cpp - Models compiled to be run at once ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Compiler.h"

#include "runtime/CudaDevice.h"
#include "runtime/MappedFile.h"
#include "runtime/Program.h"

#include <chrono>
#include <link.h>
#include <malloc.h>

using namespace mlsys;

/// Whether the dynamic linker writes into the code of an object.
static bool hasTextRelocations(const dl_phdr_info &object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr) &segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_DYNAMIC)
      continue;
    const auto *entry = reinterpret_cast<const ElfW(Dyn) *>(object.dlpi_addr + segment.p_vaddr);
    for (; entry->d_tag != DT_NULL; ++entry)
      if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL))
        return true;
  }
  return false;
}

/// Gives back the memory of the compiler, about a hundred megabytes: what it has freed, and the
/// code of LLVM and MLIR, which the system reads from their files again when it is wanted.
static void releaseCompiler() {
  auto releaseCode = [](dl_phdr_info *object, size_t, void *) {
    llvm::StringRef name = object->dlpi_name;
    if ((!name.contains("libLLVM") && !name.contains("libMLIR")) || hasTextRelocations(*object))
      return 0;
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const ElfW(Phdr) &segment = object->dlpi_phdr[i];
      if (segment.p_type == PT_LOAD && segment.p_flags & PF_X && !(segment.p_flags & PF_W))
        rt::MappedFile::release({reinterpret_cast<const std::byte *>(object->dlpi_addr) + segment.p_vaddr,
                                 size_t(segment.p_filesz)});
    }
    return 0;
  };
  ::dl_iterate_phdr(releaseCode, nullptr);
  ::malloc_trim(0);
}

CompileTarget mlsys::getDeviceTarget(llvm::StringRef device) {
  // The kernels are compiled when they are loaded.
  if (device.consume_front("host-cuda"))
    return {"cuda", device.ltrim(':').str(), /*cubins=*/false};
  bool any = device == "cuda" || (device == "auto" && rt::cudaAvailable());
  if (!any && !device.consume_front("cuda:"))
    return {"cpu", ""};
  size_t index = 0;
  std::vector<rt::GpuInfo> gpus = rt::listGpus();
  if ((any || !device.getAsInteger(10, index)) && index < gpus.size())
    return {"cuda", gpus[index].arch(), /*cubins=*/false};
  // Opening the device says what is wrong.
  return {"cuda", "", /*cubins=*/false};
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
  try {
    // Before the work of compiling for it.
    rt::checkCudaDevice(options.device.device);
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
  request.targets = {getDeviceTarget(options.device.device)};
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
    compiled->program.reset();
    releaseCompiler();
    OpenedModel model{rt::openProgram(std::move(program), options), std::move(compiled->warnings)};
    model.handle.compileSeconds = seconds;
    return model;
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
}
