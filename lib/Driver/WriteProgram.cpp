//===- WriteProgram.cpp - Kernel stage to a program, without code ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitProgram.h"
#include "mlsys/Driver/Translations.h"

using namespace mlir;
using namespace mlsys;

LogicalResult mlsys::writeProgram(ModuleOp module, StringRef target, llvm::raw_ostream &os) {
  FailureOr<std::unique_ptr<program::TargetProgramT>> part =
      emitTargetProgram(module, target, program::DType::F32);
  if (failed(part))
    return failure();
  program::ProgramT program;
  program.format_version = 1;
  program.producer = "mlsys-translate";
  program.targets.push_back(std::move(*part));
  flatbuffers::FlatBufferBuilder builder;
  program::FinishProgramBuffer(builder, program::Program::Pack(builder, &program));
  os.write(reinterpret_cast<const char *>(builder.GetBufferPointer()), builder.GetSize());
  return success();
}
