//===- PrintImport.cpp - What an importer makes of a model ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Translations.h"

#include "runtime/Program.h"

#include "mlir/IR/AsmState.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlsys;

/// The model without its graph, as JSON.
static void printSummary(const ImportedModel &model, llvm::raw_ostream &os) {
  llvm::json::OStream json(os, 2);
  json.object([&] {
    json.attribute("name", model.name);
    json.attribute("architecture", model.architecture);
    json.attribute("dtype", llvm::StringRef(rt::dtypeName(model.dtype)));
    json.attribute("parameters", model.parameters);
    json.attribute("context_length", model.text.contextLength);
    json.attribute("vocab_size", model.text.vocabSize);
    json.attribute("bos_id", model.text.bosId);
    json.attribute("eos_ids", llvm::json::Array(model.text.eosIds));
    json.attribute("output", model.text.output);
    if (!model.text.pooling.empty()) {
      json.attribute("pooling", model.text.pooling);
      json.attribute("normalize", model.text.normalize);
    }
    if (!model.text.labels.empty())
      json.attribute("labels", llvm::json::Array(model.text.labels));
    json.attribute("chat_template", llvm::json::fixUTF8(model.text.chatTemplate));
    json.attribute("tokenizer_bytes", model.text.tokenizerJson.size());
    json.attribute("generation_config_bytes", model.text.generationConfigJson.size());
    json.attribute("weight_files", llvm::json::Array(model.weightFiles));
  });
  os << "\n";
}

llvm::Error mlsys::printImport(mlir::MLIRContext &context, llvm::StringRef path,
                               const ImportOptions &options, ImportOutput output,
                               llvm::raw_ostream &os) {
  llvm::Expected<ImportedModel> model = importModel(context, path, options);
  if (!model)
    return model.takeError();
  if (output == ImportOutput::Summary) {
    printSummary(*model, os);
    return llvm::Error::success();
  }
  mlir::OpPrintingFlags flags;
  if (output == ImportOutput::IrWithLocations)
    flags.enableDebugInfo(true, /*prettyForm=*/true);
  model->module->print(os, flags);
  return llvm::Error::success();
}
