//===- mlsys-translate.cpp - From IR to something else --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Translations.h"
#include "mlsys/IR/Kernel.h"

#include "mlir/IR/AsmState.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"

#include <CLI/CLI.hpp>

int main(int argc, char **argv) {
  CLI::App app{"Translates IR of the graph and kernel dialects"};
  std::string input = "-";
  bool interpret = false;
  mlsys::InterpretOptions options;
  app.add_option("file", input, "The .mlir file; - reads stdin");
  app.add_flag("--interpret", interpret, "Call functions of the graph dialect and print the results")
      ->required();
  app.add_option("--function", options.function,
                 "The function to call (default: all that have no arguments)");
  app.add_option("--input", options.inputs,
                 "A tensor argument, such as 'dense<[1, 2]> : tensor<2xi64>'; once an argument");
  app.add_option("--cache-pages", options.cachePages, "Pages of a KV cache argument")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--weights-dir", options.baseDir, "Where relative paths of weight files start");
  CLI11_PARSE(app, argc, argv);

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlsys::graph::GraphDialect, mlsys::kernel::KernelDialect>();
  mlir::MLIRContext context(registry);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceFile<mlir::ModuleOp>(input, mlir::ParserConfig(&context));
  if (!module)
    return 1;
  if (llvm::Error error = mlsys::interpretModule(*module, options, llvm::outs())) {
    llvm::errs() << "error: " << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}
