//===- EmitCuda.cpp - Kernels as CUDA C++ text ----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Prints, and only prints: one statement an operation, values named v0, v1, ... in
// order. Scalars and vectors share their text: the device library overloads
// operators and functions for both.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/EmitCuda.h"
#include "CudaPrinter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

LogicalResult CudaPrinter::declareResults(ValueRange results, ValueRange initial, Operation *op) {
  for (auto [index, result] : llvm::enumerate(results)) {
    FailureOr<std::string> type = typeName(result.getType(), op);
    if (failed(type))
      return failure();
    line() << *type << ' ' << fresh(result);
    if (!initial.empty())
      out << " = " << name(initial[index]);
    out << ";\n";
  }
  return success();
}

LogicalResult CudaPrinter::printFor(scf::ForOp op) {
  if (failed(declareResults(op.getResults(), op.getInitArgs(), op)))
    return failure();
  for (auto [argument, result] : llvm::zip_equal(op.getRegionIterArgs(), op.getResults()))
    names[argument] = name(result);
  std::string variable = fresh(op.getInductionVar());
  line() << "for (i64 " << variable << " = " << name(op.getLowerBound()) << "; " << variable
         << " < " << name(op.getUpperBound()) << "; " << variable << " += " << name(op.getStep())
         << ") {\n";
  if (failed(printBlock(*op.getBody(), [&](Operation *terminator) {
        assign(op.getResults(), terminator->getOperands());
        return success();
      })))
    return failure();
  line() << "}\n";
  return success();
}

LogicalResult CudaPrinter::printIf(scf::IfOp op) {
  if (failed(declareResults(op.getResults(), {}, op)))
    return failure();
  auto yield = [&](Operation *terminator) {
    assign(op.getResults(), terminator->getOperands());
    return success();
  };
  line() << "if (" << name(op.getCondition()) << ") {\n";
  if (failed(printBlock(*op.thenBlock(), yield)))
    return failure();
  if (op.elseBlock()) {
    line() << "} else {\n";
    if (failed(printBlock(*op.elseBlock(), yield)))
      return failure();
  }
  line() << "}\n";
  return success();
}

void CudaPrinter::assign(ValueRange targets, ValueRange values) {
  // All values are read before any target changes.
  if (targets.size() > 1) {
    SmallVector<std::string> copies;
    for (Value value : values) {
      copies.push_back("t" + std::to_string(counter++));
      line() << "const auto " << copies.back() << " = " << name(value) << ";\n";
    }
    for (auto [target, copy] : llvm::zip_equal(targets, copies))
      line() << name(target) << " = " << copy << ";\n";
    return;
  }
  for (auto [target, value] : llvm::zip_equal(targets, values))
    line() << name(target) << " = " << name(value) << ";\n";
}

LogicalResult CudaPrinter::printBlock(Block &block,
                                      function_ref<LogicalResult(Operation *)> terminator) {
  indent += 2;
  for (Operation &op : block) {
    if (op.hasTrait<OpTrait::IsTerminator>()) {
      if (failed(terminator(&op)))
        return failure();
    } else if (failed(printOp(&op))) {
      return failure();
    }
  }
  indent -= 2;
  return success();
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

LogicalResult CudaPrinter::printOp(Operation *op) {
  auto width = [](Value value) {
    auto vector = dyn_cast<VectorType>(value.getType());
    return std::to_string(vector ? vector.getNumElements() : 1);
  };
  auto convert = [&](Operation *cast) -> LogicalResult {
    FailureOr<std::string> type =
        typeName(getElementTypeOrSelf(cast->getResult(0).getType()), cast);
    if (failed(type))
      return failure();
    define(cast->getResult(0), "convert<" + *type + ">(" + name(cast->getOperand(0)) + ")");
    return success();
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](arith::ConstantOp constant) { return printConstant(constant); })
      .Case<arith::ExtFOp, arith::TruncFOp, arith::ExtSIOp, arith::ExtUIOp, arith::TruncIOp,
            arith::IndexCastOp, arith::SIToFPOp, arith::FPToSIOp>(
          [&](auto cast) { return convert(cast); })
      .Case<arith::UIToFPOp>([&](arith::UIToFPOp cast) -> LogicalResult {
        if (!getElementTypeOrSelf(cast.getIn().getType()).isInteger(1))
          return cast.emitOpError("has no CUDA text");
        return convert(cast);
      })
      .Case([&](memref::LoadOp load) {
        define(load.getResult(), name(load.getMemRef()) + "[" + name(load.getIndices()[0]) + "]");
        return success();
      })
      .Case([&](memref::StoreOp store) {
        line() << name(store.getMemRef()) << "[" << name(store.getIndices()[0])
               << "] = " << name(store.getValueToStore()) << ";\n";
        return success();
      })
      .Case([&](vector::LoadOp load) {
        define(load.getResult(), "load<" + width(load.getResult()) + ">(" + name(load.getBase()) +
                                     " + " + name(load.getIndices()[0]) + ")");
        return success();
      })
      .Case([&](vector::StoreOp store) {
        line() << "store<" << width(store.getValueToStore()) << ">(" << name(store.getBase())
               << " + " << name(store.getIndices()[0]) << ", " << name(store.getValueToStore())
               << ");\n";
        return success();
      })
      .Case([&](vector::BroadcastOp broadcast) {
        define(broadcast.getResult(), "broadcast<" + width(broadcast.getResult()) + ">(" +
                                          name(broadcast.getSource()) + ")");
        return success();
      })
      .Case([&](vector::ExtractOp extract) -> LogicalResult {
        if (extract.getStaticPosition().size() != 1 || extract.hasDynamicPosition())
          return extract.emitOpError("has no CUDA text");
        define(extract.getResult(), name(extract.getSource()) + "[" +
                                        std::to_string(extract.getStaticPosition()[0]) + "]");
        return success();
      })
      .Case([&](vector::FromElementsOp elements) -> LogicalResult {
        FailureOr<std::string> type = typeName(elements.getType(), op);
        if (failed(type))
          return failure();
        std::string text = *type + "{{";
        for (auto [index, element] : llvm::enumerate(elements.getElements()))
          text += (index ? ", " : "") + name(element);
        define(elements.getResult(), text + "}}");
        return success();
      })
      .Case([&](scf::ForOp loop) { return printFor(loop); })
      .Case([&](scf::IfOp branch) { return printIf(branch); })
      .Case<kernel::BlockIdOp, kernel::ThreadIdOp, kernel::BarrierOp, kernel::GridWaitOp, kernel::GridLaunchOp, kernel::SharedOp,
            kernel::ReduceOp, kernel::ContractOp, kernel::WgmmaOp, kernel::CollectRowsOp, kernel::FetchRowsOp, kernel::TileLoadOp, kernel::AttentionOp,
            kernel::AttentionJoinOp>(
          [&](auto kernelOp) { return printKernelOp(kernelOp); })
      .Default([&](Operation *other) -> LogicalResult {
        if (other->getNumResults() == 1 && other->getNumRegions() == 0)
          return printExpression(other);
        return other->emitOpError("has no CUDA text");
      });
}

/// How many blocks of a kernel a multiprocessor must have room for. One is enough: without the 1, ptxas
/// spills registers to have more. Two blocks of gemv_mma, though, hide each other's start and end.
static int64_t countBlocks(kernel::FuncOp function, int64_t threads) {
  bool mma = false, other = false;
  function.walk([&](kernel::ContractOp contract) {
    (contract.getMethod() == "gemv_mma" ? mma : other) = true;
  });
  // Lists of rows, and weights that a block chooses among, need more registers.
  function.walk([&](kernel::CollectRowsOp) { other = true; });
  function.walk([&](kernel::ContractOp contract) {
    other |= contract.getWeights().front().getDefiningOp<arith::SelectOp>() != nullptr;
  });
  return mma && !other ? std::max<int64_t>(1, 512 / threads) : 1;
}

LogicalResult CudaPrinter::printFunction(kernel::FuncOp function, int64_t threads) {
  for (StringRef file : includes(function))
    out << "#include \"mlsys/" << file << "\"\n";
  out << "\nextern \"C\" __global__ void ";
  if (auto cluster = function->getAttrOfType<IntegerAttr>(kernel::clusterAttrName))
    out << "__cluster_dims__(" << cluster.getInt() << ", 1, 1) ";
  out << "__launch_bounds__(" << threads << ", "
      << countBlocks(function, threads) << ") "
      << function.getSymName() << "(";
  // A buffer that the kernel only reads is still no `const __restrict__`: an
  // earlier kernel may have written it.
  Block &entry = function.getBody().front();
  for (BlockArgument argument : entry.getArguments()) {
    FailureOr<std::string> type = typeName(argument.getType(), function);
    if (failed(type))
      return failure();
    bool isBuffer = isa<MemRefType>(argument.getType());
    names[argument] = (isBuffer ? "a" : "s") + std::to_string(argument.getArgNumber());
    out << (argument.getArgNumber() ? ", " : "") << (isBuffer ? *type : "long long ")
        << names[argument];
  }
  if (auto maps = function->getAttrOfType<IntegerAttr>(kernel::tensorMapsAttrName))
    for (int64_t map = 0; map < maps.getInt(); ++map)
      out << (map || entry.getNumArguments() ? ", " : "") << "const __grid_constant__ tensor_map t" << map;
  out << ") {\n";
  if (failed(printBlock(entry, [](Operation *) { return success(); })))
    return failure();
  out << "}\n";
  return success();
}

SmallVector<StringRef> CudaPrinter::includes(kernel::FuncOp function) {
  SmallVector<StringRef> files{"types.cuh", "math.cuh"};
  bool reduce = false, matmul = false, gemv = false, gemvMma = false, experts = false, attention = false, decode = false, wgmma = false, int8 = false,
       attentionWgmma = false;
  function.walk([&](Operation *op) {
    reduce |= isa<kernel::ReduceOp>(op);
    experts |= isa<kernel::CollectRowsOp>(op);
    auto hero = dyn_cast<kernel::AttentionOp>(op);
    bool few = isa<kernel::AttentionJoinOp>(op) || (hero && hero.getMethod() == "decode");
    decode |= few;
    bool many = hero && !few;
    (many && hero.getWgmma() ? attentionWgmma : attention) |= many;
    wgmma |= isa<kernel::WgmmaOp>(op);
    if (auto contract = dyn_cast<kernel::ContractOp>(op))
      (contract.getMethod() == "gemv"       ? gemv
       : contract.getMethod() == "gemv_mma" ? gemvMma
       : contract.getMethod() == "matmul_int8" ? int8
                                            : matmul) = true;
  });
  if (reduce)
    files.push_back("reduce.cuh");
  if (matmul)
    files.push_back("matmul.cuh");
  if (int8)
    files.push_back("matmul_int8.cuh");
  if (gemv)
    files.push_back("gemv.cuh");
  if (wgmma)
    files.push_back("matmul_wgmma.cuh");
  if (gemvMma)
    files.push_back("gemv_mma.cuh");
  if (experts)
    files.push_back("experts.cuh");
  if (attention)
    files.push_back("attention.cuh");
  if (attentionWgmma)
    files.push_back("attention_wgmma.cuh");
  if (decode)
    files.push_back("attention_decode.cuh");
  return files;
}

FailureOr<std::string> mlsys::emitCuda(kernel::FuncOp function, int64_t threads) {
  std::string text;
  llvm::raw_string_ostream out(text);
  CudaPrinter printer(out);
  if (failed(printer.printFunction(function, threads)))
    return failure();
  return text;
}

int64_t mlsys::getBlockThreads(kernel::FuncOp function, ModuleOp module) {
  int64_t threads = 0;
  module.walk([&](kernel::LaunchOp launch) {
    if (launch.getKernel() == function.getSymName() && launch.getBlock())
      threads = std::max<int64_t>(threads, (*launch.getBlock())[0]);
  });
  return threads ? threads : 256;
}
