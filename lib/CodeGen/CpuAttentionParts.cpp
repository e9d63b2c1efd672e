//===- CpuAttentionParts.cpp - Attention of few tokens over many keys -----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// In decode a task is a token and a key head: too few for many workers. Over many keys each
// task does a part of them, and a second kernel, whose launch is skipped otherwise, joins the parts:
//
//   largest = max over parts of their largest score
//   result = sum of exp(largest of part - largest) * sums of part
//          / sum of exp(largest of part - largest) * weights of part
//
//===----------------------------------------------------------------------===//

#include "CpuAttention.h"

#include "CpuMicroKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// More parts cost more in the joining kernel than they save.
static constexpr int64_t maxParts = 8;
/// Shorter contexts are not worth a second kernel.
static constexpr int64_t minContext = 512;
/// Keys are cut when workers would be busy for a smaller part of the time, in percent.
static constexpr int64_t minBusy = 85;

static PagedAttentionOp findPagedAttention(FusionOp fusion) {
  for (auto op : fusion.getBody().front().getOps<PagedAttentionOp>())
    return op;
  return {};
}

/// The number of columns of the block table.
static DimExpr getPages(FusionOp fusion) {
  PagedAttentionOp attention = findPagedAttention(fusion);
  return getDim(cast<RankedTensorType>(attention.getBlockTable().getType()), 1);
}

/// The most columns that the block table may have; -1: any number.
static int64_t getMaxPages(FusionOp fusion) {
  DimExpr pages = getPages(fusion);
  if (std::optional<int64_t> known = pages.asConstant())
    return *known;
  auto function = fusion->getParentOfType<func::FuncOp>();
  if (std::optional<std::string> name = pages.asSymbol(); name && function)
    if (SymbolAttr symbol = getSymbol(function, *name))
      return symbol.getMax();
  return -1;
}

int64_t mlsys::getMinPartPages(FusionOp fusion) {
  int64_t page = findPagedAttention(fusion).getLayer().getType().getPageSize();
  return (minContext + page - 1) / page;
}

AffineExpr mlsys::getPartsExpr(FusionOp fusion) {
  // Affine expressions have no minimum: 0 stays 0, and all that is more becomes 1.
  constexpr int64_t most = 1 << 30;
  int64_t least = getMinPartPages(fusion), maxPages = getMaxPages(fusion);
  AffineExpr times = toLaunchExpr(fusion, getPages(fusion)).floorDiv(least);
  return times.ceilDiv(maxPages < 0 ? most : std::max<int64_t>(1, maxPages / least));
}

int64_t mlsys::selectAttentionParts(FusionOp fusion, const CpuTarget &target) {
  PagedAttentionOp attention = findPagedAttention(fusion);
  if (!attention)
    return 1;
  auto query = cast<RankedTensorType>(attention.getQuery().getType());
  DimExpr requests = getDim(cast<RankedTensorType>(attention.getContextLength().getType()), 0);
  if (!query.hasStaticShape() || getDim(query, 0) != requests)
    return 1;
  // A window bounds the keys.
  KvLayerType layer = attention.getLayer().getType();
  if (std::optional<int64_t> window = attention.getWindow(); window && *window < minContext)
    return 1;
  int64_t maxPages = getMaxPages(fusion);
  if (maxPages >= 0 && maxPages < getMinPartPages(fusion))
    return 1;
  int64_t tasks = query.getDimSize(0) * layer.getHeads();
  if (tasks < target.threads)
    return std::min(maxParts, (2 * target.threads + tasks - 1) / tasks);
  for (int64_t parts = 1; parts < maxParts; ++parts) {
    int64_t rounds = llvm::divideCeil(tasks * parts, target.threads);
    if (100 * tasks * parts >= minBusy * target.threads * rounds)
      return parts;
  }
  return maxParts;
}

int64_t mlsys::countPartElements(FusionOp fusion, int64_t parts) {
  auto query = cast<RankedTensorType>(findPagedAttention(fusion).getQuery().getType());
  return query.getDimSize(0) * query.getDimSize(1) * parts * (query.getDimSize(2) + 2);
}

void mlsys::lowerAttentionJoinForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                     LaunchShape &launch) {
  OpBuilder &b = kernel.builder;
  Location loc = kernel.loc;
  IndexMath math(b, loc);
  auto query = cast<RankedTensorType>(findPagedAttention(kernel.fusion).getQuery().getType());
  int64_t dim = query.getDimSize(2), partSize = dim + 2, width = target.vectorWidth;
  while (dim % width != 0)
    width /= 2;
  Value parts = kernel.inputs.front(), output = kernel.outputs.front();
  Type element = cast<MemRefType>(output.getType()).getElementType();
  VectorType floats = VectorType::get(width, b.getF32Type());
  Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
  Value one = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1));
  emitLoop(b, loc, kernel.begin, kernel.end, 1, [&](Value row) {
    Value first = math.mul(row, kernel.parts * partSize);
    auto numberOf = [&](int64_t part, int64_t at) -> Value {
      return memref::LoadOp::create(b, loc, parts, math.add(first, part * partSize + at));
    };
    SmallVector<Value> peaks, factors;
    Value largest;
    for (int64_t part = 0; part < kernel.parts; ++part) {
      peaks.push_back(numberOf(part, dim));
      largest = largest ? arith::MaximumFOp::create(b, loc, largest, peaks.back()).getResult() : peaks.back();
    }
    Value total = zero;
    for (int64_t part = 0; part < kernel.parts; ++part) {
      Value difference = arith::SubFOp::create(b, loc, peaks[part], largest);
      factors.push_back(::mlir::math::ExpOp::create(b, loc, difference));
      Value weights = arith::MulFOp::create(b, loc, numberOf(part, dim + 1), factors.back());
      total = arith::AddFOp::create(b, loc, total, weights);
    }
    // A request without keys gives zeros.
    Value empty = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, total, zero);
    Value inverse = arith::SelectOp::create(b, loc, empty, zero,
                                            arith::DivFOp::create(b, loc, one, total));
    for (int64_t column = 0; column < dim; column += width) {
      Value sum;
      for (int64_t part = 0; part < kernel.parts; ++part) {
        Value values = vector::LoadOp::create(b, loc, floats, parts,
                                              math.add(first, part * partSize + column));
        Value factor = arith::MulFOp::create(b, loc, factors[part], inverse);
        factor = vector::BroadcastOp::create(b, loc, floats, factor);
        values = arith::MulFOp::create(b, loc, values, factor);
        sum = sum ? arith::AddFOp::create(b, loc, sum, values).getResult() : values;
      }
      if (!element.isF32())
        sum = arith::TruncFOp::create(b, loc, VectorType::get(width, element), sum);
      vector::StoreOp::create(b, loc, sum, output, math.add(math.mul(row, dim), column));
    }
  });
  launch.grid = {getPartsExpr(kernel.fusion) * (query.getDimSize(0) * query.getDimSize(1))};
}
