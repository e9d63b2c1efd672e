//===- LowerToLLVM.cpp - CPU kernels in the LLVM dialect ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The calling convention of CPU kernels, the same for all of them:
//
//   void NAME(void *const *buffers, const int64_t *symbols, void *scratch,
//             int64_t begin, int64_t end)
//
// and the standard conversions for what is inside.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/FusionLowering.h"
#include "mlsys/CodeGen/Passes.h"

#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Dialect/AMX/Transforms.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/Passes.h"

#include <limits>

namespace mlsys {
#define GEN_PASS_DEF_LOWERTOLLVM
#include "mlsys/CodeGen/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;

/// The element of an array of 64-bit values or pointers.
static Value loadElement(OpBuilder &builder, Location loc, Type type, Value array, unsigned index) {
  auto pointer = LLVM::LLVMPointerType::get(builder.getContext());
  Value address = LLVM::GEPOp::create(builder, loc, pointer, type, array,
                                      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
  return LLVM::LoadOp::create(builder, loc, type, address);
}

/// A flat buffer at an address. Kernels know their extents, so the descriptor's is
/// only an upper bound.
static Value makeBuffer(OpBuilder &builder, Location loc, const LLVMTypeConverter &types,
                        MemRefType type, Value pointer) {
  MemRefDescriptor descriptor = MemRefDescriptor::poison(builder, loc, types.convertType(type));
  descriptor.setAllocatedPtr(builder, loc, pointer);
  descriptor.setAlignedPtr(builder, loc, pointer);
  descriptor.setConstantOffset(builder, loc, 0);
  descriptor.setConstantSize(builder, loc, 0, std::numeric_limits<int64_t>::max() / 64);
  descriptor.setConstantStride(builder, loc, 0, 1);
  Value value = descriptor;
  return UnrealizedConversionCastOp::create(builder, loc, type, value).getResult(0);
}

/// Turns a kernel into a function of the common signature.
static void unpackArguments(kernel::FuncOp kernel) {
  MLIRContext *context = kernel.getContext();
  OpBuilder builder(kernel);
  Location loc = kernel.getLoc();
  LLVMTypeConverter types(context);
  Type pointer = LLVM::LLVMPointerType::get(context), word = builder.getI64Type();
  auto function = func::FuncOp::create(
      builder, loc, kernel.getName(),
      builder.getFunctionType({pointer, pointer, pointer, word, word}, {}));
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value buffers = entry->getArgument(0), symbols = entry->getArgument(1);
  auto toIndex = [&](Value value) -> Value {
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(), value);
  };

  Block &body = kernel.getBody().front();
  unsigned numBuffers = kernel.getNumBuffers(), numSymbols = kernel.getNumSymbols();
  SmallVector<Value> values;
  for (unsigned index = 0; index < numBuffers; ++index)
    values.push_back(makeBuffer(builder, loc, types,
                                cast<MemRefType>(body.getArgument(index).getType()),
                                loadElement(builder, loc, pointer, buffers, index)));
  for (unsigned index = 0; index < numSymbols; ++index)
    values.push_back(toIndex(loadElement(builder, loc, word, symbols, index)));
  values.push_back(makeBuffer(builder, loc, types,
                              cast<MemRefType>(body.getArgument(values.size()).getType()),
                              entry->getArgument(2)));
  values.push_back(toIndex(entry->getArgument(3)));
  values.push_back(toIndex(entry->getArgument(4)));

  for (auto [argument, value] : llvm::zip_equal(body.getArguments(), values))
    argument.replaceAllUsesWith(value);
  entry->getOperations().splice(entry->end(), body.getOperations());
  Operation *terminator = entry->getTerminator();
  builder.setInsertionPoint(terminator);
  func::ReturnOp::create(builder, terminator->getLoc());
  terminator->erase();
  kernel.erase();
}

/// Converts AMX and the branches that carry its tiles together: the type of a tile is
/// known to nobody else.
static LogicalResult convertTiles(ModuleOp module) {
  MLIRContext *context = module.getContext();
  LLVMTypeConverter types(context);
  RewritePatternSet patterns(context);
  LLVMConversionTarget target(*context);
  target.addLegalDialect<arith::ArithDialect, func::FuncDialect, math::MathDialect,
                         memref::MemRefDialect, vector::VectorDialect,
                         x86vector::X86VectorDialect>();
  target.addLegalOp<ModuleOp, UnrealizedConversionCastOp>();
  target.addIllegalDialect<cf::ControlFlowDialect>();
  configureAMXLegalizeForExportTarget(target);
  populateAMXLegalizeForLLVMExportPatterns(types, patterns);
  cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  return applyPartialConversion(module, target, std::move(patterns));
}

/// LLVM drops the hint of a store of 16-bit floats, and sees through bitcasts: the instruction is
/// written as it is.
static void writeStreamingStores(ModuleOp module) {
  module.walk([](LLVM::StoreOp store) {
    auto type = dyn_cast<VectorType>(store.getValue().getType());
    if (!store.getNontemporal() || !type || type.getElementTypeBitWidth() != 16)
      return;
    OpBuilder builder(store);
    Location loc = store.getLoc();
    auto wide = VectorType::get({type.getNumElements() / 2}, builder.getF32Type());
    Value value = LLVM::BitcastOp::create(builder, loc, wide, store.getValue());
    LLVM::InlineAsmOp::create(builder, loc, Type(), ValueRange{store.getAddr(), value},
                              "vmovntps $1, ($0)", "r,v,~{memory}", /*has_side_effects=*/true,
                              /*is_align_stack=*/false, LLVM::TailCallKind::None,
                              LLVM::AsmDialectAttr(), ArrayAttr());
    store.erase();
  });
}

/// Two registers of f32 become one of bf16 by one instruction, where LLVM would convert each and join them.
static void joinConversions(ModuleOp module) {
  module.walk([](LLVM::FPTruncOp convert) {
    constexpr int64_t lanes = 16;
    auto type = dyn_cast<VectorType>(convert.getType());
    if (!type || !type.getElementType().isBF16() || type.getShape() != ArrayRef<int64_t>(2 * lanes))
      return;
    OpBuilder builder(convert);
    Location loc = convert.getLoc();
    auto half = [&](int32_t first) -> Value {
      auto mask = llvm::to_vector(llvm::seq<int32_t>(first, first + lanes));
      return LLVM::ShuffleVectorOp::create(builder, loc, convert.getArg(), convert.getArg(), mask);
    };
    Value joined = LLVM::CallIntrinsicOp::create(builder, loc, type,
                                                 builder.getStringAttr("llvm.x86.avx512bf16.cvtne2ps2bf16.512"),
                                                 ValueRange{half(lanes), half(0)})
                       .getResult(0);
    convert.replaceAllUsesWith(joined);
    convert.erase();
  });
}

namespace {
struct LowerToLLVM : mlsys::impl::LowerToLLVMBase<LowerToLLVM> {
  using LowerToLLVMBase::LowerToLLVMBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // The launch lists are code of the runtime, not of the CPU.
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (function.getBody().empty() || function.getOps<kernel::LaunchOp>().empty()) {
        function.emitOpError("is not a list of launches");
        return signalPassFailure();
      }
      function.erase();
    }
    for (auto kernel : llvm::make_early_inc_range(module.getOps<kernel::FuncOp>())) {
      if (!kernel.isCpu()) {
        kernel.emitOpError("is for the target '") << kernel.getTarget() << "', not for the CPU";
        return signalPassFailure();
      }
      unpackArguments(kernel);
    }
    std::optional<CpuTarget> cpu = isa.empty() ? CpuTarget::host() : CpuTarget::get(isa);
    if (!cpu) {
      module.emitError("'") << isa << "' is no instruction set of a CPU";
      return signalPassFailure();
    }
    OpPassManager passes(ModuleOp::getOperationName());
    if (!cpu->bf16Dot) {
      // Without instructions for them LLVM calls functions that no library here has.
      arith::ArithExpandOpsPassOptions expansion;
      expansion.includeBf16 = true;
      passes.addPass(arith::createArithExpandOpsPass(expansion));
    }
    OpPassManager &inside = passes.nest<func::FuncOp>();
    ApproximateMathOptions approximation;
    approximation.avx512 = cpu->vectorWidth == 16;
    inside.addPass(createApproximateMath(approximation));
    inside.addPass(createCanonicalizerPass());
    inside.addPass(createCSEPass());
    inside.addPass(createLoopInvariantCodeMotionPass());
    passes.addPass(createConvertVectorToSCFPass());
    passes.addPass(createSCFToControlFlowPass());
    passes.addPass(memref::createExpandStridedMetadataPass());
    passes.addPass(createLowerAffinePass());
    if (failed(runPipeline(passes, module)) || failed(convertTiles(module)))
      return signalPassFailure();
    passes.clear();
    ConvertVectorToLLVMPassOptions vectors;
    vectors.amx = true;
    vectors.x86Vector = true;
    vectors.force32BitVectorIndices = false;
    passes.addPass(createConvertVectorToLLVMPass(vectors));
    passes.addPass(createConvertMathToFuncs());
    passes.addPass(createConvertMathToLLVMPass());
    passes.addPass(createConvertMathToLibmPass());
    passes.addPass(createFinalizeMemRefToLLVMConversionPass());
    passes.addPass(createArithToLLVMConversionPass());
    passes.addPass(createConvertFuncToLLVMPass());
    passes.addPass(createReconcileUnrealizedCastsPass());
    if (failed(runPipeline(passes, module)))
      return signalPassFailure();
    writeStreamingStores(module);
    if (cpu->bf16Dot)
      joinConversions(module);
  }
};
} // namespace
