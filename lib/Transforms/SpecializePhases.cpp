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

#include "mlir/IR/AttrTypeSubElements.h"

namespace mlsys {
#define GEN_PASS_DEF_SPECIALIZEPHASES
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Replaces the symbols `names` by `value` in every type of `function` and takes them out
/// of its list of symbols.
static void bindSymbols(func::FuncOp function, ArrayRef<StringRef> names, int64_t value) {
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](RankedTensorType type) -> std::optional<Type> {
    SmallVector<DimExpr> dims;
    for (const DimExpr &dim : getDims(type))
      dims.push_back(dim.substitute([&](StringRef name) -> std::optional<DimExpr> {
        if (llvm::is_contained(names, name))
          return DimExpr::constant(value);
        return std::nullopt;
      }));
    if (llvm::equal(dims, getDims(type)))
      return type;
    return getTensorType(dims, type.getElementType());
  });
  replacer.recursivelyReplaceElementsIn(function, /*replaceAttrs=*/true, /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  SmallVector<Attribute> symbols;
  for (SymbolAttr symbol : getSymbols(function))
    if (!llvm::is_contained(names, symbol.getName()))
      symbols.push_back(symbol);
  function->setAttr(symbolsAttrName, ArrayAttr::get(function.getContext(), symbols));
}

/// The symbol of the extent `dim` of the argument with a role; nothing, with an error,
/// when `step` does not have the signature that DeriveCache gives it.
static std::optional<std::string> getArgumentSymbol(func::FuncOp step, StringRef role) {
  for (unsigned index = 0; index < step.getNumArguments(); ++index) {
    auto name = step.getArgAttrOfType<StringAttr>(index, roleAttrName);
    auto type = dyn_cast<RankedTensorType>(step.getArgumentTypes()[index]);
    if (name && name.getValue() == role && type && type.getRank() == 1)
      if (std::optional<std::string> symbol = getDim(type, 0).asSymbol())
        return symbol;
  }
  step.emitOpError("has no argument of role ") << role << " with one symbol as its extent";
  return std::nullopt;
}

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
    std::optional<std::string> tokens = getArgumentSymbol(step, "token_ids");
    std::optional<std::string> requests = getArgumentSymbol(step, "context_length");
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
      bindSymbols(*decode, {*tokens, *requests}, bucket);
      // Each request has one token: it is the last.
      (*decode)->walk([](LastTokenOp op) {
        op.getResult().replaceAllUsesWith(op.getInput());
        op.erase();
      });
    }
    if (failed(addPhase("prefill", "prefill")))
      return failure();
    step.erase();
    return success();
  }
};
} // namespace
