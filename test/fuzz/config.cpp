//===- config.cpp - Fuzzes config.json ------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "ModelConfig.h"

using namespace mlsys;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  auto object = importer::parseJsonObject(text, "config.json");
  if (!object) {
    llvm::consumeError(object.takeError());
    return 0;
  }
  auto config = importer::parseHuggingFaceConfig(*object, "config.json");
  if (!config)
    llvm::consumeError(config.takeError());
  return 0;
}
