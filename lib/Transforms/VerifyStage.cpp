//===- VerifyStage.cpp - What each stage must have left behind ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A stage that leaves something a later stage cannot take fails here, with the name
// of the operation, and not somewhere in a code generator.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Kernel.h"
#include "mlsys/Transforms/Passes.h"

namespace mlsys {
#define GEN_PASS_DEF_VERIFYSTAGE
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

namespace {
enum class Stage { Import, Decompose, Cache, Fuse, Kernel };
} // namespace

static std::optional<Stage> symbolizeStage(StringRef name) {
  return llvm::StringSwitch<std::optional<Stage>>(name)
      .Case("import", Stage::Import)
      .Case("decompose", Stage::Decompose)
      .Case("cache", Stage::Cache)
      .Case("fuse", Stage::Fuse)
      .Case("kernel", Stage::Kernel)
      .Default(std::nullopt);
}

static bool isComposite(Operation *op) {
  return isa<EmbeddingOp, GeluOp, LayerNormOp, LinearOp, RmsNormOp, RopeOp, SiluOp, SoftmaxOp,
             TopKOp>(op);
}

static bool isCacheOp(Operation *op) {
  return isa<CacheLayerOp, CacheWriteOp, PagedAttentionOp, LastTokenOp>(op);
}

static StringRef dialectOf(Operation *op) { return op->getName().getDialectNamespace(); }

/// The first symbol of a tensor type that `function` does not list; empty when it lists
/// all.
static std::string findUnlistedSymbol(Type type, func::FuncOp function) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    for (const DimExpr &dim : getDims(tensor))
      for (const std::string &name : dim.symbols())
        if (!getSymbol(function, name))
          return name;
  return {};
}

/// Checks that every extent among `types` is a number or has a listed name.
static LogicalResult verifyExtents(Operation *op, TypeRange types, func::FuncOp function) {
  for (Type type : types) {
    std::string name = findUnlistedSymbol(type, function);
    if (name == "_")
      return op->emitOpError("has the type ")
             << type << " with an extent without a name; name it in #graph.dims or run "
             << "-mlsys-infer-shapes";
    if (!name.empty())
      return op->emitOpError("has the type ") << type << " with the symbol '" << name
                                              << "', which graph.symbols of '"
                                              << function.getName() << "' does not list";
  }
  return success();
}

namespace {
struct VerifyStage : mlsys::impl::VerifyStageBase<VerifyStage> {
  using VerifyStageBase::VerifyStageBase;

  void runOnOperation() override {
    std::optional<Stage> which = symbolizeStage(stage);
    if (!which) {
      getOperation().emitError("stage '")
          << stage << "' is not import, decompose, cache, fuse or kernel";
      return signalPassFailure();
    }
    LogicalResult result = success();
    for (Operation &op : getOperation().getOps())
      if (failed(verifyTopLevel(*which, &op)))
        result = failure();
    if (failed(result))
      signalPassFailure();
  }

  LogicalResult verifyTopLevel(Stage now, Operation *op) {
    if (now < Stage::Kernel && dialectOf(op) == "kernel")
      return op->emitOpError("stands in the module before -mlsys-lower-to-kernel has run");
    auto function = dyn_cast<func::FuncOp>(op);
    if (!function)
      return success();
    auto attribute = function->getAttrOfType<StringAttr>(phaseAttrName);
    StringRef phase = attribute ? attribute.getValue() : "plain";
    if (now >= Stage::Cache && phase == "step")
      return function.emitOpError("has the phase step; expected -mlsys-specialize-phases to have "
                                  "made decode and prefill functions of it");
    if (now < Stage::Kernel && failed(verifyExtents(function, function.getArgumentTypes(), function)))
      return failure();
    LogicalResult result = success();
    function->walk([&](Operation *inner) {
      if (inner != function && failed(verifyOp(now, phase, function, inner)))
        result = failure();
    });
    return result;
  }

  LogicalResult verifyOp(Stage now, StringRef phase, func::FuncOp function, Operation *op) {
    if (now == Stage::Kernel) {
      if (dialectOf(op) == "graph")
        return op->emitOpError("is left; expected kernel launches only");
      return success();
    }
    if (dialectOf(op) == "kernel")
      return op->emitOpError("stands in a function before -mlsys-lower-to-kernel has run");
    if (dialectOf(op) != "graph" && !isa<func::ReturnOp>(op))
      return op->emitOpError("is of another dialect; expected graph operations only");
    if (failed(verifyExtents(op, op->getResultTypes(), function)))
      return failure();
    if (now >= Stage::Decompose && isComposite(op))
      return op->emitOpError("is composite; expected -mlsys-decompose to have rewritten it");
    if (now < Stage::Cache && phase != "step" && isCacheOp(op))
      return op->emitOpError("belongs to a KV cache; expected a plain model");
    if (now >= Stage::Cache && phase != "plain" && isa<AttentionOp>(op))
      return op->emitOpError("is attention over whole sequences in a function of phase ")
             << phase << "; expected graph.paged_attention";
    if (now < Stage::Fuse)
      return isa<FusionOp, YieldOp>(op)
                 ? op->emitOpError("stands before -mlsys-fuse has run")
                 : success();
    if (op->getParentOp() == function &&
        !isa<FusionOp, WeightOp, ConstantOp, CacheLayerOp, func::ReturnOp>(op))
      return op->emitOpError("is in no fusion; expected -mlsys-fuse to have put it into one");
    return success();
  }
};
} // namespace
