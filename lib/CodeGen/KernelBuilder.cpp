//===- KernelBuilder.cpp - A kernel under construction --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/FusionLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlsys;

/// Scratch memory handed out is aligned to this.
static constexpr int64_t scratchAlignment = 64;

Value KernelBuilder::extent(const graph::DimExpr &dim) {
  // Everything goes to the start of the function, where it dominates all uses.
  Value &known = symbols[dim.str()];
  if (known)
    return known;
  OpBuilder::InsertionGuard guard(builder);
  Block &entry = function.getBody().front();
  builder.setInsertionPointToStart(&entry);
  if (std::optional<int64_t> value = dim.asConstant())
    return known = arith::ConstantIndexOp::create(builder, loc, *value);
  if (int64_t factor = dim.commonFactor(); factor != 1) {
    Value rest = extent(*dim.divideBy(graph::DimExpr::constant(factor)));
    builder.setInsertionPointAfterValue(rest);
    if (isa<BlockArgument>(rest))
      builder.setInsertionPointToStart(&entry);
    Value number = arith::ConstantIndexOp::create(builder, loc, factor);
    return symbols[dim.str()] = arith::MulIOp::create(builder, loc, rest, number);
  }
  // The whole of it is an argument, not the symbols in it: kernels for B * S rows and for T rows are equal.
  unsigned position = function.getNumBuffers() + function.getNumSymbols();
  SmallVector<Type> types(function.getArgumentTypes());
  types.insert(types.begin() + position, builder.getIndexType());
  function.setFunctionType(builder.getFunctionType(types, {}));
  symbolNames.push_back(dim.str());
  return known = entry.insertArgument(position, builder.getIndexType(), loc);
}

Value KernelBuilder::allocScratch(int64_t count, Type elementType) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&function.getBody().front());
  int64_t bytes = count * graph::getElementBits(elementType) / 8;
  Value offset = arith::ConstantIndexOp::create(builder, loc, scratchBytes);
  scratchBytes += (bytes + scratchAlignment - 1) / scratchAlignment * scratchAlignment;
  return memref::ViewOp::create(builder, loc, MemRefType::get({count}, elementType), scratch,
                                offset, ValueRange());
}

Value KernelBuilder::bufferOf(BlockArgument argument) { return inputs[argument.getArgNumber()]; }

Value KernelBuilder::bufferOfOutput(unsigned position) {
  auto yield = cast<graph::YieldOp>(fusion.getBody().front().getTerminator());
  auto isTensor = [](Value value) { return isa<RankedTensorType>(value.getType()); };
  Value value = yield.getValues()[position];
  if (isTensor(value))
    return outputs[llvm::count_if(yield.getValues().take_front(position), isTensor)];
  while (auto write = value.getDefiningOp<graph::CacheWriteOp>())
    value = write.getLayer();
  return bufferOf(cast<BlockArgument>(value));
}

MemRefType mlsys::getBufferType(Type graphType) {
  Type element;
  if (auto tensor = dyn_cast<RankedTensorType>(graphType))
    element = tensor.getElementType();
  else if (auto layer = dyn_cast<graph::KvLayerType>(graphType))
    element = layer.getElementType();
  else
    element = IntegerType::get(graphType.getContext(), 8);
  if (element.isUnsignedInteger())
    element = IntegerType::get(graphType.getContext(), element.getIntOrFloatBitWidth());
  return MemRefType::get({ShapedType::kDynamic}, element);
}

Type mlsys::getComputeType(Type elementType) {
  if (elementType.isF16() || elementType.isBF16())
    return Float32Type::get(elementType.getContext());
  if (elementType.isUnsignedInteger())
    return IntegerType::get(elementType.getContext(), elementType.getIntOrFloatBitWidth());
  return elementType;
}
