//===- EmitConstants.cpp - The constants of a target ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "EmitConstants.h"

#include "mlsys/IR/ProgramTypes.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlsys;

/// The elements in memory order, little endian, a byte for an i1.
static LogicalResult appendElements(ElementsAttr value, std::vector<uint8_t> &data) {
  size_t width = graph::getElementBits(value.getElementType()) / 8;
  auto append = [&](const APInt &bits) {
    uint64_t word = bits.getZExtValue();
    for (size_t byte = 0; byte < width; ++byte)
      data.push_back(static_cast<uint8_t>(word >> (8 * byte)));
  };
  if (isa<FloatType>(value.getElementType())) {
    auto range = value.tryGetValues<APFloat>();
    if (!range)
      return failure();
    for (const APFloat &element : *range)
      append(element.bitcastToAPInt());
    return success();
  }
  auto range = value.tryGetValues<APInt>();
  if (!range)
    return failure();
  for (const APInt &element : *range)
    append(element);
  return success();
}

FailureOr<uint32_t> ConstantTable::getIndex(kernel::ConstantOp op) {
  Type elementType = cast<MemRefType>(op.getType()).getElementType();
  const void *elements = op.getSource() ? op.getSourceAttr().getAsOpaquePointer()
                                        : op.getValueAttr().getAsOpaquePointer();
  Key key(elements, elementType.getAsOpaquePointer(), op.getShapeAttr().getAsOpaquePointer(),
          op.getBlock(), op.getPair());
  auto [it, inserted] = indices.try_emplace(key, target.constants.size());
  if (!inserted)
    return it->second;

  std::optional<program::DType> dtype = dtypeOf(elementType);
  if (!dtype)
    return op.emitOpError("has elements of type ") << elementType
                                                   << ", which a program file cannot hold";
  auto constant = std::make_unique<program::ConstantT>();
  constant->name = op.getName().str();
  constant->dtype = *dtype;
  constant->shape = op.getShape().vec();
  uint64_t count = 1;
  if (op.getBlock()) {
    constant->layout = program::Layout::Panels;
    constant->block = op.getBlock();
    constant->pair = op.getPair();
    size_t rank = constant->shape.size();
    int64_t matrices = rank == 3 ? constant->shape[0] : 1;
    count = matrices * llvm::alignTo(constant->shape[rank - 2], op.getBlock()) *
            llvm::alignTo(constant->shape[rank - 1], op.getPair());
  } else {
    for (int64_t extent : constant->shape)
      count *= extent;
  }
  constant->bytes = count * (graph::getElementBits(elementType) / 8);
  if (std::optional<Attribute> source = op.getSource()) {
    if (!makeWeightSources(op.getName(), *source, constant->sources))
      return op.emitOpError("is stored in an unknown type: ") << *source;
  } else {
    ElementsAttr value = *op.getValue();
    if (graph::getElementBits(value.getElementType()) != graph::getElementBits(elementType))
      return op.emitOpError("holds elements of ") << value.getElementType() << " for a buffer of "
                                                  << elementType;
    if (failed(appendElements(value, constant->data)))
      return op.emitOpError("has elements that cannot be read");
  }
  target.constants.push_back(std::move(constant));
  return it->second;
}
