//===- FeedForwardLayer.cpp - The MLP or the experts of a layer -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "GraphMaker.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::importer;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// The modules of a dense MLP.
struct MlpModules {
  Module gate, up, down;
  const char *name;
};

/// down(activation(gate(x)) * up(x)), or down(activation(up(x))).
static Value makeMlp(GraphMaker &make, Value input, int64_t layer, const MlpModules &modules) {
  std::string name = modules.name;
  Value gate;
  if (make.config.gatedMlp)
    gate = make.linear(input, modules.gate, layer, name + ".gate_proj");
  Value up = make.linear(input, modules.up, layer, name + ".up_proj");
  Value active = make.activation(gate ? gate : up, name + ".act_fn");
  if (gate)
    active = make.mul(active, up, name + ".mul");
  return make.linear(active, modules.down, layer, name + ".down_proj");
}

/// The experts that each token takes, [B, S, K], and their weights in f32: the softmax over all
/// experts, or with `normalize` over the chosen ones. The choice is made by the logits, which the
/// softmax orders alike: they are in memory, and a comparison of them is exact.
static std::pair<Value, Value> makeRouter(GraphMaker &make, Value input, int64_t layer) {
  const ExpertsConfig &experts = make.config.experts;
  OpBuilder &builder = make.builder;
  StringRef name = "mlp.router";
  Value logits = make.linear(input, Module::Router, layer, name, make.f32());
  auto chosen = graph::TopKOp::create(
      builder, make.at(name),
      TypeRange{make.type({experts.perToken}, make.f32()),
                make.type({experts.perToken}, builder.getI32Type())},
      logits, builder.getI64IntegerAttr(experts.perToken));
  Value values = chosen.getValues();
  if (experts.normalize) {
    Value weights = graph::SoftmaxOp::create(builder, make.at(name), values.getType(), values,
                                             builder.getI64IntegerAttr(2));
    return {chosen.getIndices(), weights};
  }
  auto reduce = [&](graph::ReduceKind kind, Value value) -> Value {
    return graph::ReduceOp::create(builder, make.at(name), make.type({}, make.f32()), kind, value,
                                   ArrayRef<int64_t>{2});
  };
  Value largest = reduce(graph::ReduceKind::max, logits);
  auto exponential = [&](Value value) -> Value {
    Value shift = make.broadcast(largest, {0, 1}, typeOf(value), name);
    value = graph::SubOp::create(builder, make.at(name), value, shift);
    return graph::ExpOp::create(builder, make.at(name), value);
  };
  Value sum = reduce(graph::ReduceKind::sum, exponential(logits));
  sum = make.broadcast(sum, {0, 1}, typeOf(values), name);
  Value weights = graph::DivOp::create(builder, make.at(name), exponential(values), sum);
  return {chosen.getIndices(), weights};
}

/// The weighted sum of the chosen experts' MLPs, and the shared expert's.
static Value makeExperts(GraphMaker &make, Value input, int64_t layer) {
  const ExpertsConfig &experts = make.config.experts;
  OpBuilder &builder = make.builder;
  auto [indices, weights] = makeRouter(make, input, layer);
  auto expertLinear = [&](Value from, Module module, int64_t width, StringRef name) -> Value {
    return graph::ExpertDotOp::create(builder, make.at(name),
                                      make.type({experts.perToken, width}, make.elementType), from,
                                      make.weight(module, Part::Weight, layer), indices);
  };
  Value gate = expertLinear(input, Module::ExpertGate, experts.intermediate, "mlp.experts.gate_proj");
  Value up = expertLinear(input, Module::ExpertUp, experts.intermediate, "mlp.experts.up_proj");
  Value active = make.mul(make.activation(gate, "mlp.experts.act_fn"), up, "mlp.experts.mul");
  Value down = expertLinear(active, Module::ExpertDown, make.config.hidden, "mlp.experts.down_proj");

  Value wide = make.convert(down, make.f32(), "mlp.experts.weigh");
  weights = make.broadcast(weights, {0, 1, 2}, typeOf(wide), "mlp.experts.weigh");
  Value sum = graph::ReduceOp::create(builder, make.at("mlp.experts.sum"),
                                      make.type({make.config.hidden}, make.f32()),
                                      graph::ReduceKind::sum,
                                      make.mul(wide, weights, "mlp.experts.weigh"),
                                      ArrayRef<int64_t>{2});
  Value result = make.convert(sum, make.elementType, "mlp.experts.sum");
  if (experts.sharedIntermediate == 0)
    return result;

  Value shared = makeMlp(make, input, layer,
                         {Module::SharedGate, Module::SharedUp, Module::SharedDown,
                          "mlp.shared_expert"});
  if (experts.sharedGate) {
    Value open = make.linear(input, Module::SharedRouter, layer, "mlp.shared_expert_gate");
    open = graph::SigmoidOp::create(builder, make.at("mlp.shared_expert_gate"), open);
    open = make.reshape(open, {}, "mlp.shared_expert_gate");
    shared = make.mul(shared,
                      make.broadcast(open, {0, 1}, typeOf(shared), "mlp.shared_expert_gate"),
                      "mlp.shared_expert_gate");
  }
  return make.add(result, shared, "mlp.shared_expert.add");
}

Value importer::makeFeedForward(GraphMaker &make, Value input, int64_t layer) {
  if (make.config.layerConfigs[static_cast<size_t>(layer)].experts)
    return makeExperts(make, input, layer);
  return makeMlp(make, input, layer, {Module::Gate, Module::Up, Module::Down, "mlp"});
}
