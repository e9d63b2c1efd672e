//===- EmitProgram.cpp - From the kernel stage to Program.fbs -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitProgram.h"
#include "EmitConstants.h"
#include "mlsys/IR/ProgramTypes.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using program::BufferKind;

//===----------------------------------------------------------------------===//
// Small parts
//===----------------------------------------------------------------------===//

/// "TokenIds" -> "token_ids".
static std::string toSnakeCase(StringRef name) {
  std::string result;
  for (char c : name) {
    if (llvm::isUpper(c) && !result.empty())
      result += '_';
    result += llvm::toLower(c);
  }
  return result;
}

static std::optional<program::Role> roleNamed(StringRef name) {
  for (program::Role role : program::EnumValuesRole())
    if (toSnakeCase(program::EnumNameRole(role)) == name)
      return role;
  return std::nullopt;
}

namespace {

/// Emits one function.
class FunctionEmitter {
public:
  FunctionEmitter(func::FuncOp function, program::TargetProgramT &target, ConstantTable &constants,
                  const llvm::StringMap<uint32_t> &kernels)
      : function(function), target(target), constants(constants), kernels(kernels) {
    for (graph::SymbolAttr symbol : graph::getSymbols(function))
      symbolNames.push_back(symbol.getName().str());
  }

  LogicalResult run();

private:
  /// Where a value of the IR lies.
  struct Place {
    uint32_t buffer;
    uint64_t offset;
  };

  LogicalResult emitSignature();
  LogicalResult emitArgument(unsigned index);
  LogicalResult emitCache(unsigned index, graph::KvCacheType type);
  LogicalResult emitAlloc(kernel::AllocOp op);
  LogicalResult emitConstant(kernel::ConstantOp op);
  LogicalResult emitLaunch(kernel::LaunchOp op);
  LogicalResult emitTensorMaps(kernel::LaunchOp op, program::LaunchT &launch);

  using Exprs = std::vector<std::unique_ptr<program::ExprT>>;
  FailureOr<Exprs> emitMap(Operation *op, StringRef what, AffineMap map);
  FailureOr<std::unique_ptr<program::ExprT>> emitEstimate(kernel::LaunchOp op, StringRef what,
                                                          std::optional<AffineMap> map);
  FailureOr<AffineExpr> toAffine(Operation *op, StringAttr dim);
  /// Adds a buffer whose `dims` are logical extents.
  FailureOr<uint32_t> addBuffer(Operation *op, Value value, StringRef name, BufferKind kind,
                                uint32_t index, graph::DimsAttr dims);

  func::FuncOp function;
  program::TargetProgramT &target;
  ConstantTable &constants;
  const llvm::StringMap<uint32_t> &kernels;
  std::vector<std::string> symbolNames;
  std::unique_ptr<program::FunctionT> result = std::make_unique<program::FunctionT>();
  llvm::DenseMap<Value, Place> places;
};

} // namespace

//===----------------------------------------------------------------------===//
// Expressions and buffers
//===----------------------------------------------------------------------===//

FailureOr<AffineExpr> FunctionEmitter::toAffine(Operation *op, StringAttr dim) {
  graph::DimExpr expr = *graph::DimExpr::parse(dim.getValue());
  for (const std::string &name : expr.symbols())
    if (!llvm::is_contained(symbolNames, name))
      return op->emitOpError("uses the symbol ") << name << ", which graph.symbols does not list";
  return expr.toAffine(symbolNames, op->getContext());
}

FailureOr<FunctionEmitter::Exprs> FunctionEmitter::emitMap(Operation *op, StringRef what,
                                                           AffineMap map) {
  if (map.getNumDims() != 0 || map.getNumSymbols() > symbolNames.size())
    return op->emitOpError() << what << " must be over the " << symbolNames.size()
                             << " symbols of the function";
  Exprs exprs;
  for (AffineExpr expr : map.getResults())
    exprs.push_back(emitExpr(expr));
  return exprs;
}

FailureOr<uint32_t> FunctionEmitter::addBuffer(Operation *op, Value value, StringRef name,
                                               BufferKind kind, uint32_t index,
                                               graph::DimsAttr dims) {
  Type elementType = cast<MemRefType>(value.getType()).getElementType();
  std::optional<program::DType> dtype = dtypeOf(elementType);
  if (!dtype)
    return op->emitOpError("has a buffer of ") << elementType << ", which a program cannot hold";
  auto buffer = std::make_unique<program::BufferT>();
  buffer->name = name.str();
  buffer->kind = kind;
  buffer->index = index;
  buffer->dtype = *dtype;
  AffineExpr bytes =
      getAffineConstantExpr(graph::getElementBits(elementType) / 8, op->getContext());
  if (dims)
    for (StringAttr dim : dims.getDims()) {
      FailureOr<AffineExpr> extent = toAffine(op, dim);
      if (failed(extent))
        return failure();
      buffer->shape.push_back(emitExpr(*extent));
      bytes = bytes * *extent;
    }
  buffer->bytes = emitExpr(bytes);
  uint32_t position = result->buffers.size();
  result->buffers.push_back(std::move(buffer));
  places[value] = {position, 0};
  return position;
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

LogicalResult FunctionEmitter::emitCache(unsigned index, graph::KvCacheType type) {
  auto spec = std::make_unique<program::CacheSpecT>();
  std::optional<program::DType> dtype = dtypeOf(type.getElementType());
  if (!dtype)
    return function.emitOpError("has a KV cache of ")
           << type.getElementType() << ", which a program cannot hold";
  spec->layers = type.getLayers();
  spec->kv_heads = type.getHeads();
  spec->head_dim = type.getHeadDim();
  spec->page_size = type.getPageSize();
  spec->dtype = *dtype;
  if (auto window = function->getAttrOfType<IntegerAttr>(graph::windowAttrName))
    spec->window = window.getInt();
  spec->page_bytes = 2 * type.getLayers() * type.getHeads() * type.getHeadDim() *
                     type.getPageSize() * (graph::getElementBits(type.getElementType()) / 8);
  auto extents = [](const program::CacheSpecT &spec) {
    return std::tie(spec.layers, spec.kv_heads, spec.head_dim, spec.page_size, spec.dtype,
                    spec.window);
  };
  if (target.cache && extents(*target.cache) != extents(*spec))
    return function.emitOpError("has another KV cache than the functions before it");
  target.cache = std::move(spec);
  if (failed(addBuffer(function, function.getArgument(index), "cache", BufferKind::Cache, 0, {})))
    return failure();
  result->buffers.back()->dtype = target.cache->dtype;
  // Its size is known only when the pages are allocated.
  result->buffers.back()->bytes = emitExpr(getAffineConstantExpr(0, function.getContext()));
  return success();
}

LogicalResult FunctionEmitter::emitArgument(unsigned index) {
  auto typeAttr = function.getArgAttrOfType<TypeAttr>(index, typeAttrName);
  if (auto cache = typeAttr ? dyn_cast<graph::KvCacheType>(typeAttr.getValue())
                            : graph::KvCacheType())
    return emitCache(index, cache);
  auto dims = function.getArgAttrOfType<graph::DimsAttr>(index, dimsAttrName);
  if (!dims || !isa<MemRefType>(function.getArgument(index).getType()))
    return function.emitOpError("argument ") << index << " is no buffer with the attribute "
                                             << dimsAttrName;
  bool isOutput = function.getArgAttr(index, resultAttrName) != nullptr;
  auto &ports = isOutput ? result->outputs : result->inputs;
  auto port = std::make_unique<program::PortT>();
  auto name = function.getArgAttrOfType<StringAttr>(index, graph::nameAttrName);
  port->name = name ? name.getValue().str()
                    : (isOutput ? "output" : "input") + std::to_string(ports.size());
  if (auto role = function.getArgAttrOfType<StringAttr>(index, graph::roleAttrName)) {
    std::optional<program::Role> value = roleNamed(role.getValue());
    if (!value)
      return function.emitOpError("argument ") << index << " has the unknown role " << role;
    port->role = *value;
  }
  FailureOr<uint32_t> buffer =
      addBuffer(function, function.getArgument(index), port->name,
                isOutput ? BufferKind::Output : BufferKind::Input, ports.size(), dims);
  if (failed(buffer))
    return failure();
  // A memref's element type has no sign; the tensor's does.
  if (auto tensor = typeAttr ? dyn_cast<RankedTensorType>(typeAttr.getValue()) : RankedTensorType())
    if (std::optional<program::DType> dtype = dtypeOf(tensor.getElementType()))
      result->buffers[*buffer]->dtype = *dtype;
  port->dtype = result->buffers[*buffer]->dtype;
  for (auto [dim, expr] : llvm::zip_equal(dims.getDims(), result->buffers[*buffer]->shape)) {
    port->dims.push_back(dim.getValue().str());
    port->shape.push_back(std::make_unique<program::ExprT>(*expr));
  }
  ports.push_back(std::move(port));
  return success();
}

LogicalResult FunctionEmitter::emitSignature() {
  result->name = function.getName().str();
  StringRef phase = "plain";
  if (auto attr = function->getAttrOfType<StringAttr>(graph::phaseAttrName))
    phase = attr.getValue();
  if (phase == "plain") {
    result->phase = program::Phase::Plain;
  } else if (phase == "prefill") {
    result->phase = program::Phase::Prefill;
  } else if (phase == "decode") {
    result->phase = program::Phase::Decode;
    auto bucket = function->getAttrOfType<IntegerAttr>(graph::bucketAttrName);
    if (!bucket)
      return function.emitOpError("is a decode function without ") << graph::bucketAttrName;
    result->bucket = bucket.getInt();
  } else {
    return function.emitOpError("has the phase '") << phase << "', which cannot be executed";
  }
  result->per_token = function->hasAttr(graph::perTokenAttrName);
  result->bidirectional = function->hasAttr(graph::bidirectionalAttrName);
  for (graph::SymbolAttr symbol : graph::getSymbols(function)) {
    auto entry = std::make_unique<program::SymbolT>();
    entry->name = symbol.getName().str();
    entry->min = symbol.getMin();
    entry->max = symbol.getMax();
    entry->hint = symbol.getHint();
    result->symbols.push_back(std::move(entry));
  }
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    if (failed(emitArgument(index)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// The body
//===----------------------------------------------------------------------===//

LogicalResult FunctionEmitter::emitAlloc(kernel::AllocOp op) {
  if (!op.getSlot())
    return op.emitOpError("has no slot; run -mlsys-plan-memory");
  uint32_t slot = *op.getSlot();
  result->slots = std::max(result->slots, slot + 1);
  return addBuffer(op, op.getResult(), "", BufferKind::Temporary, slot, op.getDims());
}

LogicalResult FunctionEmitter::emitConstant(kernel::ConstantOp op) {
  FailureOr<uint32_t> index = constants.getIndex(op);
  if (failed(index))
    return failure();
  FailureOr<uint32_t> buffer =
      addBuffer(op, op.getResult(), op.getName(), BufferKind::Constant, *index, {});
  if (failed(buffer))
    return failure();
  const program::ConstantT &constant = *target.constants[*index];
  result->buffers[*buffer]->bytes =
      emitExpr(getAffineConstantExpr(constant.bytes, op.getContext()));
  for (int64_t extent : constant.shape)
    result->buffers[*buffer]->shape.push_back(
        emitExpr(getAffineConstantExpr(extent, op.getContext())));
  return success();
}

FailureOr<std::unique_ptr<program::ExprT>>
FunctionEmitter::emitEstimate(kernel::LaunchOp op, StringRef what, std::optional<AffineMap> map) {
  if (!map)
    return std::unique_ptr<program::ExprT>();
  FailureOr<Exprs> exprs = emitMap(op, what, *map);
  if (failed(exprs))
    return failure();
  if (exprs->size() != 1)
    return op.emitOpError() << what << " must have one result";
  return std::move(exprs->front());
}

LogicalResult FunctionEmitter::emitTensorMaps(kernel::LaunchOp op, program::LaunchT &launch) {
  if (!op.getTensorMaps())
    return success();
  FailureOr<Exprs> exprs = emitMap(op, "tensor extents", *op.getTensorExtents());
  if (failed(exprs))
    return failure();
  auto next = exprs->begin();
  for (ArrayRef<int64_t> numbers = *op.getTensorMaps(); !numbers.empty();) {
    auto map = std::make_unique<program::TensorMapT>();
    map->argument = static_cast<uint32_t>(numbers[0]);
    ArrayRef<int64_t> tile = numbers.slice(2, numbers[1]);
    for (size_t i = 0; i < tile.size(); ++i)
      map->extents.push_back(std::move(*next++));
    for (size_t i = 1; i < tile.size(); ++i)
      map->strides.push_back(std::move(*next++));
    map->tile.assign(tile.begin(), tile.end());
    map->swizzled = true;
    launch.tensor_maps.push_back(std::move(map));
    numbers = numbers.drop_front(2 + tile.size());
  }
  return success();
}

LogicalResult FunctionEmitter::emitLaunch(kernel::LaunchOp op) {
  auto launch = std::make_unique<program::LaunchT>();
  auto kernel = kernels.find(op.getKernel());
  if (kernel == kernels.end())
    return op.emitOpError("runs '") << op.getKernel() << "', which is no kernel of this target";
  launch->kernel = kernel->second;
  for (Value value : op.getBuffers()) {
    auto ref = std::make_unique<program::BufferRefT>();
    ref->buffer = places.at(value).buffer;
    ref->offset = places.at(value).offset;
    launch->args.push_back(std::move(ref));
  }
  FailureOr<Exprs> symbols = emitMap(op, "symbols", op.getSymbols());
  FailureOr<Exprs> grid = emitMap(op, "grid", op.getGrid());
  FailureOr<std::unique_ptr<program::ExprT>> bytes = emitEstimate(op, "bytes", op.getBytes());
  FailureOr<std::unique_ptr<program::ExprT>> flops = emitEstimate(op, "flops", op.getFlops());
  if (failed(symbols) || failed(grid) || failed(bytes) || failed(flops))
    return failure();
  launch->symbols = std::move(*symbols);
  launch->grid = std::move(*grid);
  if (int64_t most = op.getMaxBlocks())
    for (int64_t word : {int64_t(program::ExprOp::Const), most, int64_t(program::ExprOp::Min)})
      launch->grid.front()->code.push_back(word);
  if (failed(emitTensorMaps(op, *launch)))
    return failure();
  launch->bytes = std::move(*bytes);
  launch->flops = std::move(*flops);
  if (std::optional<ArrayRef<int32_t>> block = op.getBlock())
    launch->block.assign(block->begin(), block->end());
  launch->shared_bytes = op.getSharedBytes();
  FailureOr<std::unique_ptr<program::ExprT>> shared = emitEstimate(op, "shared", op.getShared());
  if (failed(shared))
    return failure();
  launch->shared = std::move(*shared);
  launch->schedule = op.getDynamic() ? program::Schedule::Dynamic : program::Schedule::Static;
  launch->grain = op.getGrain();
  if (op.getLabel())
    launch->label = op.getLabel()->str();
  result->launches.push_back(std::move(launch));
  return success();
}

LogicalResult FunctionEmitter::run() {
  if (failed(emitSignature()))
    return failure();
  for (Operation &op : function.getBody().front().without_terminator()) {
    LogicalResult emitted =
        TypeSwitch<Operation *, LogicalResult>(&op)
            .Case([&](kernel::AllocOp op) { return emitAlloc(op); })
            .Case([&](kernel::ConstantOp op) { return emitConstant(op); })
            .Case([&](kernel::LaunchOp op) { return emitLaunch(op); })
            .Case([&](kernel::ViewOp op) {
              Place place = places.at(op.getSource());
              place.offset += op.getOffset();
              places[op.getResult()] = place;
              return success();
            })
            .Default([](Operation *op) {
              return op->emitOpError("cannot be part of a launch list; lower it to kernels first");
            });
    if (failed(emitted))
      return failure();
  }
  if (function.getBody().front().getTerminator()->getNumOperands())
    return function.emitOpError("returns values; at this stage results are arguments");
  target.functions.push_back(std::move(result));
  return success();
}

//===----------------------------------------------------------------------===//
// The module
//===----------------------------------------------------------------------===//

FailureOr<std::unique_ptr<program::TargetProgramT>>
mlsys::emitTargetProgram(ModuleOp module, StringRef targetName, program::DType dtype) {
  auto target = std::make_unique<program::TargetProgramT>();
  target->target = targetName.str();
  if (auto arch = module->getAttrOfType<StringAttr>(kernel::archAttrName))
    target->arch = arch.str();
  target->dtype = dtype;
  llvm::StringMap<uint32_t> kernels;
  for (auto function : module.getOps<kernel::FuncOp>()) {
    if (function.getTarget() != targetName)
      continue;
    kernels[function.getName()] = target->kernels.size();
    auto kernel = std::make_unique<program::KernelT>();
    kernel->name = function.getName().str();
    kernel->kind = function.getKind().str();
    kernel->scratch_bytes = function.getScratchBytes();
    if (auto tiles = function->getAttrOfType<StringAttr>(kernel::tilesAttrName))
      kernel->tiles = tiles.str();
    target->kernels.push_back(std::move(kernel));
  }
  ConstantTable constants(*target);
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isExternal())
      if (failed(FunctionEmitter(function, *target, constants, kernels).run()))
        return failure();
  return target;
}
