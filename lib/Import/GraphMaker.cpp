//===- GraphMaker.cpp - Operations of an imported graph -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "GraphMaker.h"

#include "runtime/Program.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::importer;
using graph::DimExpr;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

RankedTensorType GraphMaker::type(ArrayRef<int64_t> inner, Type element) {
  SmallVector<DimExpr> dims = {batch, sequence};
  for (int64_t extent : inner)
    dims.push_back(DimExpr::constant(extent));
  return graph::getTensorType(dims, element);
}

Value GraphMaker::weight(Module module, Part part, int64_t layer) {
  const ModelWeight *found = weights.find(module, part, layer);
  if (!found)
    return nullptr;
  Value &value = made[{module, part, layer}];
  if (value)
    return value;
  MLIRContext *context = builder.getContext();
  SmallVector<graph::WeightSourceAttr> parts;
  for (const WeightPart &part : found->parts) {
    const rt::StoredTensor &stored = *part.stored;
    parts.push_back(graph::WeightSourceAttr::get(
        context, stored.file, stored.offset, stored.bytes, rt::dtypeName(stored.dtype), part.shape,
        part.transposed, part.rows, found->unpermuteRows, found->headRows));
  }
  if (parts.empty())
    parts.push_back(graph::WeightSourceAttr::get(context, -1, ++seed, 0, "random", found->shape,
                                                 false, {}, 0, 0));
  Attribute source = parts.front();
  if (parts.size() > 1)
    source = graph::WeightStackAttr::get(context, parts);
  Location loc = NameLoc::get(builder.getStringAttr(found->name));
  return value = graph::WeightOp::create(
             builder, loc, RankedTensorType::get(found->shape, elementType), found->name, source);
}

Value GraphMaker::linear(Value input, Module module, int64_t layer, StringRef name, Type element) {
  Value matrix = weight(module, Part::Weight, layer);
  return graph::LinearOp::create(builder, at(name), type({typeOf(matrix).getDimSize(0)}, element),
                                 input, matrix, weight(module, Part::Bias, layer));
}

Value GraphMaker::linear(Value input, Module module, int64_t layer, StringRef name) {
  return linear(input, module, layer, name, elementType);
}

Value GraphMaker::norm(Value input, Module module, int64_t layer, StringRef name) {
  FloatAttr epsilon = builder.getF32FloatAttr(static_cast<float>(config.normEpsilon));
  Value scale = weight(module, Part::Weight, layer);
  if (scale && config.normPlusOne) {
    // In f32: a 16-bit sum would lose the scale's last bits.
    scale = convert(scale, f32(), name);
    scale = graph::AddOp::create(builder, at(name), scale, fill(1, typeOf(scale), name));
  }
  if (config.norm == NormKind::Rms)
    return graph::RmsNormOp::create(builder, at(name), input.getType(), input, scale, epsilon);
  return graph::LayerNormOp::create(builder, at(name), input.getType(), input, scale,
                                    weight(module, Part::Bias, layer), epsilon);
}

Value GraphMaker::add(Value lhs, Value rhs, StringRef name) {
  return graph::AddOp::create(builder, at(name), lhs, rhs);
}

Value GraphMaker::mul(Value lhs, Value rhs, StringRef name) {
  return graph::MulOp::create(builder, at(name), lhs, rhs);
}

Value GraphMaker::convert(Value value, Type element, StringRef name) {
  if (typeOf(value).getElementType() == element)
    return value;
  return graph::ConvertOp::create(builder, at(name),
                                  graph::withElementType(typeOf(value), element), value);
}

Value GraphMaker::reshape(Value value, ArrayRef<int64_t> inner, StringRef name) {
  return graph::ReshapeOp::create(builder, at(name), type(inner, typeOf(value).getElementType()),
                                  value);
}

Value GraphMaker::broadcast(Value value, ArrayRef<int64_t> dims, RankedTensorType type,
                            StringRef name) {
  return graph::BroadcastOp::create(builder, at(name), type, value, dims);
}

Value GraphMaker::fill(double number, RankedTensorType type, StringRef name) {
  auto scalar = RankedTensorType::get({}, type.getElementType());
  Attribute element = builder.getFloatAttr(type.getElementType(), number);
  Value constant =
      graph::ConstantOp::create(builder, at(name), DenseElementsAttr::get(scalar, element));
  return broadcast(constant, {}, type, name);
}

Value GraphMaker::scale(Value value, double factor, StringRef name) {
  if (factor == 1)
    return value;
  Type element = typeOf(value).getElementType();
  Value wide = convert(value, f32(), name);
  return convert(mul(wide, fill(factor, typeOf(wide), name), name), element, name);
}

Value GraphMaker::softcap(Value value, double cap, StringRef name) {
  if (cap == 0)
    return value;
  Type element = typeOf(value).getElementType();
  Value wide = convert(value, f32(), name);
  Value bounded = graph::TanhOp::create(builder, at(name), scale(wide, 1 / cap, name));
  return convert(scale(bounded, cap, name), element, name);
}

Value GraphMaker::clamp(Value value, double limit, StringRef name) {
  if (limit == 0)
    return value;
  Value low = fill(-limit, typeOf(value), name), high = fill(limit, typeOf(value), name);
  value = graph::MaxOp::create(builder, at(name), value, low);
  return graph::MinOp::create(builder, at(name), value, high);
}

Value GraphMaker::activation(Value value, StringRef name) {
  Location loc = at(name);
  switch (config.activation) {
  case Activation::Silu:
    return graph::SiluOp::create(builder, loc, value);
  case Activation::Gelu:
  case Activation::GeluTanh:
    return graph::GeluOp::create(builder, loc, value.getType(), value,
                                 config.activation == Activation::GeluTanh);
  case Activation::QuickGelu:
    return mul(value, graph::SigmoidOp::create(builder, loc, scale(value, 1.702, name)), name);
  case Activation::Relu:
  case Activation::ReluSquared:
    value = graph::MaxOp::create(builder, loc, value, fill(0, typeOf(value), name));
    return config.activation == Activation::Relu ? value : mul(value, value, name);
  }
  return value;
}
