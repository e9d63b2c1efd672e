//===- TransformerBuilder.h - The graph of a transformer --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ModelWeights.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlsys::importer {

/// The module of a model: @forward takes input_ids [B, S], and token_type_ids [B, S] where
/// there are token types, and gives what the head says: logits [B, S, vocabulary], scores
/// [B, S, labels], of which the last token's count (the first's with a pooler), or hidden
/// states [B, S, hidden]. `files` are the weight files; `type` is f32, bf16 or f16.
mlir::OwningOpRef<mlir::ModuleOp> buildTransformer(mlir::MLIRContext &context,
                                                   const ModelConfig &config,
                                                   const ModelWeights &weights,
                                                   llvm::ArrayRef<std::string> files,
                                                   mlir::Type type);

} // namespace mlsys::importer
