//===- GgufBoundary.cpp - Reads GGUF models -------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The runtime's reader throws; this file turns that into llvm::Error.
//
//===----------------------------------------------------------------------===//

#include "GgufConfig.h"

#include "runtime/Error.h"
#include "runtime/GgufVocabulary.h"

using namespace mlsys;
using namespace mlsys::importer;

llvm::Expected<ModelFiles> importer::readGgufModel(llvm::StringRef path) {
  ModelFiles files;
  try {
    rt::Gguf file = rt::readGguf(path.str());
    llvm::Expected<ModelConfig> config = readGgufConfig(file);
    if (!config)
      return config.takeError();
    files.config = std::move(*config);
    files.text = rt::readGgufText(file);
    files.checkpoint.files = file.files;
    std::erase_if(file.tensors, [](const rt::StoredTensor &tensor) { return isRopeTensor(tensor); });
    files.checkpoint.tensors = std::move(file.tensors);
  } catch (const std::exception &error) {
    return makeError(error.what());
  }
  return files;
}
