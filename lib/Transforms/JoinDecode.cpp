//===- JoinDecode.cpp - One decode function for several buckets -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// On tensor cores a product with 16-bit weights costs the same for 1 to 8 rows: the weights are read once, and the rows are
// one side of one mma. So one function whose number of requests is a symbol stands for all buckets up
// to 8: it is compiled once, and a batch of 3 is not filled up to 4.
//
//===----------------------------------------------------------------------===//

#include "Phases.h"

#include "mlsys/IR/FusionAnalysis.h"
#include "mlsys/Transforms/Passes.h"

namespace mlsys {
#define GEN_PASS_DEF_JOINDECODE
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Rows of a left side that is computed are kept in shared memory: more columns leave no room for them.
static constexpr int64_t maxContracted = 8192;

/// True when every product of the function costs about the same for one row as for several.
static bool hasCheapRows(func::FuncOp function) {
  int64_t least = INT64_MAX;
  WalkResult result = function.walk([&](Operation *op) {
    if (!isDot(op))
      return WalkResult::advance();
    least = std::min(least, cast<RankedTensorType>(getLeft(op).getType()).getShape().back());
    Type element = getElementTypeOrSelf(getRight(op).getType());
    return element.isBF16() || element.isF16() ? WalkResult::advance() : WalkResult::interrupt();
  });
  // The narrowest left sides are those that norms compute.
  return !result.wasInterrupted() && least <= maxContracted;
}

namespace {
struct JoinDecode : mlsys::impl::JoinDecodeBase<JoinDecode> {
  using JoinDecodeBase::JoinDecodeBase;

  void runOnOperation() override {
    func::FuncOp prefill;
    SmallVector<func::FuncOp> decodes;
    int64_t fewest = rows, most = 0;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto phase = function->getAttrOfType<StringAttr>(phaseAttrName);
      if (phase && phase.getValue() == "prefill")
        prefill = function;
      auto bucket = function->getAttrOfType<IntegerAttr>(bucketAttrName);
      if (!phase || phase.getValue() != "decode" || !bucket || bucket.getInt() > rows)
        continue;
      decodes.push_back(function);
      fewest = std::min(fewest, bucket.getInt());
      most = std::max(most, bucket.getInt());
    }
    if (!prefill || decodes.size() < 2 || !hasCheapRows(prefill))
      return;
    std::optional<std::string> tokens = getRoleSymbol(prefill, "token_ids");
    std::optional<std::string> requests = getRoleSymbol(prefill, "context_length");
    if (!tokens || !requests)
      return signalPassFailure();

    OpBuilder builder(decodes.front());
    auto joined = cast<func::FuncOp>(builder.clone(*prefill));
    for (func::FuncOp function : decodes)
      function.erase();
    joined.setName(("decode_" + Twine(most)).str());
    joined->setAttr(phaseAttrName, builder.getStringAttr("decode"));
    joined->setAttr(bucketAttrName, builder.getI64IntegerAttr(most));
    substituteSymbols(joined, [&](StringRef name) -> std::optional<DimExpr> {
      if (name == *tokens && *tokens != *requests)
        return DimExpr::symbol(*requests);
      return std::nullopt;
    });
    SmallVector<Attribute> symbols;
    for (SymbolAttr symbol : getSymbols(joined))
      symbols.push_back(symbol.getName() == *requests
                            ? SymbolAttr::get(&getContext(), symbol.getName(), 1, most, fewest)
                            : symbol);
    joined->setAttr(symbolsAttrName, builder.getArrayAttr(symbols));
    removeLastTokens(joined);
  }
};
} // namespace
