//===- Interpreter.cpp - Evaluates the graph dialect ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Interpreter/Interpreter.h"
#include "Evaluate.h"
#include "mlsys/IR/ProgramTypes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Interpreter::Interpreter(ModuleOp module, WeightProvider weights)
    : module(module), weights(std::move(weights)) {}

llvm::Expected<std::vector<InterpreterValue>>
Interpreter::run(StringRef name, ArrayRef<InterpreterValue> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function) {
    std::string known;
    for (auto candidate : module.getOps<func::FuncOp>())
      known += (known.empty() ? "" : ", ") + candidate.getName().str();
    return llvm::createStringError("there is no function '" + name + "'; there are: " + known);
  }
  return call(function, arguments);
}

//===----------------------------------------------------------------------===//
// Arguments and symbols
//===----------------------------------------------------------------------===//

/// What messages call an argument.
static std::string argumentName(func::FuncOp function, unsigned index) {
  if (auto name = function.getArgAttrOfType<StringAttr>(index, nameAttrName))
    return "'" + name.getValue().str() + "'";
  return "number " + std::to_string(index);
}

static std::string typeText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// The value of the one unknown symbol of `dim` for which it equals `extent`:
/// `T` from [T], `R` from [R + 1].
static std::optional<std::pair<std::string, int64_t>>
solve(const DimExpr &dim, int64_t extent, const std::map<std::string, int64_t> &known) {
  std::string unknown;
  for (const std::string &name : dim.symbols()) {
    if (known.count(name))
      continue;
    if (!unknown.empty())
      return std::nullopt;
    unknown = name;
  }
  if (unknown.empty())
    return std::nullopt;
  auto valueAt = [&](int64_t value) {
    return dim.evaluate([&](StringRef name) { return name == unknown ? value : known.at(name.str()); });
  };
  int64_t base = valueAt(0), slope = valueAt(1) - base;
  if (slope <= 0 || valueAt(2) - base != 2 * slope || (extent - base) % slope)
    return std::nullopt;
  return std::pair(unknown, (extent - base) / slope);
}

/// Finds the symbols in the arguments' extents.
static void bindSymbols(func::FuncOp function, ArrayRef<InterpreterValue> arguments,
                        std::map<std::string, int64_t> &symbols) {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto [index, argument] : llvm::enumerate(arguments)) {
      auto *tensor = std::get_if<Tensor>(&argument);
      auto type = dyn_cast<RankedTensorType>(function.getArgumentTypes()[index]);
      if (!tensor || !type || tensor->rank() != type.getRank())
        continue;
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (auto solution = solve(graph::getDim(type, dim), tensor->dim(dim), symbols))
          changed |= symbols.insert(*solution).second;
    }
  }
}

/// The extents of a type; nothing when a symbol in it is unknown.
static std::optional<SmallVector<int64_t>>
evaluateShape(RankedTensorType type, const std::map<std::string, int64_t> &symbols) {
  SmallVector<int64_t> shape;
  for (const DimExpr &dim : getDims(type)) {
    for (const std::string &name : dim.symbols())
      if (!symbols.count(name))
        return std::nullopt;
    shape.push_back(dim.evaluate([&](StringRef name) { return symbols.at(name.str()); }));
  }
  return shape;
}

static llvm::Error checkArgument(func::FuncOp function, unsigned index,
                                 const InterpreterValue &value,
                                 const std::map<std::string, int64_t> &symbols) {
  Type expected = function.getArgumentTypes()[index];
  auto mismatch = [&](const std::string &actual) {
    return llvm::createStringError("argument " + argumentName(function, index) + " of '" +
                                   function.getName() + "' is " + actual + " but must be " +
                                   typeText(expected));
  };
  if (auto *cache = std::get_if<CacheValue>(&value)) {
    auto type = dyn_cast<KvCacheType>(expected);
    if (!type || cache->layer != -1)
      return mismatch("a KV cache");
    const KvPages &pages = *cache->pages;
    if (pages.layers != type.getLayers() || pages.heads != type.getHeads() ||
        pages.headDim != type.getHeadDim() || pages.pageSize != type.getPageSize() ||
        pages.dtype != dtypeOf(type.getElementType()))
      return mismatch("a KV cache of another model");
    return llvm::Error::success();
  }
  const Tensor &tensor = std::get<Tensor>(value);
  std::string actual = (dtypeText(tensor.dtype()) + " " + shapeText(tensor.shape())).str();
  auto type = dyn_cast<RankedTensorType>(expected);
  if (!type || dtypeOf(type.getElementType()) != tensor.dtype())
    return mismatch(actual);
  std::optional<SmallVector<int64_t>> shape = evaluateShape(type, symbols);
  if (!shape || tensor.shape() != ArrayRef(*shape))
    return mismatch(actual);
  return llvm::Error::success();
}

llvm::Expected<std::vector<InterpreterValue>>
Interpreter::call(func::FuncOp function, ArrayRef<InterpreterValue> arguments) {
  if (function.isExternal())
    return llvm::createStringError("function '" + function.getName() + "' has no body");
  if (arguments.size() != function.getNumArguments())
    return llvm::createStringError("function '" + function.getName() + "' takes " +
                                   std::to_string(function.getNumArguments()) +
                                   " arguments but was given " + std::to_string(arguments.size()));
  Symbols symbols;
  bindSymbols(function, arguments, symbols);
  for (auto [index, argument] : llvm::enumerate(arguments))
    if (llvm::Error error = checkArgument(function, index, argument, symbols))
      return std::move(error);
  for (SymbolAttr symbol : getSymbols(function)) {
    auto it = symbols.find(symbol.getName().str());
    if (it == symbols.end())
      continue;
    if (it->second < symbol.getMin() || (symbol.getMax() >= 0 && it->second > symbol.getMax()))
      return llvm::createStringError(
          "extent " + symbol.getName() + " = " + std::to_string(it->second) + " of '" +
          function.getName() + "' is outside " + std::to_string(symbol.getMin()) + " to " +
          (symbol.getMax() < 0 ? std::string("infinity") : std::to_string(symbol.getMax())));
  }
  return runBlock(function.getBody().front(), arguments, symbols);
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

llvm::Expected<std::vector<InterpreterValue>>
Interpreter::runBlock(Block &block, ArrayRef<InterpreterValue> arguments, const Symbols &symbols) {
  Values values;
  for (auto [argument, value] : llvm::zip_equal(block.getArguments(), arguments))
    values[argument] = value;
  for (Operation &op : block.without_terminator()) {
    llvm::Expected<std::vector<InterpreterValue>> results = runOperation(&op, values, symbols);
    if (!results)
      return results.takeError();
    for (auto [result, value] : llvm::zip_equal(op.getResults(), *results))
      values[result] = std::move(value);
  }
  std::vector<InterpreterValue> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(values.at(value));
  return results;
}

llvm::Expected<std::vector<InterpreterValue>>
Interpreter::runOperation(Operation *op, const Values &values, const Symbols &symbols) {
  std::vector<InterpreterValue> operands;
  for (Value operand : op->getOperands())
    operands.push_back(values.at(operand));

  if (auto fusion = dyn_cast<FusionOp>(op))
    return runBlock(fusion.getBody().front(), operands, symbols);
  if (auto callOp = dyn_cast<func::CallOp>(op))
    return run(callOp.getCallee(), operands);
  if (auto layer = dyn_cast<CacheLayerOp>(op)) {
    CacheValue cache = std::get<CacheValue>(operands[0]);
    cache.layer = layer.getLayer();
    return std::vector<InterpreterValue>{cache};
  }
  if (auto write = dyn_cast<CacheWriteOp>(op)) {
    llvm::Expected<CacheValue> layer =
        evaluateCacheWrite(write, std::get<CacheValue>(operands[0]), std::get<Tensor>(operands[1]),
                           std::get<Tensor>(operands[2]));
    if (!layer)
      return layer.takeError();
    return std::vector<InterpreterValue>{*layer};
  }
  if (auto topK = dyn_cast<TopKOp>(op)) {
    auto [largest, places] = evaluateTopK(topK, std::get<Tensor>(operands[0]));
    return std::vector<InterpreterValue>{largest, places};
  }
  llvm::Expected<Tensor> tensor = runTensorOperation(op, operands, symbols);
  if (!tensor)
    return tensor.takeError();
  return std::vector<InterpreterValue>{*tensor};
}

llvm::Expected<Tensor> Interpreter::runTensorOperation(Operation *op,
                                                       ArrayRef<InterpreterValue> operands,
                                                       const Symbols &symbols) {
  Evaluation e{op, operands, program::DType::F32, {}};
  auto type = op->getNumResults() == 1 ? dyn_cast<RankedTensorType>(op->getResult(0).getType())
                                       : RankedTensorType();
  std::optional<program::DType> dtype = type ? dtypeOf(type.getElementType()) : std::nullopt;
  if (!dtype)
    return e.error("is not an operation that the interpreter evaluates");
  std::optional<SmallVector<int64_t>> shape = evaluateShape(type, symbols);
  if (!shape)
    return e.error("has a result {0} with an extent that no argument gives", typeText(type));
  e.dtype = *dtype;
  e.shape = *shape;
  if (isElementwise(op))
    return evaluateElementwise(e);
  using Result = llvm::Expected<Tensor>;
  return TypeSwitch<Operation *, Result>(op)
      .Case([&](ConstantOp op) { return evaluateConstant(op, e); })
      .Case([&](WeightOp op) { return getWeight(op); })
      .Case([&](ReduceOp op) { return evaluateReduce(op, e); })
      .Case([&](BroadcastOp op) { return evaluateBroadcast(op, e); })
      .Case([&](ReshapeOp) { return Result(e.tensor(0).reshaped(e.shape)); })
      .Case([&](TransposeOp op) { return evaluateTranspose(op, e); })
      .Case([&](SliceOp op) { return evaluateSlice(op, e); })
      .Case([&](ConcatOp op) { return evaluateConcat(op, e); })
      .Case([&](GatherOp) { return evaluateRows(e.tensor(0), e.tensor(1), e); })
      .Case([&](EmbeddingOp) { return evaluateRows(e.tensor(1), e.tensor(0), e); })
      .Case([&](IotaOp op) { return evaluateIota(op, e); })
      .Case([&](DotOp op) { return evaluateDot(op, e); })
      .Case([&](ExpertDotOp op) { return evaluateExpertDot(op, e); })
      .Case([&](LinearOp) { return evaluateLinear(e); })
      .Case([&](AttentionOp op) { return evaluateAttention(op, e); })
      .Case([&](PagedAttentionOp op) { return evaluatePagedAttention(op, e); })
      .Case([&](LastTokenOp) { return evaluateLastToken(e); })
      .Case([&](RmsNormOp op) { return evaluateRmsNorm(op, e); })
      .Case([&](LayerNormOp op) { return evaluateLayerNorm(op, e); })
      .Case([&](RopeOp op) { return evaluateRope(op, e); })
      .Case([&](SoftmaxOp op) { return evaluateSoftmax(op, e); })
      .Default([&](Operation *) {
        return Result(e.error("is not an operation that the interpreter evaluates"));
      });
}

llvm::Expected<Tensor> Interpreter::getWeight(WeightOp op) {
  auto key = std::pair(op.getSource().getAsOpaquePointer(), op.getType().getAsOpaquePointer());
  if (auto it = loaded.find(key); it != loaded.end())
    return it->second;
  if (!weights)
    return llvm::createStringError("weight '" + op.getName() + "' cannot be read: no files are given");
  llvm::Expected<Tensor> tensor = weights(op);
  if (!tensor)
    return tensor.takeError();
  return loaded[key] = *tensor;
}
