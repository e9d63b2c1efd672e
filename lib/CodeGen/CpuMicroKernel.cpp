//===- CpuMicroKernel.cpp - Register tiles of a product -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CpuMicroKernel.h"

#include "CpuIntegerSteps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

using namespace mlir;
using namespace mlsys;

Value mlsys::indexConstant(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

Value mlsys::indexAdd(OpBuilder &builder, Location loc, Value lhs, Value rhs) {
  return builder.createOrFold<arith::AddIOp>(loc, lhs, rhs);
}

Value mlsys::indexAdd(OpBuilder &builder, Location loc, Value lhs, int64_t rhs) {
  return rhs == 0 ? lhs : indexAdd(builder, loc, lhs, indexConstant(builder, loc, rhs));
}

Value mlsys::indexMul(OpBuilder &builder, Location loc, Value lhs, int64_t rhs) {
  return rhs == 1 ? lhs
                  : builder.createOrFold<arith::MulIOp>(loc, lhs, indexConstant(builder, loc, rhs));
}

namespace {
/// Emits one register tile.
class MicroKernelEmitter {
public:
  MicroKernelEmitter(OpBuilder &builder, Location loc, const MicroKernel &kernel,
                     const MicroOperands &operands)
      : b(builder), loc(loc), kernel(kernel), operands(operands),
        vectorType(VectorType::get(
            kernel.width, kernel.isInteger() ? Type(builder.getI32Type()) : Type(builder.getF32Type()))) {}

  void emit();

private:
  Value tileIndex(int64_t row, int64_t vector);
  SmallVector<Value> initialSums();
  /// One step at `offset` steps after `step`.
  void emitStep(Value step, int64_t offset, MutableArrayRef<Value> sums);
  void emitPrefetch(Value rhsIndex);
  /// The share of `unroll` steps after `step` in what is brought to the cache ahead of its use.
  void emitFetchAhead(Value step, int64_t unroll);
  /// A vector of right elements, in f32; `half` chooses an element of each pair.
  Value widen(Value loaded, int64_t half);
  Value broadcastRow(Value lhsIndex, int64_t row, int64_t half);
  void emitLoop(Value begin, Value end, int64_t unroll, SmallVector<Value> &sums);

  OpBuilder &b;
  Location loc;
  const MicroKernel &kernel;
  const MicroOperands &operands;
  VectorType vectorType;
};
} // namespace

Value MicroKernelEmitter::tileIndex(int64_t row, int64_t vector) {
  return indexAdd(b, loc, operands.tileOffset, row * operands.tileStride + vector * kernel.width);
}

SmallVector<Value> MicroKernelEmitter::initialSums() {
  SmallVector<Value> sums;
  Value zero;
  if (!operands.accumulate)
    zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(vectorType));
  for (int64_t row = 0; row < kernel.rows; ++row) {
    Value factor;
    if (operands.rowFactors)
      factor = vector::BroadcastOp::create(
          b, loc, vectorType,
          memref::LoadOp::create(b, loc, operands.rowFactors, indexAdd(b, loc, operands.firstRow, row))
              .getResult());
    Value start;
    if (operands.rowStarts)
      start = vector::BroadcastOp::create(
          b, loc, vectorType,
          memref::LoadOp::create(b, loc, operands.rowStarts, indexAdd(b, loc, operands.firstRow, row))
              .getResult());
    for (int64_t vector = 0; vector < kernel.vectors; ++vector) {
      Value sum = zero;
      if (!sum)
        sum = vector::LoadOp::create(b, loc, vectorType, operands.tile, tileIndex(row, vector));
      if (start)
        sum = arith::AddIOp::create(b, loc, sum, start);
      sums.push_back(factor ? arith::MulFOp::create(b, loc, sum, factor).getResult() : sum);
    }
  }
  return sums;
}

void MicroKernelEmitter::emitPrefetch(Value rhsIndex) {
  constexpr int64_t lineBytes = 64;
  int64_t elementBytes = kernel.rhsType.getIntOrFloatBitWidth() / 8;
  int64_t bytes = kernel.columns() * kernel.pair * elementBytes;
  for (int64_t byte = 0; byte < bytes; byte += lineBytes) {
    Value index = indexAdd(b, loc, rhsIndex, (kernel.prefetchBytes + byte) / elementBytes);
    memref::PrefetchOp::create(b, loc, operands.rhs, index, /*isWrite=*/false,
                               /*localityHint=*/3, /*isDataCache=*/true);
  }
}

void MicroKernelEmitter::emitFetchAhead(Value step, int64_t unroll) {
  constexpr int64_t lineBytes = 64;
  int64_t perStep = operands.rhsStride / kernel.aheadParts;
  int64_t elementBytes = kernel.rhsType.getIntOrFloatBitWidth() / 8;
  Value first = indexAdd(b, loc, operands.ahead, indexMul(b, loc, step, perStep));
  for (int64_t byte = 0; byte < unroll * perStep * elementBytes; byte += lineBytes)
    memref::PrefetchOp::create(b, loc, operands.rhs, indexAdd(b, loc, first, byte / elementBytes),
                               /*isWrite=*/false, /*localityHint=*/2, /*isDataCache=*/true);
}

Value MicroKernelEmitter::widen(Value loaded, int64_t half) {
  if (kernel.pair == 1)
    return kernel.rhsType.isF32() ? loaded
                                  : arith::ExtFOp::create(b, loc, vectorType, loaded).getResult();
  // Little endian: the first of a pair is the low half.
  auto pairsType = VectorType::get(kernel.width, b.getI32Type());
  Value pairs = vector::BitCastOp::create(b, loc, pairsType, loaded);
  auto constant = [&](int32_t value) {
    return arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(pairsType, b.getI32IntegerAttr(value)));
  };
  if (kernel.rhsType.isBF16()) {
    // bf16 is the high half of f32.
    Value bits = half == 0
                     ? arith::ShLIOp::create(b, loc, pairs, constant(16)).getResult()
                     : arith::AndIOp::create(b, loc, pairs, constant(int32_t(0xffff0000u)));
    return vector::BitCastOp::create(b, loc, vectorType, bits);
  }
  if (half == 1)
    pairs = arith::ShRUIOp::create(b, loc, pairs, constant(16));
  auto bitsType = VectorType::get(kernel.width, b.getI16Type());
  Value bits = arith::TruncIOp::create(b, loc, bitsType, pairs);
  Value halves =
      vector::BitCastOp::create(b, loc, VectorType::get(kernel.width, kernel.rhsType), bits);
  return arith::ExtFOp::create(b, loc, vectorType, halves);
}

Value MicroKernelEmitter::broadcastRow(Value lhsIndex, int64_t row, int64_t half) {
  Value index = indexAdd(b, loc, lhsIndex, row * operands.lhsStride + half);
  if (!kernel.bf16Dot) {
    Value element = memref::LoadOp::create(b, loc, operands.lhs, index);
    return vector::BroadcastOp::create(b, loc, vectorType, element);
  }
  Value pair = vector::LoadOp::create(b, loc, VectorType::get(2, b.getBF16Type()), operands.lhs,
                                      index);
  Value word = vector::BitCastOp::create(b, loc, VectorType::get(1, b.getI32Type()), pair);
  Value scalar = vector::ExtractOp::create(b, loc, word, 0);
  Value words =
      vector::BroadcastOp::create(b, loc, VectorType::get(kernel.width, b.getI32Type()), scalar);
  return vector::BitCastOp::create(b, loc, VectorType::get(2 * kernel.width, b.getBF16Type()),
                                   words);
}

void MicroKernelEmitter::emitStep(Value step, int64_t offset, MutableArrayRef<Value> sums) {
  Value lhsIndex = indexAdd(b, loc, operands.lhsOffset, indexMul(b, loc, step, kernel.pair));
  Value rhsIndex =
      indexAdd(b, loc, operands.rhsOffset, indexMul(b, loc, step, operands.rhsStride));
  lhsIndex = indexAdd(b, loc, lhsIndex, offset * kernel.pair);
  rhsIndex = indexAdd(b, loc, rhsIndex, offset * operands.rhsStride);
  if (kernel.prefetchBytes)
    emitPrefetch(rhsIndex);
  auto loadType = VectorType::get(kernel.width * kernel.pair, kernel.rhsType);
  SmallVector<Value> loaded;
  for (int64_t vector = 0; vector < kernel.vectors; ++vector)
    loaded.push_back(vector::LoadOp::create(
        b, loc, loadType, operands.rhs,
        indexAdd(b, loc, rhsIndex, vector * kernel.width * kernel.pair)));
  if (kernel.isInteger())
    return emitIntegerStep(b, loc, kernel, operands, lhsIndex, loaded, sums);
  if (kernel.bf16Dot) {
    for (int64_t row = 0; row < kernel.rows; ++row) {
      Value lhs = broadcastRow(lhsIndex, row, 0);
      for (int64_t vector = 0; vector < kernel.vectors; ++vector) {
        Value &sum = sums[row * kernel.vectors + vector];
        sum = x86vector::DotBF16Op::create(b, loc, vectorType, sum, lhs, loaded[vector]);
      }
    }
    return;
  }
  for (int64_t half = 0; half < kernel.pair; ++half) {
    SmallVector<Value> columns;
    for (Value vector : loaded)
      columns.push_back(widen(vector, half));
    for (int64_t row = 0; row < kernel.rows; ++row) {
      Value lhs = broadcastRow(lhsIndex, row, half);
      for (int64_t vector = 0; vector < kernel.vectors; ++vector) {
        Value &sum = sums[row * kernel.vectors + vector];
        sum = vector::FMAOp::create(b, loc, lhs, columns[vector], sum);
      }
    }
  }
}

void MicroKernelEmitter::emitLoop(Value begin, Value end, int64_t unroll,
                                  SmallVector<Value> &sums) {
  auto loop = scf::ForOp::create(b, loc, begin, end, indexConstant(b, loc, unroll), sums);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next(loop.getRegionIterArgs());
  if (kernel.aheadParts)
    emitFetchAhead(loop.getInductionVar(), unroll);
  for (int64_t offset = 0; offset < unroll; ++offset)
    emitStep(loop.getInductionVar(), offset, next);
  scf::YieldOp::create(b, loc, next);
  sums.assign(loop.getResults().begin(), loop.getResults().end());
}

void MicroKernelEmitter::emit() {
  SmallVector<Value> sums = initialSums();
  Value zero = indexConstant(b, loc, 0);
  std::optional<int64_t> steps = getConstantIntValue(operands.steps);
  if (kernel.unroll == 1) {
    emitLoop(zero, operands.steps, 1, sums);
  } else if (steps) {
    int64_t whole = *steps / kernel.unroll * kernel.unroll;
    if (whole)
      emitLoop(zero, indexConstant(b, loc, whole), kernel.unroll, sums);
    Value last = indexConstant(b, loc, whole);
    for (int64_t offset = 0; offset < *steps - whole; ++offset)
      emitStep(last, offset, sums);
  } else {
    Value unroll = indexConstant(b, loc, kernel.unroll);
    Value rest = arith::RemUIOp::create(b, loc, operands.steps, unroll);
    Value whole = arith::SubIOp::create(b, loc, operands.steps, rest);
    emitLoop(zero, whole, kernel.unroll, sums);
    emitLoop(whole, operands.steps, 1, sums);
  }
  for (int64_t row = 0; row < kernel.rows; ++row)
    for (int64_t vector = 0; vector < kernel.vectors; ++vector)
      vector::StoreOp::create(b, loc, sums[row * kernel.vectors + vector], operands.tile,
                              tileIndex(row, vector));
}

void mlsys::emitMicroKernel(OpBuilder &builder, Location loc, const MicroKernel &kernel,
                            const MicroOperands &operands) {
  assert((!kernel.bf16Dot || kernel.pair == 2) && "the dot instruction takes pairs");
  MicroKernelEmitter(builder, loc, kernel, operands).emit();
}

void mlsys::emitLoop(OpBuilder &b, Location loc, Value begin, Value end, int64_t step,
                     llvm::function_ref<void(Value)> body) {
  std::optional<int64_t> from = getConstantIntValue(begin), to = getConstantIntValue(end);
  if (from && to && *to <= *from + step) {
    if (*to > *from)
      body(begin);
    return;
  }
  auto loop = scf::ForOp::create(b, loc, begin, end, indexConstant(b, loc, step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void mlsys::emitRowGroups(OpBuilder &b, Location loc, Value count, int64_t rows,
                          llvm::function_ref<void(Value, int64_t)> body) {
  std::optional<int64_t> known = getConstantIntValue(count);
  Value done = indexConstant(b, loc, 0);
  int64_t knownDone = 0;
  for (int64_t group = rows; group > 0;) {
    if (known) {
      if (int64_t times = (*known - knownDone) / group; times == 1) {
        body(done, group);
        knownDone += group;
        done = indexConstant(b, loc, knownDone);
      } else if (times > 1) {
        int64_t end = knownDone + times * group;
        auto loop = scf::ForOp::create(b, loc, done, indexConstant(b, loc, end),
                                       indexConstant(b, loc, group));
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(loop.getBody());
        body(loop.getInductionVar(), group);
        b.setInsertionPointAfter(loop);
        knownDone = end;
        done = indexConstant(b, loc, knownDone);
      }
      group = std::min(group - 1, *known - knownDone);
      continue;
    }
    // The last groups whose size does not divide what is left are made of smaller ones.
    Value left = arith::SubIOp::create(b, loc, count, done);
    Value rest = group == 1 ? indexConstant(b, loc, 0)
                            : arith::RemUIOp::create(b, loc, left, indexConstant(b, loc, group))
                                  .getResult();
    Value end = arith::SubIOp::create(b, loc, count, rest);
    auto loop = scf::ForOp::create(b, loc, done, end, indexConstant(b, loc, group));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      body(loop.getInductionVar(), group);
    }
    done = end;
    group = group == 1 ? 0 : group > 4 ? 4 : 1;
  }
}
