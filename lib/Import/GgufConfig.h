//===- GgufConfig.h - What the metadata of a GGUF file say ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ModelConfig.h"

#include "runtime/Gguf.h"

namespace mlsys::importer {

/// The features of a model, from a file's metadata and the tensors that it has.
/// Throws rt::Error where the file cannot be read, and gives an error where
/// the model is not supported.
llvm::Expected<ModelConfig> readGgufConfig(const rt::Gguf &file);

/// True for the tensors of rotary frequencies, which are part of the configuration.
bool isRopeTensor(const rt::StoredTensor &tensor);

} // namespace mlsys::importer
