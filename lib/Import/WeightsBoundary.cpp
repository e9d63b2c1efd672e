//===- WeightsBoundary.cpp - Safetensors files as checkpoints -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The runtime's reader throws; this file turns that into llvm::Error.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

#include "runtime/Safetensors.h"

#include <exception>

using namespace mlsys;
using namespace mlsys::importer;

llvm::Expected<Checkpoint> importer::readSafetensorsCheckpoint(llvm::StringRef folder) {
  try {
    rt::Safetensors read = rt::readSafetensorsFolder(folder.str());
    Checkpoint checkpoint;
    for (rt::Safetensors::File &file : read.files)
      checkpoint.files.push_back(std::move(file.path));
    checkpoint.tensors = std::move(read.tensors);
    return checkpoint;
  } catch (const std::exception &error) {
    return makeError(error.what());
  }
}
