//===- GraphMaker.h - Operations of an imported graph -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ModelWeights.h"

#include "mlsys/IR/Graph.h"

#include "mlir/IR/Builders.h"

#include <map>
#include <string>
#include <tuple>

namespace mlsys::importer {

/// Makes the operations that transformers consist of, on values [B, S, ...], each at a
/// location called like the module that it comes from.
class GraphMaker {
public:
  GraphMaker(mlir::OpBuilder &builder, const ModelConfig &config, const ModelWeights &weights,
             mlir::Type elementType)
      : builder(builder), config(config), weights(weights), elementType(elementType) {}

  mlir::OpBuilder &builder;
  const ModelConfig &config;
  const ModelWeights &weights;
  mlir::Type elementType;
  graph::DimExpr batch = graph::DimExpr::symbol("B"), sequence = graph::DimExpr::symbol("S");
  /// Location prefix, such as "model.layers.3.".
  std::string scope;

  mlir::Location at(llvm::StringRef name) {
    return mlir::NameLoc::get(builder.getStringAttr(scope + name.str()));
  }
  mlir::Type f32() { return builder.getF32Type(); }

  /// [B, S, inner...].
  mlir::RankedTensorType type(llvm::ArrayRef<int64_t> inner, mlir::Type element);

  /// A tensor of the model; null when it has none.
  mlir::Value weight(Module module, Part part, int64_t layer = 0);
  /// The output of a dense layer: input * weight^T + bias.
  mlir::Value linear(mlir::Value input, Module module, int64_t layer, llvm::StringRef name);
  mlir::Value linear(mlir::Value input, Module module, int64_t layer, llvm::StringRef name,
                     mlir::Type element);
  /// The norm that the configuration says, over the last dimension.
  mlir::Value norm(mlir::Value input, Module module, int64_t layer, llvm::StringRef name);
  mlir::Value add(mlir::Value lhs, mlir::Value rhs, llvm::StringRef name);
  mlir::Value mul(mlir::Value lhs, mlir::Value rhs, llvm::StringRef name);
  /// value * factor, rounded once; the value itself when the factor is 1.
  mlir::Value scale(mlir::Value value, double factor, llvm::StringRef name);
  /// cap * tanh(value / cap); the value itself when the cap is 0.
  mlir::Value softcap(mlir::Value value, double cap, llvm::StringRef name);
  /// The value held between -limit and limit; itself when the limit is 0.
  mlir::Value clamp(mlir::Value value, double limit, llvm::StringRef name);
  mlir::Value activation(mlir::Value value, llvm::StringRef name);
  mlir::Value convert(mlir::Value value, mlir::Type element, llvm::StringRef name);
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> inner, llvm::StringRef name);
  /// One number everywhere.
  mlir::Value fill(double number, mlir::RankedTensorType type, llvm::StringRef name);
  mlir::Value broadcast(mlir::Value value, llvm::ArrayRef<int64_t> dims,
                        mlir::RankedTensorType type, llvm::StringRef name);

private:
  uint64_t seed = 0;
  std::map<std::tuple<Module, Part, int64_t>, mlir::Value> made;
};

/// The rotary embedding of one kind of layer: positions [S], and frequencies [N] or [S, N].
struct Rope {
  mlir::Value frequencies;
  mlir::FloatAttr factor;
};

/// The frequencies of each of the configuration's ropes.
llvm::SmallVector<Rope> makeRopes(GraphMaker &make, mlir::Value positions);

/// The result of a layer's attention, before the residual. `rope` is null where the layer
/// has none.
mlir::Value makeAttention(GraphMaker &make, mlir::Value input, int64_t layer,
                          mlir::Value positions, const Rope *rope);

/// The result of a layer's MLP, or mixture of experts, before the residual.
mlir::Value makeFeedForward(GraphMaker &make, mlir::Value input, int64_t layer);

} // namespace mlsys::importer
