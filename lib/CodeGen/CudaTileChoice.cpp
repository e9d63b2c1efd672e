//===- CudaTileChoice.cpp - CUDA tiles: by model, measured, tried ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaTileChoice.h"

#include "mlsys/CodeGen/TileTable.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <numeric>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

CudaRows mlsys::getCudaRows(FusionOp fusion, const DimExpr &rows) {
  if (std::optional<int64_t> known = rows.asConstant())
    return {*known, true, known};
  auto function = fusion->getParentOfType<func::FuncOp>();
  std::optional<int64_t> most = rows.upperBound([&](StringRef name) -> std::optional<int64_t> {
    SymbolAttr symbol = getSymbol(function, name);
    if (!symbol || symbol.getMax() < 0)
      return std::nullopt;
    return symbol.getMax();
  });
  return {std::max<int64_t>(1, evaluateAtHints(rows, fusion)), false, most};
}

// Sources: NVIDIA's architecture white papers. A100: 1.41 GHz, 312 TFLOP/s, 5120 bytes a clock from L2, 1555 GB/s.
// H100 SXM: 1.83 GHz, 989 TFLOP/s, L2 of the same width, 3350 GB/s. mma.sync reaches 62 % of wgmma's rate on Hopper
// (Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", 2024). Shared memory has 32 banks of
// 4 bytes.
CudaRates CudaRates::get(const CudaTarget &target) {
  double cache = 5120.0 / target.multiprocessors;
  if (target.isHopper())
    return {1.83, 1270, 2048, 128, cache, 3350e3};
  return {1.41, 1024, 0, 128, cache, 1555e3};
}

std::string mlsys::printCudaShape(const FusionStructure &structure, CudaRows rows) {
  auto nameOf = [](Value value) {
    std::string text;
    llvm::raw_string_ostream(text) << cast<RankedTensorType>(value.getType()).getElementType();
    return text;
  };
  int64_t columns = 0, mixing = 1;
  size_t dots = 1;
  for (const DotGroup &group : structure.groups) {
    columns += group.columns * static_cast<int64_t>(group.dots.size());
    dots = std::max(dots, group.dots.size());
    mixing = std::max(mixing, group.mixing);
  }
  bool few = !rows.known && rows.most && *rows.most <= maxGemvRows;
  Operation *dot = structure.groups.front().dots.front();
  std::string text =
      llvm::formatv("dot rows{0}{1}{2} columns={3} contracted={4} dots={5} lhs={6} rhs={7}", few ? "<=" : "=",
                    few ? *rows.most : rows.count, rows.known || few ? "" : "?", columns, structure.contracted, dots, nameOf(structure.lhs),
                    nameOf(getRight(dot)))
          .str();
  if (mixing > 1)
    text += llvm::formatv(" mixing={0}", mixing).str();
  if (structure.experts)
    text += llvm::formatv(" experts={0}", structure.numExperts).str();
  if (!isa<BlockArgument>(behindReshapes(structure.lhs)))
    text += " prologue";
  return text;
}

size_t mlsys::chooseCudaTiles(StringRef shape, ArrayRef<CudaCandidate> candidates, const CudaTarget &target,
                              kernel::FuncOp kernel) {
  SmallVector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](size_t a, size_t b) { return std::pair(candidates[a].time, a) < std::pair(candidates[b].time, b); });
  size_t chosen = order.front();
  if (const std::string *text = target.tiles ? target.tiles->find(shape) : nullptr) {
    auto found = llvm::find_if(candidates, [&](const CudaCandidate &one) { return one.text == *text; });
    if (found != candidates.end())
      chosen = found - candidates.begin();
    else
      kernel.emitWarning("the table of tiles has '")
          << *text << "' for '" << shape << "', which is not possible; it is not used";
  }
  // Those that are tried do not depend on the table; when there are no more, it is as if none were tried.
  size_t tried = static_cast<size_t>(target.candidate);
  if (tried > 0 && tried <= order.size())
    chosen = order[tried - 1];
  kernel->setAttr(kernel::tilesAttrName,
                  StringAttr::get(kernel.getContext(), shape.str() + ": " + candidates[chosen].text));
  return chosen;
}
