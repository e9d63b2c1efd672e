//===- KernelOutliner.cpp - One kernel for equal fusions ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelOutliner.h"

#include "mlir/IR/OperationSupport.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Value mlsys::getBaseLayer(Value layer) {
  while (auto write = layer.getDefiningOp<CacheWriteOp>())
    layer = write.getLayer();
  return layer;
}

/// What must be equal besides the body, as text.
static std::string getKey(FusionOp fusion) {
  std::string key;
  llvm::raw_string_ostream stream(key);
  stream << fusion.getKind() << ' ' << fusion.getBody().front().getOperations().size();
  for (Value input : fusion.getInputs())
    stream << ' ' << input.getType() << (isa_and_nonnull<WeightOp, ConstantOp>(input.getDefiningOp()) ? '!' : ' ');
  for (Type type : fusion.getResultTypes())
    stream << ' ' << type;
  if (auto function = fusion->getParentOfType<func::FuncOp>())
    stream << ' ' << function->getAttr(symbolsAttrName);
  return key;
}

OutlinedKernel *KernelOutliner::outline(FusionOp fusion) {
  std::vector<std::unique_ptr<Entry>> &candidates = entries[getKey(fusion)];
  for (const std::unique_ptr<Entry> &entry : candidates)
    if (OperationEquivalence::isRegionEquivalentTo(&entry->fusion->getRegion(0),
                                                   &fusion->getRegion(0),
                                                   OperationEquivalence::IgnoreLocations)) {
      ++numShared;
      return &entry->kernel;
    }
  auto entry = std::make_unique<Entry>();
  entry->fusion = fusion;
  if (failed(lower(fusion, entry->kernel)))
    return nullptr;
  ++numKernels;
  return &candidates.emplace_back(std::move(entry))->kernel;
}

LogicalResult KernelOutliner::lower(FusionOp fusion, OutlinedKernel &result) {
  FailureOr<FusionStructure> structure = analyzeFusion(fusion);
  if (failed(structure))
    return failure();

  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Location loc = fusion.getLoc();
  SmallVector<Type> types;
  for (Value input : fusion.getInputs())
    types.push_back(getBufferType(input.getType()));
  size_t numInputs = types.size();
  for (Type type : fusion.getResultTypes())
    if (isa<RankedTensorType>(type))
      types.push_back(getBufferType(type));
  size_t numBuffers = types.size();
  if (cpu) {
    Type index = builder.getIndexType();
    types.append({MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()), index, index});
  }
  std::string name = (fusion.getKind() + "_" + Twine(counts[fusion.getKind()]++)).str();
  auto function = kernel::FuncOp::create(builder, loc, name, builder.getFunctionType(types, {}),
                                         cpu ? "cpu" : "cuda", fusion.getKind(),
                                         /*scratch_bytes=*/0, ArrayAttr(), ArrayAttr());
  Block *body = builder.createBlock(&function.getBody(), {}, types,
                                    SmallVector<Location>(types.size(), loc));

  KernelBuilder kernel{builder, loc, function, fusion, *structure, {}, {}, {}, {}, {}, {}, {}, 0, false};
  ArrayRef<BlockArgument> arguments = body->getArguments();
  kernel.inputs.assign(arguments.begin(), arguments.begin() + numInputs);
  kernel.outputs.assign(arguments.begin() + numInputs, arguments.begin() + numBuffers);
  if (cpu) {
    kernel.scratch = arguments[numBuffers];
    kernel.begin = arguments[numBuffers + 1];
    kernel.end = arguments[numBuffers + 2];
  }
  LogicalResult lowered = cpu ? lowerFusionForCpu(kernel, *cpu, result.shape)
                              : lowerFusionForCuda(kernel, result.shape);
  if (failed(lowered) || kernel.failed) {
    function.erase();
    return failure();
  }
  builder.setInsertionPointToEnd(body);
  kernel::ReturnOp::create(builder, loc);
  function.setScratchBytes(kernel.scratchBytes);
  result.function = function;
  result.symbols = kernel.symbolNames;
  llvm::SmallDenseSet<int64_t> written;
  for (auto write : fusion.getBody().front().getOps<CacheWriteOp>())
    if (auto argument = dyn_cast<BlockArgument>(getBaseLayer(write.getLayer())))
      written.insert(argument.getArgNumber());
  for (size_t index = numInputs; index < numBuffers; ++index)
    written.insert(index);
  result.writes.assign(written.begin(), written.end());
  llvm::sort(result.writes);
  return success();
}
