//===- KernelOutliner.cpp - One kernel for equal fusions ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelOutliner.h"

#include "CpuAttention.h"
#include "CudaSplit.h"
#include "LowerForCuda.h"

#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Value mlsys::getBaseLayer(Value layer) {
  while (auto write = layer.getDefiningOp<CacheWriteOp>())
    layer = write.getLayer();
  return layer;
}

//===----------------------------------------------------------------------===//
// Packed weights
//===----------------------------------------------------------------------===//

/// The weight that an operand of an operation in a fusion is; null when it is none.
static WeightOp getWeight(FusionOp fusion, Value operand) {
  auto argument = dyn_cast<BlockArgument>(operand);
  if (!argument)
    return {};
  return fusion.getInputs()[argument.getArgNumber()].getDefiningOp<WeightOp>();
}

PackedWeights::PackedWeights(ModuleOp module) {
  module.walk([&](FusionOp fusion) {
    for (Operation &op : fusion.getBody().front())
      if (isa<DotOp, ExpertDotOp>(op))
        if (WeightOp weight = getWeight(fusion, getRight(&op)))
          weights.insert({weight.getSource(), weight.getType()});
  });
}

bool PackedWeights::isPackedTable(FusionOp fusion, unsigned position) const {
  BlockArgument argument = fusion.getBody().front().getArgument(position);
  WeightOp weight = getWeight(fusion, argument);
  if (!weight || weight.getType().getRank() != 2 ||
      !weights.contains({weight.getSource(), weight.getType()}))
    return false;
  return !argument.use_empty() && llvm::all_of(argument.getUses(), [](OpOperand &use) {
    auto gather = dyn_cast<GatherOp>(use.getOwner());
    return gather && use.get() == gather.getTable() && use.get() != gather.getIndices();
  });
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// What must be equal besides the body, as text.
std::string KernelOutliner::getKey(FusionOp fusion) const {
  std::string key;
  llvm::raw_string_ostream stream(key);
  stream << fusion.getKind() << ' ' << fusion.getBody().front().getOperations().size();
  for (auto [position, input] : llvm::enumerate(fusion.getInputs())) {
    stream << ' ' << input.getType() << (isa_and_nonnull<WeightOp, ConstantOp>(input.getDefiningOp()) ? '!' : ' ');
    if (packed.isPackedTable(fusion, position))
      stream << "panels";
  }
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
  shareFunction(entry->kernel);
  return &candidates.emplace_back(std::move(entry))->kernel;
}

/// Everything of a function but its name, its body, and for which shape its tiles were chosen.
static DictionaryAttr getOtherAttributes(kernel::FuncOp function) {
  NamedAttrList attributes(function->getAttrDictionary());
  attributes.erase(SymbolTable::getSymbolAttrName());
  attributes.erase(kernel::tilesAttrName);
  return attributes.getDictionary(function.getContext());
}

void KernelOutliner::shareFunction(OutlinedKernel &kernel) {
  auto hasSameCode = [&](const OutlinedKernel *other) {
    kernel::FuncOp mine = kernel.function, theirs = other->function;
    return other->later.empty() && other->shape.block == kernel.shape.block &&
           other->shape.sharedBytes == kernel.shape.sharedBytes &&
           getOtherAttributes(mine) == getOtherAttributes(theirs) &&
           OperationEquivalence::isRegionEquivalentTo(&mine.getBody(), &theirs.getBody(),
                                                      OperationEquivalence::IgnoreLocations);
  };
  const auto *found = !kernel.later.empty() ? made.end() : llvm::find_if(made, hasSameCode);
  if (found == made.end()) {
    made.push_back(&kernel);
    ++numKernels;
    return;
  }
  // The next kernel of this kind gets the number.
  --counts[kernel.function.getKind()];
  kernel.function.erase();
  kernel.function = (*found)->function;
  ++numShared;
}

KernelBuilder KernelOutliner::startKernel(OpBuilder &builder, FusionOp fusion, const FusionStructure &structure,
                                          ArrayRef<Type> buffers, size_t numInputs, int64_t parts) {
  SmallVector<Type> types(buffers);
  if (cpu) {
    Type index = builder.getIndexType();
    types.append({MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()), index, index});
  }
  Location loc = fusion.getLoc();
  std::string name = (fusion.getKind() + "_" + Twine(counts[fusion.getKind()]++)).str();
  builder.setInsertionPointToEnd(module.getBody());
  auto function = kernel::FuncOp::create(builder, loc, name, builder.getFunctionType(types, {}),
                                         cpu ? "cpu" : "cuda", fusion.getKind(),
                                         /*scratch_bytes=*/0, ArrayAttr(), ArrayAttr());
  Block *body = builder.createBlock(&function.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
  KernelBuilder kernel{builder, loc, function, fusion, structure};
  kernel.parts = parts;
  ArrayRef<BlockArgument> arguments = body->getArguments();
  kernel.inputs.assign(arguments.begin(), arguments.begin() + numInputs);
  kernel.outputs.assign(arguments.begin() + numInputs, arguments.begin() + buffers.size());
  if (cpu) {
    kernel.scratch = arguments[buffers.size()];
    kernel.begin = arguments[buffers.size() + 1];
    kernel.end = arguments[buffers.size() + 2];
  }
  return kernel;
}

/// Ends the body of a kernel.
static void finishKernel(KernelBuilder &kernel) {
  kernel.builder.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel::ReturnOp::create(kernel.builder, kernel.loc);
}

OutlinedKernel KernelOutliner::makeJoin(FusionOp fusion, const FusionStructure &structure, int64_t parts) {
  OutlinedKernel result;
  OpBuilder builder(module.getContext());
  SmallVector<Type> types{MemRefType::get({ShapedType::kDynamic}, builder.getF32Type())};
  unsigned output = fusion.getInputs().size();
  result.operands = {output + 1};
  if (cuda) {
    result.operands.push_back(getContextLengthInput(fusion));
    types.push_back(getBufferType(fusion.getInputs()[getContextLengthInput(fusion)].getType()));
  }
  result.operands.push_back(output);
  size_t numInputs = types.size();
  types.push_back(getBufferType(fusion.getResultTypes().front()));
  KernelBuilder kernel = startKernel(builder, fusion, structure, types, numInputs, parts);
  if (cpu)
    lowerAttentionJoinForCpu(kernel, *cpu, result.shape);
  else
    lowerAttentionJoinForCuda(kernel, result.shape);
  finishKernel(kernel);
  result.function = kernel.function;
  result.symbols = kernel.symbolNames;
  result.writes = {static_cast<int64_t>(numInputs)};
  return result;
}

/// The buffers of a fusion's inputs, then those of its results that are tensors.
static SmallVector<Type> getBufferTypes(FusionOp fusion) {
  SmallVector<Type> types;
  for (Value input : fusion.getInputs())
    types.push_back(getBufferType(input.getType()));
  for (Type type : fusion.getResultTypes())
    if (isa<RankedTensorType>(type))
      types.push_back(getBufferType(type));
  return types;
}

/// Removes operations and symbol arguments that nothing uses, by which alone equal code may differ.
static void removeUnused(kernel::FuncOp function, SmallVectorImpl<std::string> &symbols) {
  IRRewriter rewriter(function.getContext());
  (void)runRegionDCE(rewriter, function->getRegions());
  Block &entry = function.getBody().front();
  SmallVector<Type> types(function.getArgumentTypes());
  for (unsigned first = function.getNumBuffers(), index = symbols.size(); index-- > 0;) {
    if (!entry.getArgument(first + index).use_empty())
      continue;
    entry.eraseArgument(first + index);
    types.erase(types.begin() + first + index);
    symbols.erase(symbols.begin() + index);
  }
  function.setFunctionType(rewriter.getFunctionType(types, {}));
}

/// The positions of the inputs that are written layers of the KV cache.
static SmallVector<int64_t> findWritten(FusionOp fusion) {
  llvm::SmallDenseSet<int64_t> written;
  for (auto write : fusion.getBody().front().getOps<CacheWriteOp>())
    if (auto argument = dyn_cast<BlockArgument>(getBaseLayer(write.getLayer())))
      written.insert(argument.getArgNumber());
  SmallVector<int64_t> positions(written.begin(), written.end());
  llvm::sort(positions);
  return positions;
}

/// Removes the buffer arguments that nothing uses, and their places in `operands`.
static void removeUnusedBuffers(kernel::FuncOp function, SmallVectorImpl<unsigned> &operands) {
  Block &entry = function.getBody().front();
  SmallVector<Type> types(function.getArgumentTypes());
  for (unsigned index = operands.size(); index-- > 0;) {
    if (!entry.getArgument(index).use_empty())
      continue;
    entry.eraseArgument(index);
    types.erase(types.begin() + index);
    operands.erase(operands.begin() + index);
  }
  function.setFunctionType(FunctionType::get(function.getContext(), types, {}));
}

LogicalResult KernelOutliner::lowerSplit(FusionOp fusion, const FusionStructure &structure, const CudaSplit &split,
                                         OutlinedKernel &result) {
  OpBuilder builder(module.getContext());
  SmallVector<Type> types = getBufferTypes(fusion);
  size_t numInputs = fusion.getInputs().size();
  size_t firstTemporary = types.size();
  DimExpr partial;
  for (Type element : split.temporaries) {
    types.push_back(MemRefType::get({ShapedType::kDynamic}, element));
    result.temporaries.push_back({split.elements, element});
    partial = partial + split.elements * DimExpr::constant(getElementBits(element) / 8);
  }
  SmallVector<int64_t> written = findWritten(fusion);
  for (unsigned stage = 0; stage < split.stages; ++stage) {
    OutlinedKernel kernelOfStage;
    KernelBuilder kernel = startKernel(builder, fusion, structure, types, numInputs);
    kernel::FuncOp function = kernel.function;
    LogicalResult lowered = lowerSplitForCuda(kernel, split, stage, kernelOfStage.shape);
    if (failed(lowered) || kernel.failed) {
      function.erase();
      return failure();
    }
    finishKernel(kernel);
    removeUnused(function, kernel.symbolNames);
    kernelOfStage.function = function;
    kernelOfStage.symbols = kernel.symbolNames;
    kernelOfStage.operands = llvm::to_vector(llvm::seq<unsigned>(0, types.size()));
    removeUnusedBuffers(function, kernelOfStage.operands);
    bool last = stage + 1 == split.stages;
    for (auto [position, operand] : llvm::enumerate(kernelOfStage.operands)) {
      bool makesPartial = operand >= firstTemporary && split.isWrittenIn(operand - firstTemporary, stage);
      bool makesOutput = last && ((operand >= numInputs && operand < firstTemporary) ||
                                  llvm::is_contained(written, static_cast<int64_t>(operand)));
      if (makesPartial || makesOutput)
        kernelOfStage.writes.push_back(position);
    }
    bool wide = !last || split.wideOutputs;
    kernelOfStage.bytes = wide ? estimateBytes(fusion) : partial;
    kernelOfStage.flops = wide ? estimateFlops(fusion) : split.elements;
    if (stage > 0) {
      result.later.push_back(std::move(kernelOfStage));
      continue;
    }
    kernelOfStage.temporaries = std::move(result.temporaries);
    result = std::move(kernelOfStage);
  }
  return success();
}

LogicalResult KernelOutliner::lower(FusionOp fusion, OutlinedKernel &result) {
  FailureOr<FusionStructure> structure = analyzeFusion(fusion);
  if (failed(structure))
    return failure();

  if (cuda)
    if (std::optional<CudaSplit> split = planCudaSplit(fusion, *structure, *cuda))
      return lowerSplit(fusion, *structure, *split, result);
  OpBuilder builder(module.getContext());
  int64_t parts = cpu ? selectAttentionParts(fusion, *cpu) : countCudaPartElements(fusion) ? 0 : 1;
  SmallVector<Type> types = getBufferTypes(fusion);
  size_t numInputs = fusion.getInputs().size();
  if (parts != 1)
    types.push_back(MemRefType::get({ShapedType::kDynamic}, builder.getF32Type()));
  size_t numBuffers = types.size();
  KernelBuilder kernel = startKernel(builder, fusion, *structure, types, numInputs, parts);
  kernel::FuncOp function = kernel.function;
  for (unsigned position = 0; position < numInputs; ++position)
    if (packed.isPackedTable(fusion, position)) {
      kernel.packedTables.insert(position);
      Type element = getElementTypeOrSelf(fusion.getInputs()[position].getType());
      result.shape.panels.push_back({position, panelColumns, getPanelPair(element)});
    }
  LogicalResult lowered = cpu ? lowerFusionForCpu(kernel, *cpu, result.shape)
                              : lowerFusionForCuda(kernel, *cuda, result.shape);
  if (failed(lowered) || kernel.failed) {
    function.erase();
    return failure();
  }
  finishKernel(kernel);
  removeUnused(function, kernel.symbolNames);
  function.setScratchBytes(kernel.scratchBytes);
  result.function = function;
  result.symbols = kernel.symbolNames;
  result.writes = findWritten(fusion);
  for (size_t index = numInputs; index < numBuffers; ++index)
    result.writes.push_back(index);
  result.operands = llvm::to_vector(llvm::seq<unsigned>(0, numBuffers));
  if (parts != 1) {
    DimExpr elements = cpu ? DimExpr::constant(countPartElements(fusion, parts)) : *countCudaPartElements(fusion);
    result.temporaries.push_back({elements, builder.getF32Type()});
    result.later.push_back(makeJoin(fusion, *structure, parts));
    result.later.back().bytes = DimExpr::constant(4) * elements;
    result.later.back().flops = DimExpr::constant(2) * elements;
  }
  return success();
}
