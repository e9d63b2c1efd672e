//===- Import.cpp - From model files to the graph dialect -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Import/Import.h"

#include "TransformerBuilder.h"

#include "mlsys/IR/Graph.h"

#include "mlir/IR/Verifier.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;
using program::DType;

/// The folder's or file's own name, whatever way the path is written.
static std::string modelName(StringRef path) {
  SmallString<256> absolute(path);
  if (sys::fs::make_absolute(absolute))
    absolute = path;
  sys::path::remove_dots(absolute, /*remove_dot_dot=*/true);
  return sys::path::filename(absolute).str();
}

/// Reads the files of a model of either kind.
static Expected<ModelFiles> readModel(StringRef path, bool randomWeights) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return makeError("cannot open " + path + ": " + code.message());
  if (status.type() == sys::fs::file_type::directory_file)
    return readHuggingFace(path, randomWeights);
  if (status.type() != sys::fs::file_type::regular_file)
    return makeError(path + " is neither a folder nor a regular file");
  if (path.ends_with(".safetensors"))
    return makeError(path + " holds weights alone; give the folder that it lies in");
  if (path.ends_with(".pt2") || path.ends_with(".onnx"))
    return makeError(path + ": importing this kind of file is not supported; supported are Hugging "
                            "Face folders and .gguf files");
  return readGgufModel(path);
}

/// The type of weights and activations.
static DType chooseType(const ModelFiles &files, const ImportOptions &options) {
  if (options.dtype)
    return *options.dtype;
  if (files.config.dtype)
    return *files.config.dtype;
  for (const rt::StoredTensor &tensor : files.checkpoint.tensors)
    if (tensor.dtype == DType::BF16 || tensor.dtype == DType::F16)
      return tensor.dtype;
  return files.checkpoint.tensors.empty() ? DType::BF16 : DType::F32;
}

static uint64_t countParameters(mlir::ModuleOp module) {
  uint64_t count = 0;
  module.walk([&](graph::WeightOp op) {
    count += static_cast<uint64_t>(op.getResult().getType().getNumElements());
  });
  return count;
}

Expected<ImportedModel> mlsys::importModel(mlir::MLIRContext &context, StringRef path,
                                           const ImportOptions &options) {
  Expected<ModelFiles> files = readModel(path, options.randomWeights);
  if (!files)
    return files.takeError();
  ImportedModel model;
  model.dtype = chooseType(*files, options);
  mlir::Type type;
  if (model.dtype == DType::F32)
    type = mlir::Float32Type::get(&context);
  else if (model.dtype == DType::BF16)
    type = mlir::BFloat16Type::get(&context);
  else if (model.dtype == DType::F16)
    type = mlir::Float16Type::get(&context);
  else
    return makeError("models are compiled for f32, bf16 or f16");

  Expected<ModelWeights> weights = options.randomWeights
                                       ? ModelWeights::random(files->config)
                                       : ModelWeights::resolve(files->config, files->checkpoint);
  if (!weights)
    return weights.takeError();
  if (!options.randomWeights)
    model.weightFiles = files->checkpoint.files;
  model.module = buildTransformer(context, files->config, *weights, model.weightFiles, type);
  assert(succeeded(mlir::verify(*model.module)) && "the importer builds valid graphs");
  model.name = modelName(path);
  model.architecture = files->config.architecture;
  model.parameters = countParameters(*model.module);
  model.text = std::move(files->text);
  model.text.contextLength = files->config.contextLength;
  model.text.vocabSize = files->config.vocabulary;
  if (files->config.head == HeadKind::Hidden)
    model.text.output = "hidden";
  else if (files->config.head == HeadKind::Classifier)
    model.text.output = "scores";
  model.text.labels = files->config.labelNames;
  return model;
}
