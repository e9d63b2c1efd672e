//===- Interpret.cpp - Calls functions in the interpreter -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Translations.h"
#include "mlsys/IR/ProgramTypes.h"
#include "mlsys/Interpreter/Interpreter.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlsys;

static llvm::Expected<Tensor> parseTensor(MLIRContext *context, const std::string &text) {
  auto elements = dyn_cast_or_null<ElementsAttr>(parseAttribute(text, context));
  auto type = elements ? dyn_cast<RankedTensorType>(elements.getType()) : RankedTensorType();
  std::optional<program::DType> dtype = type ? dtypeOf(type.getElementType()) : std::nullopt;
  if (!dtype)
    return llvm::createStringError("input '" + text + "' is not like dense<[1, 2]> : tensor<2xi64>");
  Tensor tensor(*dtype, type.getShape());
  if (tensor.isFloat()) {
    for (auto [index, value] : llvm::enumerate(elements.getValues<APFloat>()))
      tensor.setFloat(index, value.convertToDouble());
  } else {
    for (auto [index, value] : llvm::enumerate(elements.getValues<APInt>()))
      tensor.setInt(index, value.getSExtValue());
  }
  return tensor;
}

static void printTensor(const Tensor &tensor, llvm::raw_ostream &os) {
  os << dtypeText(tensor.dtype()) << " " << shapeText(tensor.shape()) << ":";
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (tensor.isFloat())
      os << llvm::format(" %.6g", tensor.getFloat(i));
    else
      os << " " << tensor.getInt(i);
  }
  os << "\n";
}

static llvm::Error interpretFunction(Interpreter &interpreter, func::FuncOp function,
                                     const InterpretOptions &options, llvm::raw_ostream &os) {
  std::vector<InterpreterValue> arguments;
  size_t used = 0;
  for (Type type : function.getArgumentTypes()) {
    if (auto cache = dyn_cast<graph::KvCacheType>(type)) {
      arguments.push_back(CacheValue{std::make_shared<KvPages>(
          options.cachePages, cache.getLayers(), cache.getHeads(), cache.getHeadDim(),
          cache.getPageSize(), *dtypeOf(cache.getElementType()))});
      continue;
    }
    if (used == options.inputs.size())
      return llvm::createStringError("function '" + function.getName() + "' takes more than " +
                                     std::to_string(used) + " inputs");
    llvm::Expected<Tensor> tensor = parseTensor(function.getContext(), options.inputs[used++]);
    if (!tensor)
      return tensor.takeError();
    arguments.push_back(*tensor);
  }
  if (used != options.inputs.size())
    return llvm::createStringError("function '" + function.getName() + "' takes only " +
                                   std::to_string(used) + " inputs");
  llvm::Expected<std::vector<InterpreterValue>> results =
      interpreter.run(function.getName(), arguments);
  if (!results)
    return results.takeError();
  os << "@" << function.getName() << "\n";
  for (const InterpreterValue &result : *results)
    if (auto *tensor = std::get_if<Tensor>(&result))
      printTensor(*tensor, os);
  return llvm::Error::success();
}

llvm::Error mlsys::interpretModule(ModuleOp module, const InterpretOptions &options,
                                   llvm::raw_ostream &os) {
  llvm::Expected<WeightProvider> weights = makeFileWeightProvider(module, options.baseDir);
  if (!weights)
    return weights.takeError();
  Interpreter interpreter(module, *weights);
  if (!options.function.empty()) {
    auto function = module.lookupSymbol<func::FuncOp>(options.function);
    if (!function)
      return llvm::createStringError("there is no function '" + options.function + "'");
    return interpretFunction(interpreter, function, options, os);
  }
  for (auto function : module.getOps<func::FuncOp>())
    if (function.getNumArguments() == 0)
      if (llvm::Error error = interpretFunction(interpreter, function, options, os))
        return error;
  return llvm::Error::success();
}
