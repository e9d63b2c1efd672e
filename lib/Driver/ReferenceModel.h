//===- ReferenceModel.h - Models on the interpreter -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Compilation.h"
#include "mlsys/Interpreter/Interpreter.h"

#include "runtime/LanguageModel.h"
#include "runtime/TensorModel.h"

namespace mlsys {

/// A model after the stage `cache` and the interpreter that runs it.
struct InterpretedModule {
  std::unique_ptr<CompileRequest> request;
  std::unique_ptr<Compilation> compilation;
  std::unique_ptr<Interpreter> interpreter;

  mlir::ModuleOp module() { return *compilation->model.module; }
};

/// Steps of a language model: decode functions for batches of one token a
/// request where there is one of that size, prefill for the rest.
class ReferenceLanguageModel : public rt::LanguageModel {
public:
  ReferenceLanguageModel(std::shared_ptr<InterpretedModule> interpreted,
                         mlir::func::FuncOp prefill, int64_t context, int64_t idLimit);

  int64_t contextLength() const override { return context; }
  int64_t vocabSize() const override { return vocabulary; }
  int64_t idLimit() const override { return ids; }
  bool bidirectional() const override;
  bool perToken() const override;
  int64_t window() const override;
  int64_t pageSize() const override { return cache.pages->pageSize; }
  int64_t pageCount() const override { return cache.pages->pages; }
  int64_t maxStepTokens() const override { return stepTokens; }
  int64_t preferredChunk() const override { return stepTokens; }
  void zeroPages(std::span<const int32_t> pages) override;
  void step(const rt::StepBatch &batch, std::span<float> logits) override;

private:
  InterpreterValue makeArgument(mlir::func::FuncOp function, unsigned index,
                                const rt::StepBatch &batch) const;

  std::shared_ptr<InterpretedModule> interpreted;
  mlir::func::FuncOp prefill;
  CacheValue cache;
  int64_t context = 0, vocabulary = 0, ids = 0, stepTokens = 0;
};

/// The plain functions of a model.
class ReferenceTensorModel : public rt::TensorModel {
public:
  explicit ReferenceTensorModel(std::shared_ptr<InterpretedModule> interpreted)
      : interpreted(std::move(interpreted)) {}

  std::vector<std::string> functions() const override;
  std::vector<rt::TensorPort> inputs(const std::string &function) const override;
  std::vector<rt::HostTensor> run(const std::string &function,
                                  const std::vector<rt::HostTensor> &inputs) override;

private:
  mlir::func::FuncOp find(const std::string &function) const;

  std::shared_ptr<InterpretedModule> interpreted;
};

} // namespace mlsys
