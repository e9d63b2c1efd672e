//===- DecoderBuilder.h - The graph of a decoder ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "DecoderWeights.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlsys::importer {

/// A module with @forward: input_ids [B, S] to logits [B, S, V] in f32.
/// `type` is the type of weights and activations.
mlir::OwningOpRef<mlir::ModuleOp> buildDecoder(mlir::MLIRContext &context,
                                               const DecoderConfig &config,
                                               const DecoderWeights &weights,
                                               llvm::ArrayRef<std::string> files, mlir::Type type);

} // namespace mlsys::importer
