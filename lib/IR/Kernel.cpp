//===- Kernel.cpp - The kernel dialect ------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Kernel.h"

#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys::kernel;

#include "mlsys/IR/KernelDialect.cpp.inc"
#define GET_OP_CLASSES
#include "mlsys/IR/KernelOps.cpp.inc"

void KernelDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "mlsys/IR/KernelOps.cpp.inc"
      >();
}

ParseResult FuncOp::parse(OpAsmParser &parser, OperationState &result) {
  auto buildFunctionType = [](Builder &builder, ArrayRef<Type> arguments, ArrayRef<Type> results,
                              function_interface_impl::VariadicFlag,
                              std::string &) { return builder.getFunctionType(arguments, results); };
  return function_interface_impl::parseFunctionOp(
      parser, result, /*allowVariadic=*/false, getFunctionTypeAttrName(result.name),
      buildFunctionType, getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
}

void FuncOp::print(OpAsmPrinter &printer) {
  function_interface_impl::printFunctionOp(printer, *this, /*isVariadic=*/false,
                                           getFunctionTypeAttrName(), getArgAttrsAttrName(),
                                           getResAttrsAttrName());
}

/// The arguments that only CPU kernels have: scratch, begin, end.
static constexpr unsigned numCpuArguments = 3;

unsigned FuncOp::getNumBuffers() {
  unsigned end = getArgumentTypes().size() - (isCpu() ? numCpuArguments : 0);
  unsigned count = 0;
  while (count < end && isa<MemRefType>(getArgumentTypes()[count]))
    ++count;
  return count;
}

unsigned FuncOp::getNumSymbols() {
  return getArgumentTypes().size() - (isCpu() ? numCpuArguments : 0) - getNumBuffers();
}

LogicalResult FuncOp::verify() {
  if (getTarget() != "cpu" && getTarget() != "cuda")
    return emitOpError("target '") << getTarget() << "' is not cpu or cuda";
  if (!getResultTypes().empty())
    return emitOpError("has results; kernels write to their buffers");
  ArrayRef<Type> types = getArgumentTypes();
  if (isCpu()) {
    if (types.size() < numCpuArguments || !isa<MemRefType>(types[types.size() - 3]) ||
        !types[types.size() - 2].isIndex() || !types.back().isIndex())
      return emitOpError("a CPU kernel ends with scratch memory and a range of tasks");
    types = types.drop_back(numCpuArguments);
  }
  for (Type type : types.take_front(getNumBuffers()))
    if (cast<MemRefType>(type).getRank() != 1)
      return emitOpError("buffer ") << type << " is not flat";
  for (Type type : types.drop_front(getNumBuffers()))
    if (!type.isIndex())
      return emitOpError("argument ") << type << " is neither a buffer nor a symbol";
  return success();
}

LogicalResult ConstantOp::verify() {
  if (getSource().has_value() == getValue().has_value())
    return emitOpError("needs either a source or a value");
  if ((getBlock() != 0) != (getPair() != 0))
    return emitOpError("panels need both a block and a pair");
  if (getBlock() != 0 && getShape().size() != 2 && getShape().size() != 3)
    return emitOpError("only matrices have panels");
  return success();
}

LogicalResult LaunchOp::verify() {
  unsigned numGrid = getGrid().getNumResults();
  if (numGrid != 1 && numGrid != 3)
    return emitOpError("grid has ") << numGrid << " results instead of 1 or 3";
  for (int64_t index : getWrites())
    if (index < 0 || index >= static_cast<int64_t>(getBuffers().size()))
      return emitOpError("writes buffer ") << index << " of " << getBuffers().size();
  ArrayRef<int64_t> maps = getTensorMaps().value_or(ArrayRef<int64_t>());
  size_t extents = getTensorExtents() ? getTensorExtents()->getNumResults() : 0;
  while (!maps.empty()) {
    if (maps.size() < 2 || maps[1] < 1 || maps[1] > 5 || maps.size() < 2 + static_cast<size_t>(maps[1]) ||
        extents < 2 * static_cast<size_t>(maps[1]) - 1)
      return emitOpError("has tensor maps without extents");
    if (maps[0] < 0 || maps[0] >= static_cast<int64_t>(getBuffers().size()))
      return emitOpError("has a tensor map of buffer ") << maps[0] << " of " << getBuffers().size();
    extents -= 2 * maps[1] - 1;
    maps = maps.drop_front(2 + maps[1]);
  }
  if (extents > 0)
    return emitOpError("has extents of no tensor map");
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto kernel = symbolTable.lookupNearestSymbolFrom<FuncOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("'") << getKernel() << "' is not a kernel.func";
  if (kernel.getNumBuffers() != getBuffers().size() ||
      kernel.getNumSymbols() != getSymbols().getNumResults())
    return emitOpError("gives ") << getBuffers().size() << " buffers and "
                                 << getSymbols().getNumResults() << " symbols to a kernel of "
                                 << kernel.getNumBuffers() << " and " << kernel.getNumSymbols();
  for (auto [index, buffer] : llvm::enumerate(getBuffers()))
    if (buffer.getType() != kernel.getArgumentTypes()[index])
      return emitOpError("buffer ") << index << " is " << buffer.getType() << " but the kernel takes "
                                    << kernel.getArgumentTypes()[index];
  return success();
}

/// Parsing makes an empty block of an empty region.
static bool hasPrologue(ContractOp op) {
  return llvm::any_of(op.getPrologue(), [](Block &block) {
    return !block.empty() || block.getNumArguments() != 0;
  });
}

LogicalResult ContractOp::verify() {
  bool gemv = getMethod() == "gemv", mma = getMethod() == "gemv_mma", bytes = getMethod() == "matmul_int8";
  if (!gemv && !mma && !bytes && getMethod() != "matmul")
    return emitOpError("method '") << getMethod() << "' is not matmul, matmul_int8, gemv or gemv_mma";
  size_t numConstants = gemv ? 4 : mma || bytes ? 5 : 6;
  if (getConfig().size() != numConstants && !(mma && getConfig().size() == numConstants + 1))
    return emitOpError() << getMethod() << " takes " << numConstants << " constants instead of "
                         << getConfig().size();
  if (getWeights().empty())
    return emitOpError("has no weight");
  if (!llvm::all_equal(getWeights().getTypes()))
    return emitOpError("has weights of different types");
  if ((getLhs() != nullptr) == hasPrologue(*this))
    return emitOpError("needs either a left side or a prologue");
  if (!mma && !getPrepare().empty())
    return emitOpError() << getMethod() << " prepares nothing";
  if (!mma && getHalf())
    return emitOpError() << getMethod() << " has no tiles in halves";
  if (getRows() && !getLhs())
    return emitOpError("lists rows of a left side that it does not have");
  return success();
}

LogicalResult WgmmaOp::verify() {
  size_t most = getSwapped() ? 5 : 6;
  if (getConfig().size() < 4 || getConfig().size() > most)
    return emitOpError("takes 4 to ") << most << " constants instead of " << getConfig().size();
  if (!getElement().isBF16() && !getElement().isF16())
    return emitOpError("multiplies elements of bf16 or f16, not ") << getElement();
  if (getColumns().empty() || getColumns().size() != getEpilogues().size())
    return emitOpError("has ") << getColumns().size() << " numbers of columns for "
                               << getEpilogues().size() << " epilogues";
  return success();
}

LogicalResult CollectRowsOp::verify() {
  auto list = cast<MemRefType>(getList().getType());
  if (!list.getElementType().isInteger(32) || !list.hasStaticShape())
    return emitOpError("list is ") << list << ", which is not a number of i32";
  return success();
}

/// The block has so many arguments, all of them indices.
static bool takes(Block &block, unsigned count) {
  return block.getNumArguments() == count &&
         llvm::all_of(block.getArgumentTypes(), [](Type type) { return type.isIndex(); });
}

LogicalResult WgmmaOp::verifyRegions() {
  for (Region &epilogue : getEpilogues())
    if (!takes(epilogue.front(), 4))
      return emitOpError("epilogue must take a row, a column, and numbers of rows and columns");
  return success();
}

LogicalResult ContractOp::verifyRegions() {
  if (hasPrologue(*this)) {
    Block &prologue = getPrologue().front();
    if (!takes(prologue, 2) || prologue.empty() || !isa<YieldOp>(prologue.back()))
      return emitOpError("prologue must take a row and a column and yield an element");
  }
  if (!takes(getEpilogue().front(), 4))
    return emitOpError("epilogue must take a row, a column, and numbers of rows and columns");
  return success();
}

LogicalResult TileLoadOp::verify() {
  auto contract = (*this)->getParentOfType<ContractOp>();
  auto wgmma = (*this)->getParentOfType<WgmmaOp>();
  if (!contract && !wgmma)
    return emitOpError("stands outside a kernel.contract");
  int64_t product = getProduct(), count = contract ? contract.getWeights().size() : wgmma.getConfig()[0];
  if (product < 0 || product >= count)
    return emitOpError("reads product ") << product << " of " << count;
  return success();
}

LogicalResult AttentionOp::verify() {
  bool plain = getMethod() == "plain", decode = getMethod() == "decode";
  if (!plain && !decode && getMethod() != "prefill")
    return emitOpError("method '") << getMethod() << "' is not prefill, decode or plain";
  if (getWgmma() && decode)
    return emitOpError("decode does not use wgmma");
  size_t numMetadata = plain ? 0 : decode ? 2 : 3, numExtents = plain || getWgmma() ? 2 : 1;
  if (plain != (getValue() != nullptr) || getMetadata().size() != numMetadata ||
      getExtents().size() != numExtents)
    return emitOpError() << getMethod() << " takes " << (plain ? "a" : "no") << " value, "
                         << numMetadata << " buffers of metadata and " << numExtents << " extents";
  if (getParts() && !decode)
    return emitOpError() << getMethod() << " has no parts";
  int64_t heads = getHeads(), keyHeads = getKvHeads();
  if (heads < 1 || keyHeads < 1 || heads % keyHeads || static_cast<int64_t>(getHeadDim()) < 1)
    return emitOpError("has ") << heads << " heads of " << static_cast<int64_t>(getHeadDim())
                               << " elements over " << keyHeads << " key heads";
  if (getSlopes() && static_cast<int64_t>(getSlopes()->size()) != heads)
    return emitOpError("has ") << getSlopes()->size() << " slopes for " << heads << " heads";
  return success();
}
