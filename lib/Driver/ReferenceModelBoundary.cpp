//===- ReferenceModelBoundary.cpp - Models on the interpreter -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ReferenceModel.h"

#include "mlsys/IR/ProgramTypes.h"

#include "runtime/Error.h"

#include <algorithm>
#include <chrono>

using namespace mlir;
using namespace mlsys;

/// The value of an Expected, or its error thrown.
template <typename T> static T orThrow(llvm::Expected<T> value) {
  if (!value)
    throw rt::Error(llvm::toString(value.takeError()));
  return std::move(*value);
}

static llvm::StringRef phaseOf(func::FuncOp function) {
  auto phase = function->getAttrOfType<StringAttr>(graph::phaseAttrName);
  return phase ? phase.getValue() : "plain";
}

static llvm::StringRef roleOf(func::FuncOp function, unsigned index) {
  auto role = function.getArgAttrOfType<StringAttr>(index, graph::roleAttrName);
  return role ? role.getValue() : "tensor";
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

static graph::KvCacheType findCacheType(func::FuncOp function) {
  for (Type type : function.getArgumentTypes())
    if (auto cache = dyn_cast<graph::KvCacheType>(type))
      return cache;
  return {};
}

/// The most new tokens that `function` takes; -1: any number.
static int64_t findMaxTokens(func::FuncOp function) {
  for (unsigned index = 0; index < function.getNumArguments(); ++index) {
    if (roleOf(function, index) != "token_ids")
      continue;
    graph::DimExpr tokens =
        graph::getDim(cast<RankedTensorType>(function.getArgumentTypes()[index]), 0);
    if (auto name = tokens.asSymbol())
      if (graph::SymbolAttr symbol = graph::getSymbol(function, *name))
        return symbol.getMax();
  }
  return -1;
}

ReferenceLanguageModel::ReferenceLanguageModel(std::shared_ptr<InterpretedModule> interpretedModule,
                                               func::FuncOp prefill, int64_t context, int64_t idLimit)
    : interpreted(std::move(interpretedModule)), prefill(prefill), context(context) {
  graph::KvCacheType type = findCacheType(prefill);
  int64_t pages = (context + type.getPageSize() - 1) / type.getPageSize();
  cache.pages = std::make_shared<KvPages>(pages, type.getLayers(), type.getHeads(),
                                          type.getHeadDim(), type.getPageSize(),
                                          *dtypeOf(type.getElementType()));
  vocabulary = cast<RankedTensorType>(prefill.getResultTypes()[0]).getDimSize(1);
  ids = idLimit > 0 ? idLimit : vocabulary;
  int64_t most = findMaxTokens(prefill);
  stepTokens = most < 0 ? context : std::min(most, context);
}

bool ReferenceLanguageModel::bidirectional() const {
  return prefill->hasAttr(graph::bidirectionalAttrName);
}

bool ReferenceLanguageModel::perToken() const { return prefill->hasAttr(graph::perTokenAttrName); }

int64_t ReferenceLanguageModel::window() const {
  auto window = prefill->getAttrOfType<IntegerAttr>(graph::windowAttrName);
  return window ? window.getInt() : 0;
}

void ReferenceLanguageModel::zeroPages(std::span<const int32_t> pages) {
  for (int32_t page : pages) {
    if (page < 0 || page >= cache.pages->pages)
      throw rt::Error("page {} of {}", page, cache.pages->pages);
    cache.pages->zero(page);
  }
}

template <typename T>
static Tensor toTensor(program::DType dtype, ArrayRef<int64_t> shape, std::span<const T> values) {
  Tensor tensor(dtype, shape);
  for (size_t i = 0; i < values.size(); ++i)
    tensor.setInt(i, values[i]);
  return tensor;
}

InterpreterValue ReferenceLanguageModel::makeArgument(func::FuncOp function, unsigned index,
                                                      const rt::StepBatch &batch) const {
  using program::DType;
  llvm::StringRef role = roleOf(function, index);
  int64_t tokens = batch.tokens(), requests = batch.requests();
  if (role == "token_ids")
    return toTensor(DType::I64, {tokens}, batch.ids);
  if (role == "positions")
    return toTensor(DType::I32, {tokens}, batch.positions);
  if (role == "slots")
    return toTensor(DType::I64, {tokens}, batch.slots);
  if (role == "query_start")
    return toTensor(DType::I32, {requests + 1}, batch.queryStart);
  if (role == "context_length")
    return toTensor(DType::I32, {requests}, batch.contextLength);
  if (role == "block_table")
    return toTensor(DType::I32, {requests, batch.maxPages}, batch.blockTable);
  if (role == "token_types")
    return batch.tokenTypes.empty() ? Tensor(DType::I64, {tokens})
                                    : toTensor(DType::I64, {tokens}, batch.tokenTypes);
  if (role == "kv_cache")
    return cache;
  throw rt::Error("argument {} of '{}' has the role '{}', which a step has not", index,
                  function.getName().str(), role.str());
}

void ReferenceLanguageModel::step(const rt::StepBatch &batch, std::span<float> logits) {
  func::FuncOp function;
  if (batch.tokens() == batch.requests())
    function = interpreted->module().lookupSymbol<func::FuncOp>("decode_" +
                                                                std::to_string(batch.tokens()));
  if (!function)
    function = prefill;
  std::vector<InterpreterValue> arguments;
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    arguments.push_back(makeArgument(function, index, batch));
  std::vector<InterpreterValue> results =
      orThrow(interpreted->interpreter->run(function.getName(), arguments));
  const Tensor &tensor = std::get<Tensor>(results.at(0));
  if (tensor.size() != static_cast<int64_t>(logits.size()))
    throw rt::Error("the step gave {} logits instead of {}", tensor.size(), logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(tensor.getFloat(i));
}

//===----------------------------------------------------------------------===//
// Tensor functions
//===----------------------------------------------------------------------===//

std::vector<std::string> ReferenceTensorModel::functions() const {
  std::vector<std::string> names;
  for (auto function : interpreted->module().getOps<func::FuncOp>())
    if (phaseOf(function) == "plain" && !findCacheType(function) && !function.isExternal())
      names.push_back(function.getName().str());
  return names;
}

func::FuncOp ReferenceTensorModel::find(const std::string &name) const {
  std::vector<std::string> names = functions();
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw rt::Error("there is no function '{}'; there are: {}", name,
                    fmt::join(names, ", "));
  return interpreted->module().lookupSymbol<func::FuncOp>(name);
}

std::vector<rt::TensorPort> ReferenceTensorModel::inputs(const std::string &name) const {
  func::FuncOp function = find(name);
  std::vector<rt::TensorPort> ports;
  for (auto [index, type] : llvm::enumerate(function.getArgumentTypes())) {
    auto tensor = cast<RankedTensorType>(type);
    rt::TensorPort port;
    auto given = function.getArgAttrOfType<StringAttr>(index, graph::nameAttrName);
    port.name = given ? given.getValue().str() : "input" + std::to_string(index);
    port.dtype = *dtypeOf(tensor.getElementType());
    for (const graph::DimExpr &dim : graph::getDims(tensor))
      port.dims.push_back(dim.str());
    auto role = function.getArgAttrOfType<StringAttr>(index, graph::roleAttrName);
    if (role && role.getValue() == "token_ids" && interpreted->compilation->model.text.vocabSize > 0)
      port.idLimit = interpreted->compilation->model.text.vocabSize;
    else if (role && role.getValue() == "token_ids" && function.getNumResults() > 0)
      if (auto logits = dyn_cast<RankedTensorType>(function.getResultTypes()[0]))
        port.idLimit = std::max<int64_t>(0, logits.getShape().back());
    ports.push_back(std::move(port));
  }
  return ports;
}

std::vector<rt::HostTensor> ReferenceTensorModel::run(const std::string &name,
                                                      const std::vector<rt::HostTensor> &inputs) {
  func::FuncOp function = find(name);
  rt::checkInputs(this->inputs(name), inputs);
  std::vector<InterpreterValue> arguments;
  for (const rt::HostTensor &input : inputs)
    arguments.push_back(orThrow(Tensor::fromBytes(input.dtype, input.shape, input.data)));
  std::vector<InterpreterValue> values = orThrow(interpreted->interpreter->run(name, arguments));
  std::vector<rt::HostTensor> results;
  for (auto [index, value] : llvm::enumerate(values)) {
    const Tensor &tensor = std::get<Tensor>(value);
    auto given = function.getResultAttrOfType<StringAttr>(index, graph::nameAttrName);
    rt::HostTensor result;
    result.name = given ? given.getValue().str() : "output" + std::to_string(index);
    result.dtype = tensor.dtype();
    result.shape = tensor.shape().vec();
    result.data = tensor.toBytes();
    results.push_back(std::move(result));
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

llvm::Expected<rt::ModelHandle> mlsys::openReference(const CompileRequest &request,
                                                     int64_t contextTokens) {
  auto start = std::chrono::steady_clock::now();
  auto interpreted = std::make_shared<InterpretedModule>();
  interpreted->request = std::make_unique<CompileRequest>(request);
  interpreted->compilation = std::make_unique<Compilation>(*interpreted->request);
  Compilation &compilation = *interpreted->compilation;
  if (llvm::Error error = compilation.read())
    return std::move(error);
  if (llvm::Error error = compilation.prepare(Stage::Cache))
    return std::move(error);
  if (compilation.initialStage() >= Stage::Kernel)
    return llvm::createStringError("'" + request.model + "' has kernels, which --device reference "
                                   "cannot run; give IR of an earlier stage");
  llvm::Expected<WeightProvider> weights = makeFileWeightProvider(interpreted->module(), ".");
  if (!weights)
    return weights.takeError();
  interpreted->interpreter = std::make_unique<Interpreter>(interpreted->module(), *weights);

  const ImportedModel &model = compilation.model;
  rt::ModelHandle handle;
  handle.name = model.name;
  handle.architecture = model.architecture;
  handle.parameters = model.parameters;
  handle.weightBytes = model.parameters * elementBytes(model.dtype);
  handle.dtype = dtypeText(model.dtype).str();
  handle.backend = "reference";
  if (!model.text.tokenizerJson.empty() || model.text.vocabSize > 0)
    handle.text = model.text;
  handle.tensors = std::make_unique<ReferenceTensorModel>(interpreted);
  for (auto function : interpreted->module().getOps<func::FuncOp>()) {
    if (phaseOf(function) != "prefill" || !findCacheType(function))
      continue;
    int64_t limit = model.text.contextLength > 0 ? model.text.contextLength : 4096;
    if (contextTokens < 0 || contextTokens > limit)
      return llvm::createStringError("--ctx-size " + std::to_string(contextTokens) +
                                     " is not in the range of 1 to " + std::to_string(limit) +
                                     " of this model");
    handle.language = std::make_unique<ReferenceLanguageModel>(
        interpreted, function, contextTokens > 0 ? contextTokens : limit, model.text.vocabSize);
  }
  handle.compileSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return handle;
}
