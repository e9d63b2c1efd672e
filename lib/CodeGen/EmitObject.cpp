//===- EmitObject.cpp - CPU kernels as a shared library -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Kernels do not call each other, so they are shared out among the machine's cores;
// each part is translated, optimized and compiled in an LLVM context of its own, and
// lld makes one library of the parts.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitObject.h"

#include "lld/Common/Driver.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"

#include <mutex>
#include <thread>

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace mlsys;

static constexpr llvm::StringLiteral targetTriple = "x86_64-unknown-linux-gnu";

/// What LLVM calls an instruction set of Program.fbs. A named processor would have more instructions than
/// the runtime asks for, and a virtual machine may hide some.
static llvm::StringRef processorOf(const CpuTarget &target) {
  return target.vectorWidth == 16 ? "x86-64-v4" : "x86-64-v3";
}

static std::string featuresOf(const CpuTarget &target) {
  llvm::SmallVector<llvm::StringRef> features;
  if (target.bf16Dot)
    features.append({"+avx512bf16", "+avx512vnni"});
  if (target.amx)
    features.append({"+amx-tile", "+amx-bf16", "+amx-int8"});
  if (target.vectorWidth == 16)
    features.push_back("-prefer-256-bit");
  return llvm::join(features, ",");
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> makeMachine(const CpuTarget &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  std::string message;
  llvm::Triple triple(targetTriple);
  const llvm::Target *known = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!known)
    return llvm::createStringError("LLVM has no code generator for x86-64: " + message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      known->createTargetMachine(triple, processorOf(target), featuresOf(target), options,
                                 llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

/// The LLVM module of a part of the kernels.
static llvm::Expected<std::unique_ptr<llvm::Module>>
translate(ModuleOp module, llvm::LLVMContext &context, const CpuTarget &target,
          llvm::TargetMachine &machine) {
  std::unique_ptr<llvm::Module> result =
      translateModuleToLLVMIR(module, context, "kernels", /*disableVerification=*/true);
  if (!result)
    return llvm::createStringError("the kernels cannot be expressed in LLVM IR");
  result->setTargetTriple(llvm::Triple(targetTriple));
  result->setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : *result) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", processorOf(target));
    function.addFnAttr("target-features", featuresOf(target));
    if (target.amx)
      function.addFnAttr("tune-cpu", "sapphirerapids");
    if (target.vectorWidth == 16)
      function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  return std::move(result);
}

/// Kernels are vectorised and unrolled already.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager callGraph;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
}

/// Object code of a part of the kernels.
static llvm::Error compile(ModuleOp part, const CpuTarget &target,
                           llvm::SmallVectorImpl<char> &object) {
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  auto module = translate(part, context, target, **machine);
  if (!module)
    return module.takeError();
  optimize(**module, **machine);
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile,
                                      /*DisableVerify=*/true))
    return llvm::createStringError("LLVM cannot write object code for x86-64");
  passes.run(**module);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Linking
//===----------------------------------------------------------------------===//

namespace {
/// A folder that goes away with what is in it.
struct TemporaryFolder {
  llvm::SmallString<128> path;
  std::error_code error;
  TemporaryFolder() { error = llvm::sys::fs::createUniqueDirectory("mlsys", path); }
  ~TemporaryFolder() {
    if (!error)
      llvm::sys::fs::remove_directories(path);
  }
  std::string file(llvm::StringRef name) const {
    llvm::SmallString<128> full(path);
    llvm::sys::path::append(full, name);
    return std::string(full);
  }
};
} // namespace

static llvm::Error writeFile(const std::string &path, llvm::ArrayRef<char> bytes) {
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error) {
    stream.write(bytes.data(), bytes.size());
    stream.close();
    error = stream.error();
    stream.clear_error();
  }
  if (error)
    return llvm::createStringError("cannot write '" + path + "': " + error.message());
  return llvm::Error::success();
}

static llvm::Expected<std::vector<uint8_t>>
link(llvm::ArrayRef<llvm::SmallVector<char, 0>> objects) {
  TemporaryFolder folder;
  if (folder.error)
    return llvm::createStringError("cannot make a temporary folder: " + folder.error.message());
  std::string library = folder.file("kernels.so");
  std::vector<std::string> storage = {"ld.lld", "-shared", "--build-id=none", "-Bsymbolic",
                                      "--threads=1", "-o", library};
  for (auto [index, object] : llvm::enumerate(objects)) {
    storage.push_back(folder.file("part" + std::to_string(index) + ".o"));
    if (llvm::Error error = writeFile(storage.back(), object))
      return std::move(error);
  }
  std::vector<const char *> arguments;
  for (const std::string &argument : storage)
    arguments.push_back(argument.c_str());
  // lld keeps its state in globals.
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::DriverDef drivers[] = {{lld::Gnu, &lld::elf::link}};
  if (lld::lldMain(arguments, stream, stream, drivers).retCode != 0)
    return llvm::createStringError("lld cannot link the kernels: " + messages);
  auto buffer = llvm::MemoryBuffer::getFile(library, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError("cannot read '" + library + "': " + buffer.getError().message());
  return std::vector<uint8_t>((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

static void registerTranslations(ModuleOp module) {
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
}

/// Shares the kernels out, the largest first, each to the part with the least work;
/// what kernels call goes to every part.
static std::vector<OwningOpRef<ModuleOp>> split(ModuleOp module, unsigned parts) {
  std::vector<std::pair<int64_t, LLVM::LLVMFuncOp>> kernels;
  std::vector<Operation *> shared;
  for (Operation &op : *module.getBody()) {
    auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
    if (!function || function.isExternal() || function.isPrivate() ||
        function.getLinkage() != LLVM::Linkage::External) {
      shared.push_back(&op);
      continue;
    }
    int64_t size = 0;
    function.walk([&](Operation *) { ++size; });
    kernels.emplace_back(size, function);
  }
  llvm::sort(kernels, [](auto &a, auto &b) {
    return a.first != b.first ? a.first > b.first : a.second.getName() < b.second.getName();
  });
  parts = std::max<size_t>(1, std::min<size_t>(parts, kernels.size()));
  std::vector<OwningOpRef<ModuleOp>> result;
  for (unsigned part = 0; part < parts; ++part) {
    result.push_back(ModuleOp::create(module.getLoc()));
    for (Operation *op : shared)
      result.back()->push_back(op->clone());
  }
  std::vector<int64_t> work(parts);
  for (auto &[size, function] : kernels) {
    size_t part = llvm::min_element(work) - work.begin();
    work[part] += size;
    result[part]->push_back(function->clone());
  }
  return result;
}

llvm::Expected<std::vector<uint8_t>> mlsys::emitSharedObject(ModuleOp module,
                                                             const CpuTarget &target) {
  registerTranslations(module);
  std::vector<OwningOpRef<ModuleOp>> parts =
      split(module, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<llvm::SmallVector<char, 0>> objects(parts.size());
  std::vector<std::string> errors(parts.size());
  auto work = [&](size_t part) {
    if (llvm::Error error = compile(*parts[part], target, objects[part]))
      errors[part] = llvm::toString(std::move(error));
  };
  std::vector<std::thread> threads;
  for (size_t part = 1; part < parts.size(); ++part)
    threads.emplace_back(work, part);
  work(0);
  for (std::thread &thread : threads)
    thread.join();
  for (const std::string &error : errors)
    if (!error.empty())
      return llvm::createStringError(error);
  return link(objects);
}

llvm::Expected<std::string> mlsys::emitLLVMText(ModuleOp module, const CpuTarget &target) {
  registerTranslations(module);
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  auto result = translate(module, context, target, **machine);
  if (!result)
    return result.takeError();
  std::string text;
  llvm::raw_string_ostream stream(text);
  (*result)->print(stream, nullptr);
  return text;
}
