//===- LowerToKernel.cpp - From fusions to kernels and launches -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelOutliner.h"
#include "PrepareFusions.h"
#include "mlsys/CodeGen/CacheLayout.h"
#include "mlsys/CodeGen/CudaTarget.h"
#include "mlsys/CodeGen/Passes.h"
#include "mlsys/CodeGen/TileTable.h"

namespace mlsys {
#define GEN_PASS_DEF_LOWERTOKERNEL
#include "mlsys/CodeGen/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Attributes of the arguments that results become and of arguments that are not
/// described by extents alone.
static constexpr StringLiteral dimsAttrName = "graph.dims", resultAttrName = "graph.result",
                               typeAttrName = "graph.type";

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

namespace {
/// Rewrites one function over flat buffers.
class FunctionLowering {
public:
  FunctionLowering(func::FuncOp function, KernelOutliner &outliner, bool cpu)
      : old(function), outliner(outliner), cpu(cpu), builder(function.getContext()) {}

  LogicalResult run();

private:
  LogicalResult createFunction();
  LogicalResult lowerOp(Operation &op);
  LogicalResult lowerFusion(FusionOp fusion);
  void addLaunch(FusionOp fusion, const OutlinedKernel &kernel, ValueRange operands,
                 AffineMap symbols, StringRef label, const DimExpr &bytes, const DimExpr &flops);
  Value getConstant(Value tensor, int64_t block, int64_t pair);
  Value getBuffer(Value tensor, int64_t block, int64_t pair);
  FailureOr<AffineMap> getSymbolMap(Operation *op, ArrayRef<std::string> names);

  func::FuncOp old, function;
  KernelOutliner &outliner;
  bool cpu;
  OpBuilder builder;
  /// The flat buffers of graph values.
  llvm::DenseMap<Value, Value> buffers;
  std::map<std::tuple<void *, int64_t, int64_t>, Value> constants;
  /// The arguments that results became, by the value that is returned.
  llvm::DenseMap<Value, Value> resultArguments;
};
} // namespace

static DimsAttr getDimsAttr(RankedTensorType type) {
  SmallVector<StringAttr> dims;
  for (const DimExpr &dim : getDims(type))
    dims.push_back(StringAttr::get(type.getContext(), dim.str()));
  return DimsAttr::get(type.getContext(), dims);
}

/// Attributes of the argument for a value of type `type`: what it had, and its extents.
static DictionaryAttr getArgumentAttrs(OpBuilder &builder, DictionaryAttr given, Type type,
                                       bool isResult) {
  NamedAttrList attrs(given);
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    attrs.set(dimsAttrName, getDimsAttr(tensor));
    if (tensor.getElementType().isUnsignedInteger())
      attrs.set(typeAttrName, TypeAttr::get(type));
  } else {
    attrs.set(typeAttrName, TypeAttr::get(type));
  }
  if (isResult)
    attrs.set(resultAttrName, builder.getUnitAttr());
  return attrs.getDictionary(builder.getContext());
}

LogicalResult FunctionLowering::createFunction() {
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attrs;
  for (auto [index, type] : llvm::enumerate(old.getArgumentTypes())) {
    if (!isa<RankedTensorType, KvCacheType>(type))
      return old.emitOpError("argument ") << index << " is " << type
                                          << ", which is neither a tensor nor a KV cache";
    types.push_back(getBufferType(type));
    attrs.push_back(getArgumentAttrs(builder, old.getArgAttrDict(index), type, false));
  }
  for (auto [index, type] : llvm::enumerate(old.getResultTypes())) {
    if (!isa<RankedTensorType>(type))
      return old.emitOpError("result ") << index << " is " << type << ", which is not a tensor";
    types.push_back(getBufferType(type));
    attrs.push_back(getArgumentAttrs(builder, old.getResultAttrDict(index), type, true));
  }
  builder.setInsertionPoint(old);
  function = func::FuncOp::create(builder, old.getLoc(), old.getName(),
                                  builder.getFunctionType(types, {}));
  function.setVisibility(old.getVisibility());
  for (NamedAttribute attr : old->getDiscardableAttrs())
    function->setAttr(attr.getName(), attr.getValue());
  function.setAllArgAttrs(attrs);
  Block *entry = function.addEntryBlock();
  for (BlockArgument argument : old.getArguments())
    buffers[argument] = entry->getArgument(argument.getArgNumber());
  Operation *ret = old.getBody().front().getTerminator();
  for (auto [index, value] : llvm::enumerate(ret->getOperands()))
    resultArguments[behindReshapes(value)] =
        entry->getArgument(old.getNumArguments() + index);
  return success();
}

/// The constant of a weight or of a graph.constant, in the layout that is asked for.
Value FunctionLowering::getConstant(Value tensor, int64_t block, int64_t pair) {
  Value &known = constants[{tensor.getAsOpaquePointer(), block, pair}];
  if (known)
    return known;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&function.getBody().front());
  Operation *op = tensor.getDefiningOp();
  auto type = cast<RankedTensorType>(tensor.getType());
  MemRefType buffer = getBufferType(type);
  if (auto weight = dyn_cast<WeightOp>(op))
    return known = kernel::ConstantOp::create(builder, op->getLoc(), buffer, weight.getName(),
                                              weight.getSource(), ElementsAttr(), type.getShape(),
                                              block, pair);
  return known = kernel::ConstantOp::create(builder, op->getLoc(), buffer, "constant", Attribute(),
                                            cast<ConstantOp>(op).getValue(), type.getShape(),
                                            block, pair);
}

/// The buffer of a value; `block` and `pair` are 0 unless it is a constant to be packed as panels.
Value FunctionLowering::getBuffer(Value tensor, int64_t block, int64_t pair) {
  if (!block)
    tensor = behindReshapes(tensor);
  if (isa_and_nonnull<WeightOp, ConstantOp>(tensor.getDefiningOp()))
    return getConstant(tensor, block, pair);
  assert(!block && "only a constant can be packed as panels");
  return buffers.lookup(tensor);
}

/// The values of a kernel's symbol arguments over the symbols of the function.
FailureOr<AffineMap> FunctionLowering::getSymbolMap(Operation *op, ArrayRef<std::string> names) {
  SmallVector<SymbolAttr> symbols = getSymbols(old);
  SmallVector<AffineExpr> exprs;
  std::vector<std::string> known;
  for (SymbolAttr symbol : symbols)
    known.push_back(symbol.getName().str());
  for (const std::string &text : names) {
    DimExpr dim = *DimExpr::parse(text);
    for (const std::string &name : dim.symbols())
      if (!llvm::is_contained(known, name))
        return op->emitOpError("uses the symbol '")
               << name << "', which " << symbolsAttrName << " of the function does not list";
    exprs.push_back(dim.toAffine(known, op->getContext()));
  }
  return AffineMap::get(0, symbols.size(), exprs, builder.getContext());
}

void FunctionLowering::addLaunch(FusionOp fusion, const OutlinedKernel &kernel,
                                 ValueRange operands, AffineMap symbols, StringRef label,
                                 const DimExpr &bytes, const DimExpr &flops) {
  auto makeMap = [&](ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(0, symbols.getNumSymbols(), exprs, builder.getContext());
  };
  const LaunchShape &shape = kernel.shape;
  kernel::FuncOp function = kernel.function;
  DenseI32ArrayAttr block;
  if (!shape.block.empty())
    block = builder.getDenseI32ArrayAttr(shape.block);
  DenseI64ArrayAttr tensorMaps;
  AffineMapAttr tensorExtents;
  if (!shape.tensorMaps.empty()) {
    SmallVector<int64_t> numbers;
    SmallVector<AffineExpr> extents;
    for (const LaunchShape::TensorMap &map : shape.tensorMaps) {
      numbers.append({map.buffer, static_cast<int64_t>(map.tile.size())});
      llvm::append_range(numbers, map.tile);
      llvm::append_range(extents, map.extents);
      llvm::append_range(extents, map.strides);
    }
    tensorMaps = builder.getDenseI64ArrayAttr(numbers);
    tensorExtents = AffineMapAttr::get(makeMap(extents));
  }
  AffineMapAttr shared;
  if (shape.shared)
    shared = AffineMapAttr::get(makeMap(shape.shared));
  kernel::LaunchOp::create(
      builder, fusion.getLoc(), function.getName(), operands, kernel.writes,
      makeMap(shape.grid), symbols, block, shape.sharedBytes, shape.grain > 0,
      std::max<int64_t>(1, shape.grain),
      AffineMapAttr::get(makeMap(toLaunchExpr(fusion, bytes))),
      AffineMapAttr::get(makeMap(toLaunchExpr(fusion, flops))), builder.getStringAttr(label), shape.maxBlocks,
      tensorMaps, tensorExtents, shared);
}

LogicalResult FunctionLowering::lowerFusion(FusionOp fusion) {
  // Extents over symbols that the function does not list have no affine form.
  auto checkSymbols = [&](Value value) -> LogicalResult {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type)
      return success();
    for (const DimExpr &dim : getDims(type)) {
      std::vector<std::string> names = dim.symbols();
      if (failed(getSymbolMap(fusion, names)))
        return failure();
    }
    return success();
  };
  for (Value value : llvm::concat<Value>(SmallVector<Value>(fusion.getInputs()),
                                         SmallVector<Value>(fusion.getResults())))
    if (failed(checkSymbols(value)))
      return failure();

  OutlinedKernel *kernel = outliner.outline(fusion);
  if (!kernel)
    return failure();
  FailureOr<AffineMap> symbols = getSymbolMap(fusion, kernel->symbols);
  if (failed(symbols))
    return failure();
  SmallVector<Value> operands;
  for (auto [index, input] : llvm::enumerate(fusion.getInputs())) {
    int64_t block = 0, pair = 0;
    for (const LaunchShape::Panels &panels : kernel->shape.panels)
      if (panels.input == index && panels.pair)
        block = panels.block, pair = panels.pair;
    operands.push_back(getBuffer(input, block, pair));
  }
  Block &body = fusion.getBody().front();
  for (auto [result, yielded] :
       llvm::zip_equal(fusion.getResults(), body.getTerminator()->getOperands())) {
    Value &buffer = buffers[result];
    auto tensor = dyn_cast<RankedTensorType>(result.getType());
    if (!tensor) {
      buffer = operands[cast<BlockArgument>(getBaseLayer(yielded)).getArgNumber()];
    } else {
      buffer = resultArguments.lookup(result);
      if (!buffer)
        buffer = kernel::AllocOp::create(builder, fusion.getLoc(), getBufferType(tensor),
                                         getDimsAttr(tensor), IntegerAttr());
      operands.push_back(buffer);
    }
  }
  std::string label = describeFusion(fusion);
  DimExpr bytes = estimateBytes(fusion), flops = estimateFlops(fusion);
  for (const OutlinedKernel::Temporary &temporary : kernel->temporaries) {
    RankedTensorType type = getTensorType({temporary.elements}, temporary.element);
    operands.push_back(kernel::AllocOp::create(builder, fusion.getLoc(), getBufferType(type), getDimsAttr(type), IntegerAttr()));
  }
  auto launch = [&](const OutlinedKernel &part, AffineMap map, StringRef name, const DimExpr &moved, const DimExpr &computed) {
    SmallVector<Value> buffers;
    for (unsigned operand : part.operands)
      buffers.push_back(operands[operand]);
    addLaunch(fusion, part, buffers, map, name, moved, computed);
  };
  launch(*kernel, *symbols, label, bytes, flops);
  for (const OutlinedKernel &later : kernel->later) {
    FailureOr<AffineMap> laterSymbols = getSymbolMap(fusion, later.symbols);
    if (failed(laterSymbols))
      return failure();
    launch(later, *laterSymbols, label + " join", later.bytes, later.flops);
  }
  return success();
}

LogicalResult FunctionLowering::lowerOp(Operation &op) {
  if (isa<WeightOp, ConstantOp>(op))
    return success();
  if (auto reshape = dyn_cast<ReshapeOp>(op)) {
    if (Value buffer = buffers.lookup(behindReshapes(reshape.getInput())))
      buffers[reshape.getResult()] = buffer;
    return success();
  }
  if (auto layer = dyn_cast<CacheLayerOp>(op)) {
    CacheLayout layout(layer.getResult().getType(), cpu);
    int64_t bytes = getElementBits(layer.getResult().getType().getElementType()) / 8;
    buffers[layer.getResult()] = kernel::ViewOp::create(
        builder, op.getLoc(), getBufferType(layer.getResult().getType()),
        buffers.lookup(layer.getCache()), layer.getLayer() * 2 * layout.partElements() * bytes);
    return success();
  }
  if (auto fusion = dyn_cast<FusionOp>(op))
    return lowerFusion(fusion);
  if (isa<func::ReturnOp>(op)) {
    func::ReturnOp::create(builder, op.getLoc());
    return success();
  }
  return op.emitOpError("is not in a fusion; kernels are made of graph.fusion only");
}

LogicalResult FunctionLowering::run() {
  if (!old.getBody().hasOneBlock())
    return old.emitOpError("has more than one block");
  prepareFusions(old);
  if (failed(createFunction()))
    return failure();
  builder.setInsertionPointToEnd(&function.getBody().front());
  for (Operation &op : old.getBody().front())
    if (failed(lowerOp(op)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct LowerToKernel : mlsys::impl::LowerToKernelBase<LowerToKernel> {
  using LowerToKernelBase::LowerToKernelBase;

  /// `isa`: the CPU's instruction set or the GPU's family.
  template <typename Target> LogicalResult readTiles(Target &target, StringRef isa) {
    target.candidate = candidate;
    if (tiles.empty())
      return success();
    llvm::Expected<TileTable> table = TileTable::read(tiles);
    if (!table)
      return getOperation().emitError(llvm::toString(table.takeError()));
    // What is best differs between them.
    if (table->isa == isa)
      target.tiles = std::make_shared<TileTable>(std::move(*table));
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<CpuTarget> cpu;
    std::optional<CudaTarget> cuda;
    if (target == "cpu") {
      cpu = isa.empty() ? CpuTarget::host() : CpuTarget::get(isa);
      if (!cpu) {
        module.emitError("instruction set '") << isa << "' is unknown";
        return signalPassFailure();
      }
      if (threads > 0)
        cpu->threads = threads;
      if (failed(readTiles(*cpu, cpu->isa)))
        return signalPassFailure();
    } else if (target == "cuda") {
      cuda = CudaTarget::get(arch);
      if (failed(readTiles(*cuda, cuda->family)))
        return signalPassFailure();
      module->setAttr(kernel::archAttrName, StringAttr::get(&getContext(), cuda->family));
    } else {
      module.emitError("target '") << target << "' is neither cpu nor cuda";
      return signalPassFailure();
    }
    KernelOutliner outliner(module, cpu ? &*cpu : nullptr, cuda ? &*cuda : nullptr);
    SmallVector<func::FuncOp> functions;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isDeclaration())
        functions.push_back(function);
    for (func::FuncOp function : functions)
      if (failed(FunctionLowering(function, outliner, cpu.has_value()).run()))
        return signalPassFailure();
    for (func::FuncOp function : functions)
      function.erase();
    numKernels = outliner.numKernels;
    numShared = outliner.numShared;
  }
};
} // namespace
