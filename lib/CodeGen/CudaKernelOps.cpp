//===- CudaKernelOps.cpp - The kernel dialect's operations as text --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaPrinter.h"

using namespace mlir;
using namespace mlsys;

LogicalResult CudaPrinter::printKernelOp(kernel::BlockIdOp op) {
  define(op.getResult(), std::string("(i64)block_") + "xyz"[op.getDim()] + "()");
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::ThreadIdOp op) {
  define(op.getResult(), "(i64)thread_x()");
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::BarrierOp op) {
  line() << "bar_sync();\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::GridWaitOp op) {
  line() << "pdl_wait();\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::GridLaunchOp op) {
  line() << "pdl_launch();\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::SharedOp op) {
  FailureOr<std::string> element =
      typeName(cast<MemRefType>(op.getType()).getElementType(), op);
  if (failed(element))
    return failure();
  line() << *element << " *const " << fresh(op.getResult()) << " = shared_memory<" << *element
         << ">(" << op.getOffset() << ");\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::ReduceOp op) {
  std::string function = op.getBlock() ? "block_" : "warp_";
  define(op.getResult(),
         function + graph::stringifyReduceKind(op.getKind()).str() + "(" + name(op.getValue()) + ")");
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::TileLoadOp op) {
  std::string at = "(" + std::to_string(op.getProduct()) + ", (int)" + name(op.getM()) + ", (int)" +
                   name(op.getN()) + ")";
  auto vector = dyn_cast<VectorType>(op.getType());
  if (vector)
    define(op.getResult(),
           "tile.template load<" + std::to_string(vector.getNumElements()) + ">" + at);
  else
    define(op.getResult(), "tile.at" + at);
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::CollectRowsOp op) {
  int64_t capacity = cast<MemRefType>(op.getList().getType()).getNumElements();
  define(op.getTotal(), "collect_rows(" + name(op.getExperts()) + ", " + name(op.getRows()) + ", " +
                            name(op.getExpert()) + ", " + name(op.getSkip()) + ", " +
                            name(op.getList()) + ", " + std::to_string(capacity) + ")");
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::FetchRowsOp op) {
  line() << "fetch_rows(" << name(op.getShared()) << ", " << name(op.getSource()) << ", "
         << name(op.getRows()) << ", " << name(op.getColumns()) << ", " << op.getStride() << ");\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::ContractOp op) {
  bool mma = op.getMethod() == "gemv_mma", gemv = mma || op.getMethod() == "gemv";
  FailureOr<std::string> element =
      typeName(cast<MemRefType>(op.getWeights().front().getType()).getElementType(), op);
  if (failed(element))
    return failure();
  std::string config;
  for (int32_t value : op.getConfig())
    config += (config.empty() ? "" : ", ") + std::to_string(value);
  bool bytes = op.getMethod() == "matmul_int8";
  line() << op.getMethod() << "<"
         << (mma ? "GemvMmaConfig<" : gemv ? "GemvConfig<" : bytes ? "Int8Config<" : "MatmulConfig<") << config << ">, "
         << *element << ">(\n";
  indent += 4;
  if (op.getLhs()) {
    FailureOr<std::string> lhs =
        typeName(cast<MemRefType>(op.getLhs().getType()).getElementType(), op);
    if (failed(lhs))
      return failure();
    line() << (op.getRows() ? "GatheredRows<" : "Rows<") << *lhs << ">{" << name(op.getLhs())
           << ", " << name(op.getK());
    if (op.getRows())
      out << ", " << name(op.getRows()) << ", " << op.getRowsPerLeft();
    out << "},\n";
  } else {
    Block &prologue = op.getPrologue().front();
    names[prologue.getArgument(0)] = "m";
    names[prologue.getArgument(1)] = "k";
    FailureOr<std::string> value = typeName(prologue.getTerminator()->getOperand(0).getType(), op);
    if (failed(value))
      return failure();
    line() << "[&](i64 m, i64 k) -> " << *value << " {\n";
    if (failed(printBlock(prologue, [&](Operation *yield) {
          line() << "return " << name(yield->getOperand(0)) << ";\n";
          return success();
        })))
      return failure();
    line() << "},\n";
  }
  line() << "weights(";
  for (Value weight : op.getWeights())
    out << "(const " << *element << " *)" << name(weight)
        << (op.getOffset() ? " + " + name(op.getOffset()) : "") << ", ";
  out << name(op.getK()) << "), " << name(op.getM()) << ", " << name(op.getN()) << ", "
      << name(op.getK()) << ", ";
  if (!gemv)
    out << "(int)" << name(op.getRow0()) << ", ";
  out << "(int)" << name(op.getCol0()) << ",";
  if (mma)
    out << " (int)" << (op.getHalf() ? name(op.getHalf()) : "0") << ",";
  out << "\n";

  if (mma && op.getPrepare().empty()) {
    line() << "[] {},\n";
  } else if (mma) {
    line() << "[&] {\n";
    if (failed(printBlock(op.getPrepare().front(), [](Operation *) { return success(); })))
      return failure();
    line() << "},\n";
  }
  if (failed(printEpilogue(op.getEpilogue().front())))
    return failure();
  line() << "});\n";
  indent -= 4;
  return success();
}

LogicalResult CudaPrinter::printEpilogue(Block &epilogue) {
  static constexpr StringLiteral arguments[] = {"row0", "col0", "rows", "cols"};
  line() << "[&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {\n";
  for (auto [argument, text] : llvm::zip_equal(epilogue.getArguments(), arguments))
    names[argument] = text.str();
  return printBlock(epilogue, [](Operation *) { return success(); });
}

LogicalResult CudaPrinter::printKernelOp(kernel::WgmmaOp op) {
  FailureOr<std::string> element = typeName(op.getElement(), op);
  if (failed(element))
    return failure();
  std::string config;
  for (int32_t value : op.getConfig())
    config += (config.empty() ? "" : ", ") + std::to_string(value);
  line() << "matmul_wgmma<" << (op.getSwapped() ? "SwappedConfig<" : "WgmmaConfig<") << config << ">, " << *element
         << ">(t0, " << name(op.getM()) << ", " << name(op.getK());
  int64_t map = 1, products = op.getConfig()[0];
  indent += 4;
  for (auto [columns, epilogue] : llvm::zip_equal(op.getColumns(), op.getEpilogues())) {
    out << ",\n";
    line() << "wgmma_group(" << columns << ",\n";
    if (failed(printEpilogue(epilogue.front())))
      return failure();
    line() << "}";
    for (int64_t product = 0; product < products; ++product)
      out << ", t" << map++;
    out << ")";
  }
  out << ");\n";
  indent -= 4;
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::AttentionOp op) {
  FailureOr<std::string> element =
      typeName(cast<MemRefType>(op.getQuery().getType()).getElementType(), op);
  if (failed(element))
    return failure();
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), dim = op.getHeadDim();
  // Keys and values in the cache may be of another type.
  FailureOr<std::string> keyElement =
      typeName(cast<MemRefType>(op.getKey().getType()).getElementType(), op);
  if (failed(keyElement))
    return failure();
  int64_t bytes = cast<MemRefType>(op.getKey().getType()).getElementTypeBitWidth() / 8;
  std::string query = "(const " + *element + " *)" + name(op.getQuery());
  // Floats by their bits, as constants are.
  auto number = [](const APFloat &value) {
    return "float_from_bits(" + std::to_string(value.bitcastToAPInt().getZExtValue()) + "u)";
  };
  std::string cap = op.getSoftcap() ? number(*op.getSoftcap()) : "0.0f";
  std::string scores = number(op.getScale()) + ", " + (op.getCausal() ? "true" : "false");
  std::string slopes;
  for (float slope : op.getSlopes().value_or(ArrayRef<float>()))
    slopes += (slopes.empty() ? ", HeadSlopes<" : ", ") + std::to_string(llvm::bit_cast<uint32_t>(slope)) + "u";
  if (op.getWindow() || op.getSoftcap() || op.getSlopes())
    scores = std::string("Scores<") + (op.getWindow() ? "true, " : "false, ") +
             (op.getSoftcap() ? "true" : "false") + (slopes.empty() ? "" : slopes + ">") + ">{" + scores + ", " +
             std::to_string(std::min<int64_t>(op.getWindow().value_or(0), std::numeric_limits<int32_t>::max())) +
             ", " + cap + "}";
  else
    scores = "Scores<>{" + scores + "}";
  std::string tail = std::to_string(heads) + ", " + std::to_string(kvHeads) + ", " + scores;
  std::string dimText = std::to_string(dim);
  if (op.getMethod() == "plain") {
    auto strides = [&](Value length, int64_t count) {
      std::string row = std::to_string(count * dim);
      return "Strides{" + name(length) + " * " + row + ", " + row + ", " + dimText + "}";
    };
    std::string q = strides(op.getExtents()[0], heads), kv = strides(op.getExtents()[1], kvHeads);
    if (op.getWgmma()) {
      line() << "attention_plain_wgmma<" << dimText << ">(" << query << ", " << q << ", " << name(op.getResult())
             << ", " << q << ", t0, t1,\n";
      line() << "    " << name(op.getExtents()[0]) << ", " << name(op.getExtents()[1]) << ", " << tail << ");\n";
      return success();
    }
    line() << "attention_plain<" << dimText << ">(" << query << ", " << q << ", "
           << name(op.getResult()) << ", " << q << ",\n";
    line() << "    ContiguousKV<" << *keyElement << ">{" << name(op.getKey()) << ", "
           << name(op.getValue()) << ", " << kv << ", " << kv << "}, " << name(op.getExtents()[0])
           << ", " << name(op.getExtents()[1]) << ", " << tail
           << ");\n";
    return success();
  }
  std::string paged = "PagedKV<" + *keyElement + ">{" + name(op.getKey()) + ", " +
                      std::to_string(op.getPageStride()) + ", 0, " +
                      std::to_string(op.getPageSize() * kvHeads * dim * bytes) + ", " +
                      std::to_string(op.getPageSize()) + ", " + dimText + "}";
  std::string metadata;
  for (Value buffer : op.getMetadata())
    metadata += name(buffer) + ", ";
  metadata += name(op.getExtents()[0]) + ", ";
  if (op.getMethod() == "decode") {
    line() << "attention_decode<" << dimText << ", " << op.getHeadsPerBlock() << ">(" << query << ", "
           << name(op.getResult()) << ", " << (op.getParts() ? name(op.getParts()) : "(f32 *)0") << ", "
           << paged << ", " << metadata << tail << ");\n";
    return success();
  }
  if (op.getWgmma()) {
    line() << "attention_prefill_wgmma<" << dimText << ", " << op.getPageSize() << ">(" << query << ", "
           << name(op.getResult()) << ", t0, " << metadata << name(op.getExtents()[1]) << ", " << tail << ");\n";
    return success();
  }
  line() << "attention_prefill<" << dimText << ">(" << query << ", " << name(op.getResult()) << ", "
         << paged << ", " << metadata << tail << ");\n";
  return success();
}

LogicalResult CudaPrinter::printKernelOp(kernel::AttentionJoinOp op) {
  // Of the scores it is only asked which keys a query sees.
  int64_t window = std::min<int64_t>(op.getWindow().value_or(0), std::numeric_limits<int32_t>::max());
  std::string scores = std::string("Scores<") + (op.getWindow() ? "true" : "false") + ">{1.0f, true, " +
                       std::to_string(window) + "}";
  line() << "attention_join<" << op.getHeadDim() << ", " << op.getPartKeys() << ">(" << name(op.getParts())
         << ", " << name(op.getResult()) << ", " << name(op.getContextLength()) << ", " << op.getHeads()
         << ", (int)" << name(op.getSplits()) << ", " << scores << ");\n";
  return success();
}
