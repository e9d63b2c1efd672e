//===- ElementEmitter.cpp - Expressions of a fusion at an index -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/ElementEmitter.h"

#include "ElementMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static bool isOne(const DimExpr &dim) { return dim.asConstant() == 1; }

/// Whether the extent is known to be a multiple of `width`.
static bool isMultiple(const DimExpr &dim, int64_t width) {
  std::optional<int64_t> value = dim.asConstant();
  return (value ? *value : dim.commonFactor()) % width == 0;
}

ElementEmitter::ElementEmitter(KernelBuilder &kernel)
    : kernel(kernel), math(kernel.builder, kernel.loc) {}

void ElementEmitter::bind(Value value, Source source) {
  sources[value] = std::move(source);
  cache.clear();
}

void ElementEmitter::unbind(Value value) {
  sources.erase(value);
  cache.clear();
}

//===----------------------------------------------------------------------===//
// What can be a vector
//===----------------------------------------------------------------------===//

bool ElementEmitter::canVectorize(Value value, int64_t width) {
  if (width == 1 || sources.contains(value))
    return true;
  RankedTensorType type = typeOf(value);
  if (type.getRank() == 0)
    return false;
  DimExpr last = getDim(type, type.getRank() - 1);
  // A GPU's vector accesses must be aligned, so every row must start aligned.
  if (!kernel.function.isCpu() && type.getRank() > 1 && !isMultiple(last, width))
    return false;
  if (isa<BlockArgument>(value))
    return true;
  Operation *op = value.getDefiningOp();
  auto operandsCan = [&](ValueRange operands) {
    return llvm::all_of(operands, [&](Value operand) { return canVectorize(operand, width); });
  };
  if (isElementwise(op))
    return operandsCan(op->getOperands());
  return TypeSwitch<Operation *, bool>(op)
      .Case<ConstantOp, IotaOp>([](auto) { return true; })
      .Case<BroadcastOp>([&](BroadcastOp broadcast) {
        RankedTensorType from = typeOf(broadcast.getInput());
        bool lastIsNew = broadcast.getDims().empty() || broadcast.getDims().back() != type.getRank() - 1;
        return lastIsNew || getDim(from, from.getRank() - 1) != last ||
               canVectorize(broadcast.getInput(), width);
      })
      .Case<ReshapeOp>([&](ReshapeOp reshape) {
        RankedTensorType from = typeOf(reshape.getInput());
        if (from.getRank() == 0)
          return false;
        DimExpr inner = getDim(from, from.getRank() - 1);
        return (inner == last || (isMultiple(inner, width) && isMultiple(last, width))) &&
               canVectorize(reshape.getInput(), width);
      })
      .Case<TransposeOp>([&](TransposeOp transpose) {
        return transpose.getPermutation().back() == type.getRank() - 1 &&
               canVectorize(transpose.getInput(), width);
      })
      .Case<SliceOp>([&](SliceOp slice) {
        return slice.getOffsets().back() % width == 0 && canVectorize(slice.getInput(), width);
      })
      .Case<ConcatOp>([&](ConcatOp concat) {
        if (static_cast<int64_t>(concat.getDim()) == type.getRank() - 1)
          for (Value input : concat.getInputs().drop_back())
            if (!isMultiple(getDim(typeOf(input), type.getRank() - 1), width))
              return false;
        return operandsCan(concat.getInputs());
      })
      .Case<GatherOp>([&](GatherOp gather) {
        return typeOf(gather.getTable()).getRank() > 1 && canVectorize(gather.getTable(), width);
      })
      .Case<LastTokenOp>([&](LastTokenOp last) {
        return type.getRank() > 1 && canVectorize(last.getInput(), width);
      })
      .Default([](Operation *) { return false; });
}

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

SmallVector<Value> ElementEmitter::delinearize(Value linear, Value value) {
  RankedTensorType type = typeOf(value);
  SmallVector<Value> indices(type.getRank());
  // The first dimension that is not 1 takes the rest, without a modulo.
  int64_t first = 0;
  while (first < type.getRank() && isOne(getDim(type, first)))
    indices[first++] = math.constant(0);
  for (int64_t dim = type.getRank() - 1; dim >= first; --dim) {
    if (dim == first) {
      indices[dim] = linear;
      break;
    }
    Value size = kernel.extent(getDim(type, dim));
    if (std::optional<int64_t> known = getDim(type, dim).asConstant())
      size = math.constant(*known);
    indices[dim] = math.mod(linear, size);
    linear = math.div(linear, size);
  }
  return indices;
}

Value ElementEmitter::linearize(ValueRange indices, RankedTensorType type) {
  Value linear;
  for (auto [position, index] : llvm::enumerate(indices)) {
    DimExpr dim = getDim(type, position);
    if (isOne(dim))
      continue;
    std::optional<int64_t> known = dim.asConstant();
    if (!linear)
      linear = index;
    else
      linear = math.join(linear, known ? math.constant(*known) : kernel.extent(dim), index);
  }
  return linear ? linear : math.constant(0);
}

/// Matches runs of dimensions with equal products from the back, so that only
/// those that are really split or joined take arithmetic.
SmallVector<Value> ElementEmitter::reshapeIndices(ValueRange indices, RankedTensorType from,
                                                  RankedTensorType to) {
  SmallVector<Value> result(to.getRank());
  int64_t source = from.getRank(), target = to.getRank();
  while (source > 0 && target > 0) {
    int64_t sourceEnd = source, targetEnd = target;
    DimExpr sourceSize = getDim(from, --source), targetSize = getDim(to, --target);
    while (sourceSize != targetSize && (source > 0 || target > 0)) {
      std::optional<int64_t> a = sourceSize.asConstant(), b = targetSize.asConstant();
      bool extendSource = a && b ? *a < *b : isOne(sourceSize) || targetSize.divideBy(sourceSize).has_value();
      if (source == 0)
        extendSource = false;
      else if (target == 0)
        extendSource = true;
      if (extendSource)
        sourceSize = sourceSize * getDim(from, --source);
      else
        targetSize = targetSize * getDim(to, --target);
    }
    // One run: dimensions [source, sourceEnd) become [target, targetEnd).
    SmallVector<DimExpr> sourceDims, targetDims;
    for (int64_t dim = source; dim < sourceEnd; ++dim)
      sourceDims.push_back(getDim(from, dim));
    for (int64_t dim = target; dim < targetEnd; ++dim)
      targetDims.push_back(getDim(to, dim));
    Value linear = linearize(indices.slice(source, sourceEnd - source),
                             getTensorType(sourceDims, from.getElementType()));
    int64_t first = target;
    while (first < targetEnd - 1 && isOne(targetDims[first - target]))
      result[first++] = math.constant(0);
    for (int64_t dim = targetEnd - 1; dim > first; --dim) {
      std::optional<int64_t> known = targetDims[dim - target].asConstant();
      Value size = known ? math.constant(*known) : kernel.extent(targetDims[dim - target]);
      result[dim] = math.mod(linear, size);
      linear = math.div(linear, size);
    }
    result[first] = linear;
  }
  // What is left has extent 1.
  while (target > 0)
    result[--target] = math.constant(0);
  return result;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// One element or a vector as it is computed with.
Value ElementEmitter::widen(Value loaded) {
  Type element = getElementTypeOrSelf(loaded.getType()), compute = getComputeType(element);
  if (compute == element)
    return loaded;
  auto vector = dyn_cast<VectorType>(loaded.getType());
  return arith::ExtFOp::create(
      kernel.builder, kernel.loc,
      vector ? Type(VectorType::get(vector.getShape(), compute)) : compute, loaded);
}

Value ElementEmitter::load(Value buffer, Value linear, int64_t width) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Value result;
  if (width == 1) {
    result = memref::LoadOp::create(builder, loc, buffer, linear);
  } else if (element.isInteger(1)) {
    // A vector of i1 would be read as bits, but each is a byte.
    SmallVector<Value> bits;
    for (int64_t lane = 0; lane < width; ++lane)
      bits.push_back(memref::LoadOp::create(builder, loc, buffer, math.add(linear, lane)));
    return vector::FromElementsOp::create(builder, loc, VectorType::get({width}, element), bits);
  } else {
    result = vector::LoadOp::create(builder, loc, VectorType::get({width}, element), buffer, linear);
  }
  return widen(result);
}

/// In a panel the elements of a row lie apart, a pair here and a pair there.
Value ElementEmitter::loadFromPanels(BlockArgument table, ValueRange indices, int64_t width) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  Value buffer = kernel.bufferOf(table), row = indices[0], column = indices[1];
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  int64_t pair = getPanelPair(element), step = panelColumns * pair;
  int64_t steps = llvm::divideCeil(typeOf(table).getDimSize(1), pair);
  Value first = math.join(math.join(math.div(row, panelColumns), math.constant(steps),
                                    math.div(column, pair)),
                          math.constant(step), math.mul(math.mod(row, panelColumns), pair));
  if (width == 1)
    return widen(memref::LoadOp::create(builder, loc, buffer,
                                        math.add(first, math.mod(column, math.constant(pair)))));
  assert(width % pair == 0 && "a vector is made of whole pairs");
  int64_t bits = pair * getElementBits(element);
  Type word = pair == 1 ? element : Type(builder.getIntegerType(bits));
  SmallVector<Value> words;
  for (int64_t place = 0; place < width / pair; ++place) {
    Value index = math.add(first, place * step);
    if (pair == 1) {
      words.push_back(memref::LoadOp::create(builder, loc, buffer, index));
      continue;
    }
    Value loaded =
        vector::LoadOp::create(builder, loc, VectorType::get({pair}, element), buffer, index);
    Value asWord = vector::BitCastOp::create(builder, loc, VectorType::get({1}, word), loaded);
    words.push_back(vector::ExtractOp::create(builder, loc, asWord, 0));
  }
  Value result = vector::FromElementsOp::create(builder, loc,
                                                VectorType::get({width / pair}, word), words);
  if (pair > 1)
    result = vector::BitCastOp::create(builder, loc, VectorType::get({width}, element), result);
  return widen(result);
}

void ElementEmitter::store(Value element, Value buffer, Value linear, bool streaming) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  Type type = cast<MemRefType>(buffer.getType()).getElementType();
  auto vector = dyn_cast<VectorType>(element.getType());
  if (getElementTypeOrSelf(element.getType()) != type)
    element = arith::TruncFOp::create(
        builder, loc, vector ? Type(VectorType::get(vector.getShape(), type)) : type, element);
  if (!vector) {
    memref::StoreOp::create(builder, loc, element, buffer, linear);
  } else if (type.isInteger(1)) {
    for (int64_t lane = 0; lane < vector.getDimSize(0); ++lane)
      memref::StoreOp::create(builder, loc,
                              vector::ExtractOp::create(builder, loc, element, lane), buffer,
                              math.add(linear, lane));
  } else {
    llvm::MaybeAlign alignment;
    if (streaming)
      alignment = llvm::Align(vector.getNumElements() * getElementBits(type) / 8);
    vector::StoreOp::create(builder, loc, element, buffer, linear, streaming, alignment);
  }
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value ElementEmitter::splat(Value element, int64_t width) {
  if (width == 1)
    return element;
  return vector::BroadcastOp::create(kernel.builder, kernel.loc,
                                     VectorType::get({width}, element.getType()), element);
}

Value ElementEmitter::emit(Value value, ValueRange indices, int64_t width) {
  Key key{value.getAsOpaquePointer(), width, {}};
  for (Value index : indices)
    std::get<2>(key).push_back(index.getAsOpaquePointer());
  if (Value known = cache.lookup(kernel.builder, key))
    return known;
  Value result = emitUncached(value, indices, width);
  cache.insert(kernel.builder, key, result);
  return result;
}

Value ElementEmitter::emitUncached(Value value, ValueRange indices, int64_t width) {
  if (auto found = sources.find(value); found != sources.end())
    return found->second(indices, width);
  RankedTensorType type = typeOf(value);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (kernel.packedTables.contains(argument.getArgNumber()))
      return loadFromPanels(argument, indices, width);
    return load(kernel.bufferOf(argument), linearize(indices, type), width);
  }
  Operation *op = value.getDefiningOp();
  if (isElementwise(op)) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(emit(operand, indices, width));
    if (Value result = emitElementwise(kernel.builder, kernel.loc, op, operands, width))
      return result;
  }
  Value result =
      TypeSwitch<Operation *, Value>(op)
          .Case<ConstantOp>([&](ConstantOp constant) { return emitConstant(constant, width); })
          .Case<IotaOp>([&](IotaOp iota) { return emitIota(iota, indices, width); })
          .Case<ConcatOp>([&](ConcatOp concat) { return emitConcat(concat, indices, width); })
          .Case<BroadcastOp>([&](BroadcastOp broadcast) {
            RankedTensorType from = typeOf(broadcast.getInput());
            SmallVector<Value> inner;
            bool uniform = true;
            for (auto [position, dim] : llvm::enumerate(broadcast.getDims())) {
              bool repeated = getDim(from, position) != getDim(type, dim);
              inner.push_back(repeated ? math.constant(0) : indices[dim]);
              uniform &= repeated || dim != type.getRank() - 1;
            }
            return uniform ? splat(emit(broadcast.getInput(), inner, 1), width)
                           : emit(broadcast.getInput(), inner, width);
          })
          .Case<ReshapeOp>([&](ReshapeOp reshape) {
            return emit(reshape.getInput(),
                        reshapeIndices(indices, type, typeOf(reshape.getInput())), width);
          })
          .Case<TransposeOp>([&](TransposeOp transpose) {
            SmallVector<Value> inner(type.getRank());
            for (auto [position, dim] : llvm::enumerate(transpose.getPermutation()))
              inner[dim] = indices[position];
            return emit(transpose.getInput(), inner, width);
          })
          .Case<SliceOp>([&](SliceOp slice) {
            SmallVector<Value> inner;
            for (auto [index, offset] : llvm::zip_equal(indices, slice.getOffsets()))
              inner.push_back(math.add(index, offset));
            return emit(slice.getInput(), inner, width);
          })
          .Case<GatherOp>([&](GatherOp gather) {
            int64_t rank = typeOf(gather.getIndices()).getRank();
            SmallVector<Value> inner{emitIndex(gather.getIndices(), indices.take_front(rank))};
            inner.append(indices.begin() + rank, indices.end());
            return emit(gather.getTable(), inner, width);
          })
          .Case<LastTokenOp>([&](LastTokenOp last) {
            SmallVector<Value> inner(indices);
            Value end = emitIndex(last.getQueryStart(), math.add(indices[0], 1));
            inner[0] = math.sub(end, math.constant(1));
            return emit(last.getInput(), inner, width);
          })
          .Default([](Operation *) { return Value(); });
  if (result)
    return result;
  if (!kernel.failed)
    op->emitOpError("has no value at an index: kernels of kind '")
        << kernel.fusion.getKind() << "' cannot compute it";
  kernel.failed = true;
  Type element = getComputeType(type.getElementType());
  Value zero = arith::ConstantOp::create(kernel.builder, kernel.loc, kernel.builder.getZeroAttr(element));
  return splat(zero, width);
}

/// An integer element as an index.
Value ElementEmitter::emitIndex(Value value, ValueRange indices) {
  return arith::IndexCastOp::create(kernel.builder, kernel.loc, kernel.builder.getIndexType(),
                                    emit(value, indices, 1));
}

Value ElementEmitter::emitConstant(ConstantOp op, int64_t width) {
  Attribute element = getSplat(op.getResult());
  if (!element)
    return {};
  Type type = getComputeType(typeOf(op.getResult()).getElementType());
  OpBuilder &builder = kernel.builder;
  TypedAttr value;
  if (auto real = dyn_cast<FloatAttr>(element))
    value = builder.getFloatAttr(type, real.getValueAsDouble());
  else
    value = builder.getIntegerAttr(type, cast<IntegerAttr>(element).getValue());
  if (width > 1)
    value = DenseElementsAttr::get(VectorType::get({width}, type), {Attribute(value)});
  return arith::ConstantOp::create(builder, kernel.loc, value);
}

/// The last dimension counts inside a vector, the others are the same for all of it.
Value ElementEmitter::emitIota(IotaOp op, ValueRange indices, int64_t width) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  RankedTensorType type = typeOf(op.getResult());
  Type element = getComputeType(type.getElementType());
  Type integer = isa<FloatType>(element) ? Type(builder.getI64Type()) : element;
  Value first = arith::IndexCastOp::create(builder, loc, integer, indices[op.getDim()]);
  Value result = splat(first, width);
  if (width > 1 && static_cast<int64_t>(op.getDim()) == type.getRank() - 1) {
    SmallVector<Attribute> lanes;
    for (int64_t lane = 0; lane < width; ++lane)
      lanes.push_back(builder.getIntegerAttr(integer, lane));
    auto vector = VectorType::get({width}, integer);
    Value steps = arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(vector, lanes));
    result = arith::AddIOp::create(builder, loc, result, steps);
  }
  if (element != integer)
    result = arith::SIToFPOp::create(
        builder, loc, width == 1 ? element : Type(VectorType::get({width}, element)), result);
  return result;
}

/// Picks the input by the index; a whole vector lies in one input.
Value ElementEmitter::emitConcat(ConcatOp op, ValueRange indices, int64_t width) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  RankedTensorType type = typeOf(op.getResult());
  Type element = getComputeType(type.getElementType());
  Type resultType = width == 1 ? element : Type(VectorType::get({width}, element));
  DimExpr start = DimExpr::constant(0);
  auto bound = [&](const DimExpr &dim) {
    std::optional<int64_t> known = dim.asConstant();
    return known ? math.constant(*known) : kernel.extent(dim);
  };
  std::function<Value(size_t, DimExpr)> pick = [&](size_t input, DimExpr start) -> Value {
    Value source = op.getInputs()[input];
    DimExpr end = start + getDim(typeOf(source), op.getDim());
    auto take = [&]() {
      SmallVector<Value> inner(indices);
      inner[op.getDim()] = math.sub(indices[op.getDim()], bound(start));
      return emit(source, inner, width);
    };
    if (input + 1 == op.getInputs().size())
      return take();
    Value condition = math.less(indices[op.getDim()], bound(end));
    if (std::optional<int64_t> known = getConstantIntValue(condition))
      return *known != 0 ? take() : pick(input + 1, end);
    auto branch = scf::IfOp::create(builder, loc, resultType, condition, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    Value taken = take();
    scf::YieldOp::create(builder, loc, taken);
    builder.setInsertionPointToStart(branch.elseBlock());
    Value other = pick(input + 1, end);
    scf::YieldOp::create(builder, loc, other);
    return branch.getResult(0);
  };
  return pick(0, start);
}
