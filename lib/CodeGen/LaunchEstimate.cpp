//===- LaunchEstimate.cpp - What a launch costs and is called -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelOutliner.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static DimExpr bytesOf(RankedTensorType type) {
  return getNumElements(type) * DimExpr::constant(getElementBits(type.getElementType()) / 8);
}

/// The number of keys that a paged attention may read, all requests together.
static DimExpr cachedKeys(PagedAttentionOp attention) {
  return getNumElements(typeOf(attention.getBlockTable())) *
         DimExpr::constant(attention.getLayer().getType().getPageSize());
}

/// The bytes of the matrices that are read of a right side of products with experts, when so few
/// experts are typically chosen that not all are; nothing for other arguments.
static std::optional<DimExpr> chosenExpertBytes(BlockArgument argument) {
  DimExpr chosen;
  for (OpOperand &use : argument.getUses()) {
    auto dot = dyn_cast<ExpertDotOp>(use.getOwner());
    if (!dot || use.get() != dot.getRhs())
      return std::nullopt;
    chosen = getNumElements(typeOf(dot.getExperts()));
  }
  RankedTensorType type = typeOf(argument);
  int64_t typical = evaluateAtHints(chosen, argument.getOwner()->getParentOp());
  if (argument.use_empty() || typical >= type.getDimSize(0))
    return std::nullopt;
  SmallVector<DimExpr> dims = getDims(type);
  dims.front() = chosen;
  return bytesOf(getTensorType(dims, type.getElementType()));
}

DimExpr mlsys::estimateBytes(FusionOp fusion) {
  DimExpr total;
  Block &body = fusion.getBody().front();
  for (BlockArgument argument : body.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      continue;
    // Of a table only the gathered rows are read.
    bool onlyGathered = !argument.use_empty() && llvm::all_of(argument.getUses(), [](OpOperand &use) {
      return isa<GatherOp>(use.getOwner()) && use.getOperandNumber() == 0;
    });
    if (std::optional<DimExpr> chosen = chosenExpertBytes(argument))
      total = total + *chosen;
    else if (!onlyGathered)
      total = total + bytesOf(type);
    else
      for (Operation *user : argument.getUsers())
        total = total + bytesOf(typeOf(user->getResult(0)));
  }
  for (Operation &op : body) {
    if (auto write = dyn_cast<CacheWriteOp>(op)) {
      total = total + bytesOf(typeOf(write.getInput()));
    } else if (auto attention = dyn_cast<PagedAttentionOp>(op)) {
      KvLayerType layer = attention.getLayer().getType();
      int64_t perKey = 2 * layer.getHeads() * layer.getHeadDim() *
                       getElementBits(layer.getElementType()) / 8;
      total = total + cachedKeys(attention) * DimExpr::constant(perKey);
    }
  }
  for (Type type : fusion.getResultTypes())
    if (auto tensor = dyn_cast<RankedTensorType>(type))
      total = total + bytesOf(tensor);
  return total;
}

DimExpr mlsys::estimateFlops(FusionOp fusion) {
  DimExpr total;
  for (Operation &op : fusion.getBody().front()) {
    DimExpr flops =
        llvm::TypeSwitch<Operation *, DimExpr>(&op)
            .Case([](ReduceOp reduce) { return getNumElements(typeOf(reduce.getInput())); })
            .Case([](DotOp dot) {
              DimExpr result = getNumElements(typeOf(dot.getResult())) * DimExpr::constant(2);
              for (int64_t dim : dot.getLhsContract())
                result = result * getDim(typeOf(dot.getLhs()), dim);
              return result;
            })
            .Case([](ExpertDotOp dot) {
              RankedTensorType rhs = typeOf(dot.getRhs());
              return getNumElements(typeOf(dot.getResult())) * getDim(rhs, 2) * DimExpr::constant(2);
            })
            .Case([](AttentionOp attention) {
              return getNumElements(typeOf(attention.getQuery())) *
                     getDim(typeOf(attention.getKey()), 1) * DimExpr::constant(4);
            })
            .Case([](PagedAttentionOp attention) {
              // Every query of a request reads the keys of that request only.
              RankedTensorType query = typeOf(attention.getQuery());
              DimExpr keys = getDim(typeOf(attention.getBlockTable()), 1) *
                             DimExpr::constant(attention.getLayer().getType().getPageSize());
              return getNumElements(query) * keys * DimExpr::constant(4);
            })
            .Default([](Operation *op) {
              bool counts = isElementwise(op) && !isa<ConvertOp, SelectOp>(op);
              return counts ? getNumElements(typeOf(op->getResult(0))) : DimExpr();
            });
    total = total + flops;
  }
  return total;
}

/// The innermost name in a location; empty if none.
static std::string nameOf(Location loc) {
  std::string name;
  loc->walk([&](Location part) {
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name;
}

std::string mlsys::describeFusion(FusionOp fusion) {
  // Heroes, reductions and memory operations say most; else the first few operations.
  llvm::MapVector<StringRef, int> notable, others;
  for (Operation &op : fusion.getBody().front().without_terminator()) {
    StringRef name = op.getName().stripDialect();
    if (isa<DotOp, ExpertDotOp, AttentionOp, PagedAttentionOp, ReduceOp, CacheWriteOp, GatherOp, LastTokenOp>(op))
      ++notable[name];
    else if (isElementwise(&op))
      ++others[name];
  }
  std::string text = nameOf(fusion.getLoc());
  const llvm::MapVector<StringRef, int> &listed = notable.empty() ? others : notable;
  if (listed.empty())
    return text + (text.empty() ? "copy" : " copy");
  constexpr size_t maxListed = 4;
  for (auto [index, entry] : llvm::enumerate(listed)) {
    if (index == maxListed)
      break;
    if (index || !text.empty())
      text += index ? "+" : " ";
    text += entry.first.str();
    if (entry.second > 1)
      text += "*" + std::to_string(entry.second);
  }
  return text;
}
