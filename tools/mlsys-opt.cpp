//===- mlsys-opt.cpp - The pass driver ------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Pipelines.h"
#include "mlsys/IR/Kernel.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlsys::graph::GraphDialect, mlsys::kernel::KernelDialect>();
  mlir::registerAllPasses();
  mlsys::registerPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "mlsys pass driver\n", registry));
}
