//===- LowerForCuda.h - Fusions as CUDA kernels -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/CudaTarget.h"
#include "mlsys/CodeGen/ElementEmitter.h"

namespace mlsys {

/// Each writes the body of a kernel of its kind for CUDA and says how to launch it.
mlir::LogicalResult lowerLoopForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch);
mlir::LogicalResult lowerRowForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch);
mlir::LogicalResult lowerDotForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch);
mlir::LogicalResult lowerAttentionForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                    LaunchShape &launch);

/// Decode attention whose keys are cut into parts: how many f32 the results of all parts are at most (requests *
/// heads * parts * (head size + 2)). Nothing for other fusions, and when there is one part only.
std::optional<graph::DimExpr> countCudaPartElements(graph::FusionOp fusion);
/// The position of the numbers of keys among such a fusion's inputs, which the joining kernel reads.
unsigned getContextLengthInput(graph::FusionOp fusion);
/// Writes the body of the kernel that makes the output of such attention, `kernel.outputs`, from the
/// results of its parts and the numbers of keys, `kernel.inputs`.
void lowerAttentionJoinForCuda(KernelBuilder &kernel, LaunchShape &launch);

/// Lets the kernel after this one start, and waits for those before it: called after index
/// arithmetic and before the first access to anything but constants.
void emitGridWait(KernelBuilder &kernel);

/// The widest power of two, at most 8, that divides `columns` and in which all
/// `values` can be computed.
int64_t cudaVectorWidth(ElementEmitter &emitter, llvm::ArrayRef<mlir::Value> values,
                        int64_t columns);

/// The values that the fusion stores.
llvm::SmallVector<mlir::Value> storedValues(KernelBuilder &kernel);
/// The extent of the last dimension when it is static; 1 otherwise.
int64_t lastExtent(mlir::Value value);
/// Emits `store` under `condition`, or as it is when that is null.
void storeInside(KernelBuilder &kernel, mlir::Value condition, llvm::function_ref<void()> store);

/// The longest row whose elements the registers of a block hold.
constexpr int64_t maxHeldColumns = 16384;

/// Stores the outputs of which a row has not `done` elements, the threads striding over their columns.
void emitOutputLoops(ElementEmitter &emitter, KernelBuilder &kernel, mlir::Value row, mlir::Value thread,
                     int64_t threads, const graph::DimExpr &done);

/// Who computes a row's reductions together.
enum class RowScope { Warp, Block };

/// Computes the reductions of the fusion's structure for row `row` with all threads of a
/// warp or block, binds them for that row and returns their values (f32 or the reduced type), the
/// same in every thread.
llvm::SmallVector<mlir::Value> emitCudaRowReductions(ElementEmitter &emitter, KernelBuilder &kernel,
                                                     mlir::Value row, RowScope scope,
                                                     int64_t threads);

} // namespace mlsys
