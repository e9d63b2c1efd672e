//===- Compiler.cpp - From a model to a program ---------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Compiler.h"
#include "Compilation.h"
#include "EmitCode.h"
#include "ProgramCache.h"
#include "mlsys/CodeGen/EmitProgram.h"
#include "mlsys/Interpreter/Tensor.h"
#include "runtime/CudaArch.h"

#include "llvm/Support/FileSystem.h"

#include <map>

using namespace mlir;
using namespace mlsys;

//===----------------------------------------------------------------------===//
// Targets
//===----------------------------------------------------------------------===//

static bool isCpuIsa(llvm::StringRef name) {
  static constexpr llvm::StringLiteral names[] = {"x86-64-v3", "x86-64-v4", "avx512bf16", "amx"};
  return llvm::is_contained(names, name);
}

/// "sm_80", "sm_90a".
static bool isCudaArch(llvm::StringRef name) {
  unsigned number;
  return name.consume_front("sm_") && !name.consumeInteger(10, number) &&
         (name.empty() || name == "a" || name == "f");
}

llvm::Expected<CompileTarget> CompileTarget::parse(llvm::StringRef text) {
  auto [device, variant] = text.split(':');
  CompileTarget target{device.str(), variant.str()};
  if (device == "cpu" && (variant.empty() || isCpuIsa(variant)))
    return target;
  if (device == "cuda" && (variant.empty() || isCudaArch(variant)))
    return target;
  return llvm::createStringError("target '" + text +
                                 "' is unknown; expected cpu, cpu:x86-64-v3, cpu:x86-64-v4, "
                                 "cpu:avx512bf16, cpu:amx, cuda or cuda:sm_NN");
}

std::string CompileTarget::str() const {
  return variant.empty() ? device : device + ":" + variant;
}

//===----------------------------------------------------------------------===//
// The program around the targets
//===----------------------------------------------------------------------===//

static llvm::Expected<std::unique_ptr<program::ProgramT>> makeProgram(const ImportedModel &model) {
  auto program = std::make_unique<program::ProgramT>();
  program->format_version = 1;
  program->producer = "mlsys 0.1.0";
  program->model_name = model.name;
  program->architecture = model.architecture;
  program->parameters = model.parameters;
  program->weight_bytes = model.parameters * elementBytes(model.dtype);
  for (const std::string &path : model.weightFiles) {
    auto file = std::make_unique<program::WeightFileT>();
    file->path = path;
    if (std::error_code code = llvm::sys::fs::file_size(path, file->size))
      return llvm::createStringError("cannot read '" + path + "': " + code.message());
    program->weight_files.push_back(std::move(file));
  }
  const rt::TextMaterial &text = model.text;
  if (!text.tokenizerJson.empty() || text.vocabSize > 0) {
    program->text = std::make_unique<program::TextModelT>();
    program->text->tokenizer_json = text.tokenizerJson;
    program->text->tokenizer_config_json = text.tokenizerConfigJson;
    program->text->generation_config_json = text.generationConfigJson;
    program->text->chat_template = text.chatTemplate;
    program->text->bos_id = text.bosId;
    program->text->eos_ids = text.eosIds;
    program->text->context_length = text.contextLength;
    program->text->vocab_size = text.vocabSize;
    program->text->output = text.output;
    program->text->pooling = text.pooling;
    program->text->normalize = text.normalize;
    program->text->labels = text.labels;
  }
  return program;
}

/// Runs the stages after those that targets share, up to `last`.
static llvm::Error runTargetStages(Compilation &compilation, ModuleOp module,
                                   const CompileTarget &target, Stage last) {
  for (Stage stage : allStages()) {
    if (!isTargetStage(stage) || stage <= compilation.initialStage())
      continue;
    if (stage > last)
      break;
    if (llvm::Error error = compilation.runStage(stage, module, target))
      return error;
  }
  return llvm::Error::success();
}

/// Compiles for one target and adds it to the program. Each instruction set of a CPU has
/// launches of its own; the architectures of one family of CUDA share them and the text, and only add
/// cubins.
static llvm::Error addTarget(Compilation &compilation, const CompileTarget &target,
                             program::ProgramT &program) {
  bool isCpu = target.device == "cpu";
  std::string isa = isCpu ? instructionSetOf(target).isa : "";
  auto known = llvm::find_if(program.targets, [&](auto &part) {
    return part->target == target.device &&
           (isCpu ? llvm::any_of(part->cpu_libraries, [&](auto &library) { return library->isa == isa; })
                  : part->arch == rt::cudaFamily(target.variant));
  });
  if (known == program.targets.end()) {
    OwningOpRef<ModuleOp> module(cast<ModuleOp>(compilation.model.module->clone().getOperation()));
    if (llvm::Error error = runTargetStages(compilation, *module, target, Stage::Kernel))
      return error;
    llvm::Error error = compilation.collect([&]() -> LogicalResult {
      auto emitted = emitTargetProgram(*module, target.device, compilation.model.dtype);
      if (failed(emitted))
        return failure();
      program.targets.push_back(std::move(*emitted));
      return success();
    });
    if (error)
      return error;
    known = program.targets.end() - 1;
    llvm::Error code = isCpu ? emitCpuCode(compilation, *module, target, **known)
                             : emitCudaText(compilation, *module, **known);
    if (code)
      return code;
  }
  if (!isCpu && target.cubins && !target.variant.empty())
    return emitCubins(**known, target.variant, compilation.request.progress);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

llvm::Expected<CompiledModel> mlsys::compileModel(const CompileRequest &request) {
  Compilation compilation(request);
  if (llvm::Error error = compilation.read())
    return std::move(error);
  llvm::Expected<std::unique_ptr<program::ProgramT>> program = makeProgram(compilation.model);
  if (!program)
    return program.takeError();
  CompiledModel compiled{std::move(*program), {}};
  ProgramCache cache(compilation);
  if (cache.find(compiled))
    return compiled;
  if (llvm::Error error = compilation.prepare())
    return std::move(error);
  for (const CompileTarget &target : compilation.targets())
    if (llvm::Error error = addTarget(compilation, target, *compiled.program))
      return std::move(error);
  compiled.warnings = std::move(compilation.warnings);
  cache.keep(compiled);
  return compiled;
}

llvm::Expected<std::string> mlsys::compileToStage(const CompileRequest &request, Stage stage) {
  Compilation compilation(request);
  if (llvm::Error error = compilation.read())
    return std::move(error);
  if (llvm::Error error = compilation.prepare(stage))
    return std::move(error);
  if (stage < compilation.initialStage())
    return llvm::createStringError("'" + request.model + "' is past the stage '" +
                                   stringifyStage(stage) + "': it is IR after '" +
                                   stringifyStage(compilation.initialStage()) + "'");
  if (isTargetStage(stage) && compilation.targets().size() != 1)
    return llvm::createStringError("the stage '" + stringifyStage(stage) +
                                   "' differs between targets; name one with --target");
  if (isTargetStage(stage))
    if (llvm::Error error = runTargetStages(compilation, *compilation.model.module,
                                            compilation.targets().front(), stage))
      return std::move(error);
  return printModule(*compilation.model.module);
}

std::vector<uint8_t> mlsys::packProgram(const program::ProgramT &program) {
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  program::FinishProgramBuffer(builder, program::Program::Pack(builder, &program));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

llvm::Expected<rt::TextMaterial> mlsys::loadTextMaterial(const std::string &path) {
  CompileRequest request;
  request.model = path;
  Compilation compilation(request);
  llvm::Expected<ImportedModel> model = importModel(compilation.context, path, {});
  if (!model)
    return model.takeError();
  if (model->text.tokenizerJson.empty())
    return llvm::createStringError("'" + path + "' has no tokenizer");
  return std::move(model->text);
}
