//===- Compilation.cpp - One model on its way through the stages ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Compilation.h"

#include "mlsys/CodeGen/FusionLowering.h"
#include "mlsys/IR/Kernel.h"
#include "mlsys/IR/ProgramTypes.h"
#include "mlsys/Interpreter/Tensor.h"

#include "runtime/CudaArch.h"
#include "runtime/KernelCache.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

#include <fmt/format.h>

using namespace mlir;
using namespace mlsys;

/// The attribute of a module that names the model it was imported from.
static constexpr llvm::StringLiteral originAttrName = "graph.model";
/// The instruction set of code, and the name of its module.
static constexpr llvm::StringLiteral isaAttrName = "kernel.isa", codeName = "code";

static DialectRegistry makeRegistry() {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<graph::GraphDialect, kernel::KernelDialect>();
  return registry;
}

Compilation::Compilation(const CompileRequest &request) : request(request), context(makeRegistry()) {
  registerPasses();
  // Operations are named in messages; their IR is for --dump-dir.
  context.printOpOnDiagnostic(false);
  chosen = request.targets;
}

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

/// Where a diagnostic is, for a user: a file position or a name of the model; empty
/// when there is nothing to say.
static std::string locationText(Location loc) {
  std::string text;
  loc->walk([&](Location part) {
    if (auto file = dyn_cast<FileLineColLoc>(part))
      text = llvm::formatv("{0}:{1}:{2}", file.getFilename().getValue(), file.getLine(),
                           file.getColumn());
    else if (auto name = dyn_cast<NameLoc>(part))
      text = name.getName().str();
    return text.empty() ? WalkResult::advance() : WalkResult::interrupt();
  });
  return text;
}

static std::string diagnosticText(Diagnostic &diagnostic) {
  std::string where = locationText(diagnostic.getLocation());
  std::string text = (where.empty() ? "" : where + ": ") + diagnostic.str();
  for (Diagnostic &note : diagnostic.getNotes()) {
    std::string at = locationText(note.getLocation());
    text += "\n  note: " + (at.empty() ? "" : at + ": ") + note.str();
  }
  return text;
}

llvm::Error Compilation::collect(llvm::function_ref<LogicalResult()> work) {
  std::vector<std::string> errors;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      errors.push_back(diagnosticText(diagnostic));
    else if (diagnostic.getSeverity() == DiagnosticSeverity::Warning)
      warnings.push_back(diagnosticText(diagnostic));
    return success();
  });
  if (succeeded(work()))
    return llvm::Error::success();
  if (errors.empty())
    return llvm::createStringError("the compiler failed without saying why");
  // The first is the cause; what follows it usually follows from it.
  return llvm::createStringError(errors.front());
}

//===----------------------------------------------------------------------===//
// Input and output of IR
//===----------------------------------------------------------------------===//

std::string mlsys::printModule(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  stream << "\n";
  return text;
}

void Compilation::readOrigin() {
  auto origin = model.module->getOperation()->getAttrOfType<StringAttr>(originAttrName);
  if (!origin)
    return;
  ImportOptions options;
  // The weights are those of the IR.
  options.randomWeights = true;
  llvm::Expected<ImportedModel> imported = importModel(context, origin.getValue(), options);
  if (!imported) {
    warnings.push_back(request.model + " has no tokenizer: " + llvm::toString(imported.takeError()));
    return;
  }
  model.name = imported->name;
  model.architecture = imported->architecture;
  model.text = std::move(imported->text);
}

llvm::Error Compilation::readIr() {
  if (request.dtype || request.randomWeights)
    return llvm::createStringError("--dtype and --random-weights are for models; '" +
                                   request.model + "' is IR");
  llvm::Error error = collect([&] {
    model.module = parseSourceFile<ModuleOp>(request.model, ParserConfig(&context));
    return success(static_cast<bool>(model.module));
  });
  if (error)
    return error;
  initial = detectStage(*model.module);
  if (request.kvType != "auto" && initial >= Stage::Cache)
    return llvm::createStringError("--kv-type is for models without a KV cache; '" + request.model +
                                   "' has one already");
  model.name = llvm::sys::path::filename(request.model).str();
  model.architecture = "IR";
  if (auto files = model.module->getOperation()->getAttrOfType<ArrayAttr>(graph::weightFilesAttrName))
    for (Attribute file : files)
      model.weightFiles.push_back(cast<StringAttr>(file).getValue().str());
  // A weight may be used by several functions.
  llvm::DenseSet<Attribute> counted;
  bool typed = false;
  auto count = [&](Attribute source, int64_t elements, Type type) {
    std::optional<program::DType> dtype = dtypeOf(type);
    if (!counted.insert(source).second || !dtype)
      return;
    model.parameters += elements;
    if (!std::exchange(typed, true))
      model.dtype = *dtype;
  };
  model.module->walk([&](Operation *op) {
    if (auto weight = dyn_cast<graph::WeightOp>(op))
      count(weight.getSource(), weight.getType().getNumElements(), weight.getType().getElementType());
    else if (auto constant = dyn_cast<kernel::ConstantOp>(op); constant && constant.getSource())
      count(*constant.getSource(), countElements(constant.getShape()),
            cast<MemRefType>(constant.getType()).getElementType());
  });
  readOrigin();
  return chooseTargets();
}

llvm::Error Compilation::chooseTargets() {
  auto kernels = model.module->getOps<kernel::FuncOp>();
  if (kernels.empty())
    return llvm::Error::success();
  CompileTarget ours{(*kernels.begin()).getTarget().str(), ""};
  if (ModuleOp code = findCode(*model.module))
    if (auto isa = code->getAttrOfType<StringAttr>(isaAttrName))
      ours.variant = isa.getValue().str();
  if (auto arch = (*model.module)->getAttrOfType<StringAttr>(kernel::archAttrName)) {
    ours.variant = arch.str();
    ours.cubins = false;
  }
  if (chosen.empty())
    chosen = {ours};
  for (CompileTarget &target : chosen) {
    bool cpu = ours.device == "cpu";
    if (target.device == ours.device && target.variant.empty())
      target = ours;
    if (target.device != ours.device ||
        (cpu && !ours.variant.empty() && target.variant != ours.variant) ||
        (!cpu && rt::cudaFamily(target.variant) != rt::cudaFamily(ours.variant)))
      return llvm::createStringError("'" + request.model + "' is IR for " + ours.str() + ", not for " +
                                     target.str());
  }
  return llvm::Error::success();
}

llvm::Error Compilation::dump(Stage stage, ModuleOp module, const CompileTarget &target) {
  if (request.dumpDir.empty())
    return llvm::Error::success();
  if (std::error_code code = llvm::sys::fs::create_directories(request.dumpDir))
    return llvm::createStringError("cannot make the folder '" + request.dumpDir +
                                   "': " + code.message());
  std::string suffix;
  if (isTargetStage(stage) && targets().size() > 1)
    suffix = "-" + target.device + (target.variant.empty() ? "" : "-" + target.variant);
  std::string path = fmt::format("{}/{:02}-{}{}.mlir", request.dumpDir,
                                 static_cast<int>(stage) + 1, stringifyStage(stage).str(), suffix);
  std::error_code code;
  llvm::ToolOutputFile file(path, code, llvm::sys::fs::OF_Text);
  if (code)
    return llvm::createStringError("cannot write '" + path + "': " + code.message());
  file.os() << printModule(module);
  file.os().close();
  if (file.os().has_error()) {
    std::string message = file.os().error().message();
    file.os().clear_error();
    return llvm::createStringError("cannot write '" + path + "': " + message);
  }
  file.keep();
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

/// The instruction set that a target of the CPU is for.
static std::string isaOf(const CompileTarget &target) {
  return target.variant.empty() ? CpuTarget::host().isa : target.variant;
}

std::string mlsys::getTilesIsa(const CompileTarget &target) {
  return target.device == "cpu" ? isaOf(target) : std::string(rt::cudaFamily(target.variant));
}

std::string mlsys::getTilesPath(llvm::StringRef isa) {
  std::string folder = rt::KernelCache().folder();
  if (folder.empty())
    return "";
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, "tiles-" + isa + ".json");
  return std::string(path);
}

std::string Compilation::findTiles(const CompileTarget &target) const {
  if (request.tiles != "auto")
    return request.tiles;
  std::string path = getTilesPath(getTilesIsa(target));
  return !path.empty() && llvm::sys::fs::exists(path) ? path : "";
}

llvm::Error Compilation::runStage(Stage stage, ModuleOp module, const CompileTarget &target) {
  if (request.progress)
    request.progress(isTargetStage(stage) ? (stringifyStage(stage) + " for " + target.str()).str()
                                          : stringifyStage(stage).str());
  PipelineOptions options;
  options.target = target.device;
  (target.device == "cpu" ? options.isa : options.arch) = target.variant;
  options.decodeBuckets = request.decodeBuckets;
  options.prefillChunk = request.prefillChunk;
  options.kvType = request.kvType;
  options.candidate = request.candidate;
  if (stage == Stage::Kernel)
    options.tiles = findTiles(target);
  PassManager passes(&context, ModuleOp::getOperationName());
  // Each stage ends with -mlsys-verify-stage, and is verified once after it.
  passes.enableVerifier(false);
  if (failed(buildPipeline(stage, options, passes)))
    return llvm::createStringError("this build of mlsys cannot do the stage '" +
                                   stringifyStage(stage) + "' for " + target.str());
  bool code = stage == Stage::Emit && target.device == "cpu";
  if (llvm::Error error = collect(
          [&] {
            LogicalResult result = code ? addCode(module, target, passes) : passes.run(module);
            return success(succeeded(result) && succeeded(verify(module)));
          }))
    return error;
  return dump(stage, module, target);
}

ModuleOp mlsys::findCode(ModuleOp module) { return module.lookupSymbol<ModuleOp>(codeName); }

LogicalResult Compilation::addCode(ModuleOp module, const CompileTarget &target,
                                   PassManager &passes) {
  // The kernels and the launch lists stay: with them the IR is complete.
  OwningOpRef<ModuleOp> code(cast<ModuleOp>(module->clone()));
  if (failed(passes.run(*code)))
    return failure();
  code->setSymName(codeName);
  for (StringRef name : {StringRef(originAttrName), StringRef(graph::weightFilesAttrName)})
    code->getOperation()->removeAttr(name);
  code->getOperation()->setAttr(isaAttrName, StringAttr::get(&context, isaOf(target)));
  module.push_back(code.release());
  return success();
}

void Compilation::dropFunctions() {
  using Functions = CompileRequest::Functions;
  auto isStep = [](func::FuncOp function) {
    auto phase = function->getAttrOfType<StringAttr>(graph::phaseAttrName);
    return phase && phase.getValue() != "plain";
  };
  auto functions = model.module->getOps<func::FuncOp>();
  if (request.functions == Functions::All || llvm::none_of(functions, isStep))
    return;
  for (auto function : llvm::make_early_inc_range(functions))
    if (isStep(function) != (request.functions == Functions::Steps))
      function.erase();
}

llvm::Error Compilation::read() {
  if (llvm::StringRef(request.model).ends_with(".mlir")) {
    if (llvm::Error error = readIr())
      return error;
  } else {
    if (request.progress)
      request.progress("reading the model");
    ImportOptions options;
    options.dtype = request.dtype;
    options.randomWeights = request.randomWeights;
    llvm::Expected<ImportedModel> imported = importModel(context, request.model, options);
    if (!imported)
      return imported.takeError();
    model = std::move(*imported);
    model.module->getOperation()->setAttr(originAttrName, StringAttr::get(&context, request.model));
  }
  if (chosen.empty())
    chosen = {CompileTarget()};
  return llvm::Error::success();
}

llvm::Error Compilation::prepare(Stage last) {
  for (Stage stage : allStages()) {
    if (stage > last || isTargetStage(stage))
      break;
    // IR that has been through a stage is not put through it again, but is checked by
    // the next one.
    if (stage < initial || (stage == initial && initial != Stage::Import))
      continue;
    if (llvm::Error error = runStage(stage, *model.module, CompileTarget()))
      return error;
  }
  dropFunctions();
  return llvm::Error::success();
}
