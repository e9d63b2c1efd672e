//===- mlsys-translate.cpp - From IR to something else --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitObject.h"
#include "mlsys/Driver/Translations.h"
#include "mlsys/IR/Kernel.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

#include <CLI/CLI.hpp>

/// Prints an error; its value is the exit code.
static int fail(const std::string &message) {
  llvm::errs() << "error: " << message << "\n";
  return 1;
}

int main(int argc, char **argv) {
  CLI::App app{"Translates IR of the graph and kernel dialects"};
  std::string input = "-", output = "-", target = "cpu";
  mlsys::InterpretOptions options;
  app.add_option("file", input, "The .mlir file; - reads stdin");
  app.add_option("-o", output, "The output file; - is stdout");
  CLI::Option_group *action = app.add_option_group("action");
  bool interpret = false, program = false, cuda = false, import = false;
  action->add_flag("--interpret", interpret,
                   "Call functions of the graph dialect and print the results");
  action->add_flag("--to-program", program,
                   "Write the program of the kernel stage, without object code, as a FlatBuffer");
  bool llvmIr = false;
  action->add_flag("--to-llvm", llvmIr,
                   "Write the LLVM IR, before optimization, of what -mlsys-lower-to-llvm leaves");
  action->add_flag("--to-cuda", cuda, "Write the CUDA text of the kernels of the kernel stage");
  action->add_flag("--import", import, "The file is a model: print its graph");
  action->require_option(1);
  app.add_option("--function", options.function,
                 "The function to call (default: all that have no arguments)");
  app.add_option("--input", options.inputs,
                 "A tensor argument, such as 'dense<[1, 2]> : tensor<2xi64>'; once an argument");
  app.add_option("--cache-pages", options.cachePages, "Pages of a KV cache argument")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--weights-dir", options.baseDir, "Where relative paths of weight files start");
  app.add_option("--target", target, "Whose kernels the program has")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  std::string isa;
  app.add_option("--isa", isa,
                 "The instruction set of --to-llvm: x86-64-v3, x86-64-v4, avx512bf16 or amx "
                 "(default: this machine's)");
  mlsys::ImportOptions importOptions;
  mlsys::ImportOutput importOutput = mlsys::ImportOutput::Ir;
  const std::map<std::string, mlsys::program::DType> dtypes = {
      {"f32", mlsys::program::DType::F32},
      {"bf16", mlsys::program::DType::BF16},
      {"f16", mlsys::program::DType::F16}};
  app.add_option("--dtype", importOptions.dtype, "Type of an imported model: f32, bf16 or f16")
      ->transform(CLI::CheckedTransformer(dtypes));
  app.add_flag("--random-weights", importOptions.randomWeights, "Import the configuration alone");
  const std::map<std::string, mlsys::ImportOutput> outputs = {
      {"ir", mlsys::ImportOutput::Ir},
      {"locations", mlsys::ImportOutput::IrWithLocations},
      {"summary", mlsys::ImportOutput::Summary}};
  app.add_option("--import-output", importOutput, "What --import prints: ir, locations, summary")
      ->transform(CLI::CheckedTransformer(outputs));
  CLI11_PARSE(app, argc, argv);

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlsys::graph::GraphDialect, mlsys::kernel::KernelDialect>();
  mlir::MLIRContext context(registry);
  std::error_code code;
  llvm::ToolOutputFile file(output, code, llvm::sys::fs::OF_None);
  if (code)
    return fail("cannot write '" + output + "': " + code.message());
  if (import) {
    if (llvm::Error error =
            mlsys::printImport(context, input, importOptions, importOutput, file.os()))
      return fail(llvm::toString(std::move(error)));
    file.keep();
    return 0;
  }
  auto sources = std::make_shared<llvm::SourceMgr>();
  mlir::SourceMgrDiagnosticHandler diagnostics(*sources, &context);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceFile<mlir::ModuleOp>(input, sources, mlir::ParserConfig(&context));
  if (!module)
    return 1;
  if (interpret) {
    if (llvm::Error error = mlsys::interpretModule(*module, options, file.os()))
      return fail(llvm::toString(std::move(error)));
  } else if (program) {
    if (mlir::failed(mlsys::writeProgram(*module, target, file.os())))
      return 1;
  } else if (llvmIr) {
    std::optional<mlsys::CpuTarget> cpu =
        isa.empty() ? mlsys::CpuTarget::host() : mlsys::CpuTarget::get(isa);
    if (!cpu)
      return fail("'" + isa + "' is no instruction set of a CPU");
    llvm::Expected<std::string> text = mlsys::emitLLVMText(*module, *cpu);
    if (!text)
      return fail(llvm::toString(text.takeError()));
    file.os() << *text;
  } else if (cuda) {
    if (mlir::failed(mlsys::writeCuda(*module, file.os())))
      return 1;
  }
  file.keep();
  return 0;
}
