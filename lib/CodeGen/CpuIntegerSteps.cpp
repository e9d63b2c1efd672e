//===- CpuIntegerSteps.cpp - Products of 8-bit integers on the CPU --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CpuIntegerSteps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;

/// Bytes of K that lie together in a panel.
static constexpr int64_t quad = 4;

static Value callIntrinsic(OpBuilder &b, Location loc, StringRef name, Type type, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, loc, type, b.getStringAttr(name), operands).getResult(0);
}

static Value splatBytes(OpBuilder &b, Location loc, VectorType type, int8_t value) {
  return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, b.getI8IntegerAttr(value)));
}

/// sums + products of unsigned bytes with signed ones, four by four (AVX-512 VNNI).
static Value dotBytes(OpBuilder &b, Location loc, Value sums, Value unsignedBytes, Value signedBytes) {
  return callIntrinsic(b, loc, "llvm.x86.avx512.vpdpbusd.512", sums.getType(),
                       {sums, unsignedBytes, signedBytes});
}

/// `count` elements from `index` on, which are 32 bits together, in every lane of 32 bits.
static Value broadcastWord(OpBuilder &b, Location loc, Value buffer, Value index, int64_t count, int64_t width) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Type word = b.getI32Type();
  Value loaded = vector::LoadOp::create(b, loc, VectorType::get(count, element), buffer, index);
  Value asWord = vector::BitCastOp::create(b, loc, VectorType::get(1, word), loaded);
  Value lanes = vector::BroadcastOp::create(b, loc, VectorType::get(width, word),
                                            vector::ExtractOp::create(b, loc, asWord, 0).getResult());
  return vector::BitCastOp::create(b, loc, VectorType::get(count * width, element), lanes);
}

/// Bytes 2 half and 2 half + 1 of each quad as 16-bit integers.
static Value widenHalf(OpBuilder &b, Location loc, Value bytes, int64_t width, int64_t half) {
  auto type = cast<VectorType>(bytes.getType());
  Value zero = splatBytes(b, loc, type, 0);
  SmallVector<int64_t> mask;
  for (int64_t lane = 0; lane < width; ++lane)
    for (int64_t element = 2 * half; element < 2 * half + 2; ++element) {
      mask.push_back(quad * width);
      mask.push_back(lane * quad + element);
    }
  Value high = vector::ShuffleOp::create(b, loc, bytes, zero, mask);
  auto wide = VectorType::get(2 * width, b.getI16Type());
  Value shift = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(wide, b.getI16IntegerAttr(8)));
  return arith::ShRSIOp::create(b, loc, vector::BitCastOp::create(b, loc, wide, high), shift);
}

void mlsys::emitIntegerStep(OpBuilder &b, Location loc, const MicroKernel &kernel, const MicroOperands &operands,
                            Value lhsIndex, ArrayRef<Value> loaded, MutableArrayRef<Value> sums) {
  int64_t width = kernel.width, vectors = kernel.vectors;
  auto lhsAt = [&](int64_t row, int64_t element) {
    return indexAdd(b, loc, lhsIndex, row * operands.lhsStride + element);
  };
  if (kernel.byteDot) {
    SmallVector<Value> columns(loaded);
    if (!kernel.unsignedLhs)
      for (Value &column : columns)
        column = arith::XOrIOp::create(
            b, loc, column, splatBytes(b, loc, cast<VectorType>(column.getType()), int8_t(-128)));
    for (int64_t row = 0; row < kernel.rows; ++row) {
      Value lhs = broadcastWord(b, loc, operands.lhs, lhsAt(row, 0), quad, width);
      for (int64_t vector = 0; vector < vectors; ++vector) {
        Value &sum = sums[row * vectors + vector];
        sum = kernel.unsignedLhs ? dotBytes(b, loc, sum, lhs, columns[vector])
                                 : dotBytes(b, loc, sum, columns[vector], lhs);
      }
    }
    return;
  }
  StringRef multiply = width == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<Value> columns;
    for (Value bytes : loaded)
      columns.push_back(widenHalf(b, loc, bytes, width, half));
    for (int64_t row = 0; row < kernel.rows; ++row) {
      Value lhs = broadcastWord(b, loc, operands.lhs, lhsAt(row, 2 * half), 2, width);
      for (int64_t vector = 0; vector < vectors; ++vector) {
        Value &sum = sums[row * vectors + vector];
        Value products = callIntrinsic(b, loc, multiply, sum.getType(), {columns[vector], lhs});
        sum = arith::AddIOp::create(b, loc, sum, products);
      }
    }
  }
}

Value mlsys::emitByteSum(OpBuilder &b, Location loc, Value buffer, Value first, int64_t count) {
  constexpr int64_t lanes = 64;
  auto bytesType = VectorType::get(lanes, b.getI8Type());
  auto sumsType = VectorType::get(lanes / quad, b.getI32Type());
  Value ones = splatBytes(b, loc, bytesType, 1);
  Value sums = arith::ConstantOp::create(b, loc, b.getZeroAttr(sumsType));
  int64_t whole = count / lanes * lanes;
  auto loopOver = [&](int64_t begin, int64_t end, int64_t step, Value initial,
                      llvm::function_ref<Value(Value, Value)> add) -> Value {
    if (begin == end)
      return initial;
    auto loop = scf::ForOp::create(b, loc, indexConstant(b, loc, begin), indexConstant(b, loc, end),
                                   indexConstant(b, loc, step), ValueRange{initial});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value next = add(indexAdd(b, loc, first, loop.getInductionVar()), loop.getRegionIterArg(0));
    scf::YieldOp::create(b, loc, next);
    return loop.getResult(0);
  };
  sums = loopOver(0, whole, lanes, sums, [&](Value index, Value sums) {
    Value bytes = vector::LoadOp::create(b, loc, bytesType, buffer, index);
    return dotBytes(b, loc, sums, ones, bytes);
  });
  Value sum = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, sums);
  return loopOver(whole, count, 1, sum, [&](Value index, Value sum) -> Value {
    Value byte = memref::LoadOp::create(b, loc, buffer, index);
    return arith::AddIOp::create(b, loc, sum, arith::ExtSIOp::create(b, loc, b.getI32Type(), byte));
  });
}
