//===- SpecializePhases.cpp - Decode and prefill from a step --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A phase binds symbols: in a decode function of N requests T = R = N, so all
// its shapes but the number of pages are static; a prefill function leaves T and R free.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"
#include "mlsys/Transforms/Passes.h"

#include "Phases.h"

namespace mlsys {
#define GEN_PASS_DEF_SPECIALIZEPHASES
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
struct SpecializePhases : mlsys::impl::SpecializePhasesBase<SpecializePhases> {
  using SpecializePhasesBase::SpecializePhasesBase;

  void runOnOperation() override {
    SmallVector<int64_t> buckets(decodeBuckets.begin(), decodeBuckets.end());
    if (buckets.empty())
      buckets = {1, 2, 4, 8};
    llvm::sort(buckets);
    buckets.erase(llvm::unique(buckets), buckets.end());
    if (buckets.front() < 1) {
      getOperation().emitError("decode bucket ") << buckets.front() << " is less than 1";
      return signalPassFailure();
    }
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      auto phase = function->getAttrOfType<StringAttr>(phaseAttrName);
      if (phase && phase.getValue() == "step" && failed(specialize(function, buckets)))
        return signalPassFailure();
    }
  }

  LogicalResult specialize(func::FuncOp step, ArrayRef<int64_t> buckets) {
    std::optional<std::string> tokens = getRoleSymbol(step, "token_ids");
    std::optional<std::string> requests = getRoleSymbol(step, "context_length");
    if (!tokens || !requests)
      return failure();
    OpBuilder builder(step);
    auto addPhase = [&](const Twine &name, StringRef phase) -> FailureOr<func::FuncOp> {
      if (getOperation().lookupSymbol(name.str()))
        return step.emitOpError("cannot be specialized: the module already has @") << name;
      auto function = cast<func::FuncOp>(builder.clone(*step));
      function.setName(name.str());
      function->setAttr(phaseAttrName, builder.getStringAttr(phase));
      return function;
    };
    // An encoder takes whole requests: nothing is decoded.
    if (step->hasAttr(bidirectionalAttrName))
      buckets = {};
    for (int64_t bucket : buckets) {
      SymbolAttr range = getSymbol(step, *tokens);
      if (range && range.getMax() >= 0 && bucket > range.getMax())
        return step.emitOpError("takes at most ")
               << range.getMax() << " tokens, too few for a decode bucket of " << bucket;
      FailureOr<func::FuncOp> decode = addPhase("decode_" + Twine(bucket), "decode");
      if (failed(decode))
        return failure();
      (*decode)->setAttr(bucketAttrName, builder.getI64IntegerAttr(bucket));
      substituteSymbols(*decode, [&](StringRef name) -> std::optional<DimExpr> {
        if (name == *tokens || name == *requests)
          return DimExpr::constant(bucket);
        return std::nullopt;
      });
      removeLastTokens(*decode);
    }
    if (failed(addPhase("prefill", "prefill")))
      return failure();
    step.erase();
    return success();
  }
};
} // namespace
